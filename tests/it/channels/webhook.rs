//! Webhooks to a real receiver, and into the journal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rekindle::channels::Channel;
use rekindle::domain::delivery::{Doubt, Outcome};
use sha2::Sha256;

use super::*;
use crate::servers::http::{Behaviour, Received, Receiver};
use crate::until::patiently;

const KEY: &[u8] = b"an octet key of 32 bytes, no more";

pub(super) fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

pub(super) fn alert(n: u8) -> Dispatch {
    let data = object(json!({ "tier": "gold", "name": "Ana ünd \"Söhne\"", "n": 1.5 }));
    dispatch(n, Action::Webhook { endpoint: "crm".to_owned(), data }, None)
}

pub(super) fn channel(receiver: &Receiver, more: &str) -> Box<dyn Channel> {
    let (address, secret) = (receiver.address, secret());
    let endpoint = format!("[[endpoints]]\nname = 'crm'\nurl = 'http://{address}/hooks/s3cret'\nsecret = '{secret}'");
    open_webhook(&format!("kind = 'http'\n{more}\n{endpoint}")).unwrap()
}

async fn outcome_of(behaviour: Behaviour) -> Outcome {
    let receiver = Receiver::start(behaviour).await;
    channel(&receiver, "timeout = '60s'").deliver(&alert(1), &Intent::durable()).await
}

/// As a receiver verifies it by the standard, with nothing of ours.
fn verified(received: &Received, now: i64) -> bool {
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let at: i64 = header("webhook-timestamp").parse().unwrap();
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(KEY).unwrap();
    mac.update(header("webhook-id").as_bytes());
    mac.update(format!(".{at}.").as_bytes());
    mac.update(&received.body);
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    (now - at).abs() <= 300 && header("webhook-signature").split(' ').any(|s| s == format!("v1,{expected}"))
}

#[tokio::test]
async fn a_receiver_gets_a_signed_webhook_by_the_standard() {
    let receiver =
        Receiver::start(Behaviour::Answers { status: 202, headers: vec![], body: "queued\n".to_owned() }).await;
    let (dispatch, intent) = (alert(1), Intent::durable());
    let outcome = channel(&receiver, "").deliver(&dispatch, &intent).await;
    assert_eq!(outcome, Outcome::Sent { receipt: "HTTP 202: queued".to_owned() });
    assert_eq!(intent.n_commits(), 1);
    let webhook = receiver.received().remove(0);
    assert!(verified(&webhook, dispatch.now.as_micros() / 1_000_000));
    assert_eq!(webhook.path, "/hooks/s3cret");
    assert_eq!(webhook.headers["content-type"], "application/json");
    assert_eq!(webhook.headers["webhook-id"], dispatch.delivery.idempotency_key().as_str());
    assert!(!dispatch.delivery.idempotency_key().contains('.'));
    let body: serde_json::Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(
        body,
        json!({
            "type": "rule.fired",
            "timestamp": NOW,
            "data": {
                "rule": "win_back",
                "customer_id": dispatch.delivery.customer.to_string(),
                "firing_id": dispatch.delivery.firing.to_string(),
                "properties": { "tier": "gold", "name": "Ana ünd \"Söhne\"", "n": 1.5 },
            },
        })
    );
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_bytes_and_a_signature_of_its_own_time() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let mut dispatch = alert(1);
    let first = channel(&receiver, "").deliver(&dispatch, &Intent::durable()).await;
    assert_eq!(first, Outcome::Retry { after: None, why: "HTTP 500".to_owned() });
    // Another process, an hour later, knows more of the customer and has counted the attempt.
    dispatch.now = dispatch.now.plus(SignedDuration::from_hours(1));
    dispatch.delivery.n_attempts = 1;
    dispatch.customer.insert("last_name".to_owned(), json!("Other"));
    receiver.behave(Behaviour::status(204));
    let second = channel(&receiver, "").deliver(&dispatch, &Intent::durable()).await;
    assert_eq!(second, Outcome::Sent { receipt: "HTTP 204".to_owned() });
    let [one, other] = <[Received; 2]>::try_from(receiver.received()).unwrap();
    assert_eq!((&one.headers["webhook-id"], &one.body), (&other.headers["webhook-id"], &other.body));
    assert_ne!(one.headers["webhook-timestamp"], other.headers["webhook-timestamp"]);
    assert!(verified(&other, dispatch.now.as_micros() / 1_000_000));
    let mut forged = other.clone();
    forged.body = forged.body.iter().map(|b| if *b == b'g' { b'G' } else { *b }).collect();
    assert!(!verified(&forged, dispatch.now.as_micros() / 1_000_000));
}

#[tokio::test]
async fn nothing_is_sent_before_the_intent_is_durable() {
    let receiver = Receiver::start(Behaviour::status(200)).await;
    let channel = channel(&receiver, "");
    let outcome = channel.deliver(&alert(1), &Intent::failing()).await;
    assert_eq!(outcome, Outcome::Retry { after: None, why: "not sent: the lease was lost".to_owned() });
    assert!(receiver.received().is_empty());
    assert_eq!(channel.doubt(), Doubt::Resend);
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let inside = Receiver::start(Behaviour::status(200)).await;
    for status in [301, 302, 307, 308] {
        let location = format!("http://{}/metadata", inside.address);
        let outcome =
            outcome_of(Behaviour::Answers { status, headers: vec![("location", location)], body: String::new() }).await;
        assert!(matches!(&outcome, Outcome::Retry { why, .. } if why.contains("is not followed")), "{outcome:?}");
    }
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let answer = |status, wish: &str| Behaviour::Answers {
        status,
        headers: vec![("retry-after", wish.to_owned())],
        body: "slow down".to_owned(),
    };
    let expected = |seconds| Outcome::Retry {
        after: Some(SignedDuration::from_secs(seconds)),
        why: "HTTP 429: slow down".to_owned(),
    };
    assert_eq!(outcome_of(answer(429, "120")).await, expected(120));
    assert_eq!(outcome_of(answer(429, "Sun, 01 Mar 2026 09:15:00 GMT")).await, expected(600));
    let rubbish = Outcome::Retry { after: None, why: "HTTP 503: slow down".to_owned() };
    assert_eq!(outcome_of(answer(503, "-1")).await, rubbish);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_it_and_one_that_fails_is_asked_again() {
    assert_eq!(outcome_of(Behaviour::status(410)).await, Outcome::Failed { why: "HTTP 410".to_owned() });
    assert_eq!(outcome_of(Behaviour::status(500)).await, Outcome::Retry { after: None, why: "HTTP 500".to_owned() });
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let secret = secret();
    let section = format!(
        "kind = 'http'\n[[endpoints]]\nname = 'crm'\nurl = 'http://localhost:{port}/s3cret'\nsecret = '{secret}'"
    );
    let outcome = open_webhook(&section).unwrap().deliver(&alert(1), &Intent::durable()).await;
    let Outcome::Retry { why, .. } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("refused") && !why.contains("s3cret"), "{why}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up() {
    let receiver = Receiver::start(Behaviour::Hangs).await;
    let channel = channel(&receiver, "timeout = '200ms'");
    let outcome = patiently("it is given up", channel.deliver(&alert(1), &Intent::durable())).await;
    assert!(matches!(&outcome, Outcome::Retry { why, .. } if why.contains("timed out")), "{outcome:?}");
}

#[tokio::test]
async fn an_endless_answer_is_read_no_further_than_it_is_of_use() {
    let receiver = Receiver::start(Behaviour::EndlessBody).await;
    let outcome = channel(&receiver, "timeout = '20s'").deliver(&alert(1), &Intent::durable()).await;
    let Outcome::Sent { receipt } = outcome else { panic!("{outcome:?}") };
    // 64 KiB, and what the sockets' buffers hold.
    assert!(receiver.n_endless_bytes() < 64 * 1024 * 1024, "{} bytes", receiver.n_endless_bytes());
    assert_eq!(receipt, format!("HTTP 200: {}…", "x".repeat(200)));
}

#[tokio::test]
async fn an_endpoint_that_is_not_configured_waits_for_somebody_to_add_it() {
    let receiver = Receiver::start(Behaviour::status(200)).await;
    let mut dispatch = alert(1);
    dispatch.delivery.action = Action::Webhook { endpoint: "crn".to_owned(), data: object(json!({})) };
    let intent = Intent::durable();
    let outcome = channel(&receiver, "").deliver(&dispatch, &intent).await;
    let why = "there is no `[[webhook.endpoints]]` named `crn`; did you mean `crm`?".to_owned();
    assert_eq!((outcome, intent.n_commits()), (Outcome::Retry { after: None, why }, 0));
}

#[test]
fn a_wrong_webhook_section_says_which_endpoint_and_why_and_not_the_secret() {
    let error = |url: &str, secret: &str| {
        let section = format!("kind = 'http'\n[[endpoints]]\nname = 'crm'\nurl = '{url}'\nsecret = {secret}");
        open_webhook(&section).err().unwrap()
    };
    let good = format!("'{}'", secret());
    assert!(
        error("http://crm.example/", &good).contains("webhook endpoint `crm`: would send to crm.example in the clear")
    );
    assert!(error("https://u:p@crm.example/", &good).contains("user or password"));
    assert!(error("file:///etc/passwd", &good).contains("`file:` is no way"));
    assert!(error("crm.example", &good).contains("is not a URL"));
    assert!(error("https://crm.example/", "{ env = 'MISSING' }").contains("`MISSING` is not set"));
    let short = error("https://crm.example/", "'whsec_aHVudGVyMg=='");
    assert!(short.contains("has 7 bytes") && !short.contains("aHVud"), "{short}");
    assert!(open_webhook("kind = 'http'\nendpoints = []\ntimeout = '1h'").err().unwrap().contains("at most 1m"));
}

#[tokio::test]
async fn the_journal_keeps_one_readable_line_for_each_webhook_also_over_restarts_and_a_torn_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/webhooks.jsonl");
    let open = || open_webhook(&format!("kind = 'journal'\npath = {path:?}")).unwrap();
    let sent = |n: u8| Outcome::Sent { receipt: alert(n).delivery.idempotency_key() };
    let journal = open();
    assert_eq!(journal.doubt(), Doubt::Resend);
    for n in [1, 1, 2] {
        assert_eq!(journal.deliver(&alert(n), &Intent::durable()).await, sent(n));
    }
    // A crash in the middle of a line.
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"webhook_id\":\"{}\",\"endp", alert(3).delivery.idempotency_key()))
        .unwrap();
    let journal = open();
    for n in [1, 2, 3, 3] {
        assert_eq!(journal.deliver(&alert(n), &Intent::durable()).await, sent(n));
    }
    let outcome = journal.deliver(&alert(4), &Intent::failing()).await;
    assert!(matches!(outcome, Outcome::Retry { .. }));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<String> = lines.iter().map(|line| line["webhook_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, [1, 2, 3].map(|n| alert(n).delivery.idempotency_key()));
    assert_eq!(lines[0]["endpoint"], "crm");
    assert_eq!(lines[0]["written_at"], "2026-03-01T09:05:00Z");
    assert_eq!(lines[0]["body"]["data"]["properties"]["tier"], "gold");
}
