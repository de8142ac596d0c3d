//! The link in a mail: looking changes nothing, one click leaves.

use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::names;
use rekindle::domain::id::{CustomerId, DeliveryId};
use rekindle::domain::unsubscribe::{Unsubscribe, UnsubscribeSigner};
use rekindle::pipeline::ingest::IntakeError;
use serde_json::json;

use crate::http_world::{Http, NOW, SECRET, at};

fn link(topic: Option<&str>) -> (Unsubscribe, String) {
    let what = Unsubscribe {
        customer: CustomerId::derive(Timestamp::EPOCH, &[b"c"]),
        delivery: DeliveryId::derive(Timestamp::EPOCH, &[b"d"]),
        topic: topic.map(str::to_owned),
    };
    let path = format!("/u/{}", UnsubscribeSigner::new(SECRET).sign(&what));
    (what, path)
}

#[tokio::test]
async fn looking_at_the_page_changes_nothing() {
    let http = Http::start().await;
    let (_, path) = link(Some("<offers>"));
    let response = http.client.get(http.url(&path)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let page = response.text().await.unwrap();
    assert!(page.contains("mail about “&lt;offers&gt;” from Müller &amp; &lt;Sons&gt;?"), "{page}");
    assert!(page.contains("<form method=\"post\"><button>"), "{page}");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(
        (&headers["referrer-policy"], &headers["cache-control"]),
        (&"no-referrer".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let head = http.client.head(http.url(&path)).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(http.received().0.is_empty());
}

#[tokio::test]
async fn one_click_leaves_whatever_form_it_is_sent_in() {
    let http = Http::start().await;
    let (what, path) = link(Some("offers"));
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let forms = [
        ("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=b", multipart),
        ("application/x-www-form-urlencoded", ""),
    ];
    for (content_type, body) in forms {
        let request = http.client.post(http.url(&path)).header("content-type", content_type).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.text().await.unwrap().contains("no more mail about “offers”"));
    }
    let (facts, _) = http.received();
    let fact = &facts[0];
    assert_eq!((fact.name.as_str(), fact.source.as_str()), (names::CONSENT_WITHDRAWN, "rekindle"));
    assert_eq!((fact.occurred_at, fact.known_at), (at(NOW), at(NOW)));
    assert_eq!(fact.identities, [Identity { kind: IdentityKind::CustomerId, value: what.customer.to_string() }]);
    let properties = json!({ "channel": "email", "topic": "offers", "delivery": what.delivery.to_string() });
    assert_eq!(json!(fact.properties), properties);
    assert!(facts.iter().all(|f| f == fact), "a repetition is the same message: {facts:?}");
}

#[tokio::test]
async fn without_a_topic_it_is_all_marketing_mail() {
    let http = Http::start().await;
    let (_, path) = link(None);
    let response = http.client.post(http.url(&path)).send().await.unwrap();
    assert!(response.text().await.unwrap().contains("no more marketing mail"));
    assert_eq!(http.fact().properties.get("topic"), None);
}

#[tokio::test]
async fn an_old_mail_works_again_for_who_has_agreed_again_in_between() {
    let http = Http::start().await;
    let (_, path) = link(None);
    http.client.post(http.url(&path)).send().await.unwrap();
    let first = http.fact();
    http.clock.set(at("2026-06-01T12:00:00Z"));
    http.client.post(http.url(&path)).send().await.unwrap();
    assert_ne!(http.fact().dedupe_key(), first.dedupe_key());
}

#[tokio::test]
async fn a_forged_or_torn_link_leads_nowhere() {
    let http = Http::start().await;
    let (what, path) = link(None);
    let foreign = UnsubscribeSigner::new(*b"somebody else's.").sign(&what);
    for path in [&path[..path.len() - 1], &format!("/u/{foreign}"), "/u/x", "/u/%00%ff", &format!("{path}AAAA")] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let response = http.client.request(method, http.url(path)).send().await.unwrap();
            assert!([400, 404].contains(&response.status().as_u16()), "{path} {}", response.status());
        }
    }
    assert!(http.received().0.is_empty());
}

#[tokio::test]
async fn a_wish_that_cannot_be_stored_is_never_confirmed() {
    let http = Http::start().await;
    let (_, path) = link(None);
    *http.inbox.refusal.lock().unwrap() = Some(IntakeError::Busy { retry_after_seconds: 3 });
    let response = http.client.post(http.url(&path)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    assert!(response.text().await.unwrap().contains("try again"));
}
