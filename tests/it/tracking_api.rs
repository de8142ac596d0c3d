//! The tracking API as applications see it: what they post, what they are answered, and which facts come of it.

use proptest::prelude::*;
use rekindle::domain::customer::Identity;
use rekindle::domain::event::{Fact, names};
use serde_json::{Map, Value, json};

use crate::http_world::{Http, KEY, NOW, answer, at, basic, gzip};

fn handles(fact: &Fact) -> Vec<String> {
    fact.identities.iter().map(|Identity { kind, value }| format!("{}={value}", kind.as_str())).collect()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value} is not an object") };
    map
}

#[tokio::test]
async fn each_call_becomes_its_event() {
    let http = Http::start().await;
    let order = json!({ "order_id": "o1", "total": 80.5, "email": "a-friend@example.com" });
    let context = json!({ "locale": "de", "traits": { "email": "Ana@Example.com" } });
    let body = json!({ "messageId": "m1", "userId": "u1", "anonymousId": "a1", "event": "Order Completed",
        "properties": order, "context": context, "integrations": { "All": true } });
    http.post("/v1/track", &body).await;
    let expected = Fact {
        source: "shop".to_owned(),
        message_id: "m1".to_owned(),
        name: "Order Completed".to_owned(),
        occurred_at: at(NOW),
        received_at: at(NOW),
        known_at: at(NOW),
        imported: false,
        identities: http_identities(&["user_id=u1", "email=ana@example.com", "anonymous_id=a1"]),
        traits: object(json!({ "email": "Ana@Example.com" })),
        properties: object(order),
        context: object(json!({ "locale": "de" })),
    };
    assert_eq!(http.fact(), expected);

    let traits = json!({ "email": "ana@example.com", "phone": "+49 30 123456", "plan": "gold", "old": null });
    http.post("/v1/identify", &json!({ "userId": 42, "traits": traits })).await;
    let fact = http.fact();
    assert_eq!(fact.name, names::IDENTIFIED);
    assert_eq!(handles(&fact), ["user_id=42", "email=ana@example.com", "phone=+4930123456"]);
    assert_eq!(fact.traits, object(traits));

    let page = json!({ "anonymousId": "a1", "name": "Home", "category": "Shop", "properties": { "path": "/" } });
    for (path, name) in [("/v1/page", names::PAGE_VIEWED), ("/v1/screen", names::SCREEN_VIEWED)] {
        http.post(path, &page).await;
        let fact = http.fact();
        assert_eq!((fact.name.as_str(), handles(&fact)), (name, vec!["anonymous_id=a1".to_owned()]));
        assert_eq!(fact.properties, object(json!({ "path": "/", "name": "Home", "category": "Shop" })));
    }

    let group = json!({ "userId": "u1", "groupId": 7, "traits": { "name": "ACME", "email": "office@acme.example" } });
    http.post("/v1/group", &group).await;
    let fact = http.fact();
    assert_eq!((fact.name.as_str(), handles(&fact)), (names::GROUP_JOINED, vec!["user_id=u1".to_owned()]));
    assert!(fact.traits.is_empty(), "a company's traits are not its people's: {:?}", fact.traits);
    assert_eq!(fact.properties, object(json!({ "group_id": "7", "group_traits": group["traits"] })));
}

fn http_identities(handles: &[&str]) -> Vec<Identity> {
    let read = |text: &&str| {
        let (kind, value) = text.split_once('=').unwrap();
        Identity { kind: kind.parse().unwrap(), value: value.to_owned() }
    };
    handles.iter().map(read).collect()
}

#[tokio::test]
async fn an_alias_joins_the_previous_handle_whichever_kind_it_was() {
    let http = Http::start().await;
    let check = async |body: Value, expected: &[&str]| {
        http.post("/v1/alias", &body).await;
        let fact = http.fact();
        assert_eq!(fact.name, names::MERGED);
        assert_eq!(handles(&fact), expected, "{body}");
    };
    let both = ["user_id=ana", "user_id=x1", "anonymous_id=x1"];
    check(json!({ "userId": "ana", "previousId": "x1" }), &both).await;
    let known_anonymous = json!({ "userId": "ana", "previousId": "x1", "anonymousId": "x1" });
    check(known_anonymous, &["user_id=ana", "anonymous_id=x1"]).await;
    check(json!({ "userId": "ana", "anonymousId": "x1" }), &["user_id=ana", "anonymous_id=x1"]).await;
    http.post("/v1/alias", &json!({ "userId": "ana" })).await;
    http.post("/v1/alias", &json!({ "previousId": "x1" })).await;
    assert_eq!(http.reasons(), ["no_previous_id", "no_identity"]);
}

#[tokio::test]
async fn short_forms_and_trailing_slashes_are_the_same_calls() {
    let http = Http::start().await;
    let item = json!({ "userId": "u", "event": "E", "groupId": "g", "previousId": "p" });
    let names = [
        ("identify", "i", names::IDENTIFIED),
        ("track", "t", "E"),
        ("page", "p", names::PAGE_VIEWED),
        ("screen", "s", names::SCREEN_VIEWED),
        ("group", "g", names::GROUP_JOINED),
        ("alias", "a", names::MERGED),
    ];
    for (long, short, name) in names {
        for path in [format!("/v1/{long}"), format!("/v1/{short}"), format!("/v1/{long}/"), format!("/v1/{short}/")] {
            http.post(&path, &item).await;
            assert_eq!(http.fact().name, name, "{path}");
        }
    }
    for path in ["/v1/batch", "/v1/b", "/v1/batch/"] {
        http.post(path, &json!({ "batch": [{ "type": "track", "userId": "u", "event": path }] })).await;
        assert_eq!(http.fact().name, path);
    }
    assert_eq!(http.post_text("/v1/tracks", "{}").await.0, 404);
    assert_eq!(http.get("/v1/track").await.0, 405);
}

#[tokio::test]
async fn in_a_batch_what_cannot_be_used_is_put_aside_and_the_rest_goes_on_in_one_commit() {
    let http = Http::start().await;
    let long = "x".repeat(257);
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let huge = format!(r#"{{"type":"track","userId":"u","event":"E","properties":{{"p":"{}"}}}}"#, "y".repeat(33_000));
    let cases: Vec<(&str, String)> = vec![
        ("not_an_object", "[1]".to_owned()),
        ("not_an_object", "null".to_owned()),
        ("unknown_type", r#"{"userId":"u"}"#.to_owned()),
        ("unknown_type", r#"{"type":"batch","userId":"u"}"#.to_owned()),
        ("unknown_type", r#"{"type":7,"userId":"u"}"#.to_owned()),
        ("no_identity", r#"{"type":"page"}"#.to_owned()),
        ("no_identity", r#"{"type":"page","userId":"  ","anonymousId":null}"#.to_owned()),
        ("no_event", r#"{"type":"track","userId":"u"}"#.to_owned()),
        ("no_event", r#"{"type":"track","userId":"u","event":7}"#.to_owned()),
        ("no_group_id", r#"{"type":"group","userId":"u"}"#.to_owned()),
        ("bad_field", format!(r#"{{"type":"track","userId":"u","event":"{long}"}}"#)),
        ("bad_field", format!(r#"{{"type":"page","userId":"{long}"}}"#)),
        ("bad_field", r#"{"type":"page","userId":12345678901234567890123}"#.to_owned()),
        ("bad_field", r#"{"type":"page","userId":{"id":1}}"#.to_owned()),
        ("bad_field", r#"{"type":"page","userId":"u","properties":"p"}"#.to_owned()),
        ("bad_field", r#"{"type":"identify","userId":"u","traits":[1]}"#.to_owned()),
        ("bad_field", format!(r#"{{"type":"page","userId":"u","messageId":"{long}"}}"#)),
        ("bad_time", r#"{"type":"page","userId":"u","timestamp":"soon"}"#.to_owned()),
        ("bad_time", r#"{"type":"page","userId":"u","timestamp":1772366400}"#.to_owned()),
        ("bad_time", r#"{"type":"page","userId":"u","timestamp":"1970-01-01T00:00:00Z"}"#.to_owned()),
        ("bad_time", r#"{"type":"page","userId":"u","timestamp":"2026-03-03T12:00:00Z"}"#.to_owned()),
        ("bad_json", r#"{"type":"page","userId":"u","properties":{"n":1e400}}"#.to_owned()),
        ("bad_json", r#"{"type":"page","userId":"\ud800"}"#.to_owned()),
        ("bad_json", format!(r#"{{"type":"page","userId":"u","properties":{{"deep":{nested}}}}}"#)),
        ("nul_in_text", r#"{"type":"page","userId":"u","properties":{"a":[{"b":"\u0000"}]}}"#.to_owned()),
        ("nul_in_text", r#"{"type":"page","userId":"u","properties":{"k\u0000":1}}"#.to_owned()),
        ("too_large", huge),
    ];
    let good =
        |n: usize| format!(r#"{{"type":"track","userId":"u","event":"Good {n}","properties":{{"p":"\\u0000"}}}}"#);
    let items: Vec<String> = cases.iter().enumerate().flat_map(|(n, (_, bad))| [good(n), bad.clone()]).collect();
    let body = format!(r#"{{"batch":[{}]}}"#, items.join(","));
    assert_eq!(http.post_text("/v1/batch", body).await, (200, json!({ "success": true })));
    assert_eq!(http.inbox.commits.lock().unwrap().len(), 1, "good and bad items are one commit");
    let (facts, quarantined) = http.received();
    let expected: Vec<String> = (0..cases.len()).map(|n| format!("Good {n}")).collect();
    assert_eq!(facts.iter().map(|f| f.name.clone()).collect::<Vec<_>>(), expected);
    let found: Vec<_> = quarantined.iter().map(|q| (q.reason.as_str(), q.record.clone())).collect();
    assert_eq!(found, cases);
    assert!(quarantined.iter().all(|q| q.source == "shop" && q.at == at(NOW) && !q.message.is_empty()));
}

#[tokio::test]
async fn a_record_that_was_put_aside_is_found_by_its_message_id() {
    let http = Http::start().await;
    http.post("/v1/track", &json!({ "messageId": "m-7", "userId": "u" })).await;
    http.post("/v1/track", &json!(["not", "a", "call"])).await;
    http.post("/v1/batch", &json!({ "items": [] })).await;
    let (facts, quarantined) = http.received();
    let found: Vec<_> = quarantined.iter().map(|q| (q.reason.as_str(), q.locator.split(':').next().unwrap())).collect();
    assert_eq!(found, [("no_event", "m-7"), ("not_an_object", "derived"), ("bad_batch", "derived")]);
    assert!(facts.is_empty());
}

#[tokio::test]
async fn an_item_without_message_id_gets_one_of_its_own() {
    let http = Http::start().await;
    let item = json!({ "type": "page", "userId": "u" });
    http.post("/v1/batch", &json!({ "batch": [item, item, { "type": "page", "userId": "u", "messageId": 7 }] })).await;
    let (facts, _) = http.received();
    assert!(facts[0].message_id.starts_with("derived:") && facts[0].message_id != facts[1].message_id);
    assert_eq!(facts[2].message_id, "7");
}

#[tokio::test]
async fn the_context_of_a_batch_lies_under_each_items_own_but_never_says_who_somebody_is() {
    let http = Http::start().await;
    let batch = json!({
        "context": { "locale": "de", "library": { "name": "python" }, "traits": { "email": "all@example.com" } },
        "batch": [
            { "type": "page", "userId": "u1", "context": { "locale": "fr" } },
            { "type": "page", "userId": "u2" },
        ],
    });
    http.post("/v1/batch", &batch).await;
    let (facts, _) = http.received();
    assert_eq!(facts[0].context, object(json!({ "locale": "fr", "library": { "name": "python" } })));
    assert_eq!(facts[1].context, object(json!({ "locale": "de", "library": { "name": "python" } })));
    assert!(facts.iter().all(|f| f.identities.len() == 1 && f.traits.is_empty()));
    let poisoned = r#"{"context":{"n":1e400},"batch":[{"type":"page","userId":"u"}]}"#;
    http.post_text("/v1/batch", poisoned).await;
    let (facts, quarantined) = http.received();
    assert_eq!((facts.len(), quarantined[0].reason.as_str()), (1, "bad_json"), "the item goes on without it");
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_when_the_batch_was_sent() {
    let http = Http::start().await;
    let batch = json!({ "sentAt": "2026-03-01T13:00:00.000Z", "batch": [
        { "type": "page", "userId": "u", "timestamp": "2026-03-01T12:50:00.000Z" },
        { "type": "page", "userId": "u", "timestamp": "2026-03-01T12:50:00Z", "sentAt": "2026-03-01T12:51:00Z" },
        { "type": "page", "userId": "u", "timestamp": "2026-03-01T11:59:00Z",
          "originalTimestamp": "2026-03-01T12:40:00.000000+00:00" },
        { "type": "page", "userId": "u" },
    ]});
    http.post("/v1/batch", &batch).await;
    let (facts, _) = http.received();
    let occurred: Vec<String> = facts.iter().map(|f| f.occurred_at.to_string()).collect();
    assert_eq!(occurred, ["2026-03-01T11:50:00Z", "2026-03-01T11:59:00Z", "2026-03-01T11:40:00Z", NOW]);
    assert!(facts.iter().all(|f| f.received_at == at(NOW) && f.known_at == at(NOW)));
    assert_eq!(facts[0].context["originalTimestamp"], "2026-03-01T12:50:00.000Z");
    assert!(facts[3].context.is_empty());
}

#[tokio::test]
async fn a_key_is_taken_from_basic_authentication_the_body_or_a_bearer_token() {
    let http = Http::start().await;
    let keyed = json!({ "userId": "u", "writeKey": KEY }).to_string();
    let bare = json!({ "userId": "u" }).to_string();
    let check = async |authorization: Option<String>, body: &str, expected: u16, code: Option<&str>| {
        let mut request = http.client.post(http.url("/v1/page")).body(body.to_owned());
        if let Some(value) = &authorization {
            request = request.header("authorization", value);
        }
        let (status, body) = answer(request).await;
        assert_eq!((status, body["code"].as_str()), (expected, code), "{authorization:?}");
        if status == 401 {
            assert!(body["message"].as_str().unwrap().contains("these events are lost"), "{body}");
        }
        assert_eq!(http.received().0.len(), usize::from(expected == 200));
    };
    check(Some(basic(&format!("{KEY}:"))), &bare, 200, None).await;
    check(Some(basic(KEY)), &bare, 200, None).await;
    check(None, &keyed, 200, None).await;
    check(Some(format!("Bearer {KEY}")), &bare, 200, None).await;
    check(Some("Bearer an-oauth-token".to_owned()), &keyed, 200, None).await;
    check(Some(basic("guess:")), &keyed, 401, Some("unknown_write_key")).await;
    check(None, &bare, 401, Some("no_write_key")).await;
    check(None, "[]", 401, Some("no_write_key")).await;
}

#[tokio::test]
async fn a_gzipped_body_is_read_and_a_bomb_is_cut_off() {
    let http = Http::start().await;
    let zipped = async |bytes: Vec<u8>, encoding: &str| {
        answer(http.request("/v1/batch").header("content-encoding", encoding).body(bytes)).await
    };
    let body = json!({ "batch": [{ "type": "page", "userId": "u" }] }).to_string();
    assert_eq!(zipped(gzip(body.as_bytes()), "gzip").await.0, 200);
    assert_eq!(http.fact().name, names::PAGE_VIEWED);
    let mut bomb = gzip(&vec![b' '; 200_000_000]);
    // Whoever reads on to its end finds it torn.
    bomb.truncate(bomb.len() - 9);
    assert!(bomb.len() < 512_000, "{}", bomb.len());
    assert_eq!(zipped(bomb, "gzip").await.0, 413);
    assert_eq!(zipped(body.clone().into_bytes(), "gzip").await.1["code"], "malformed");
    let mut torn = gzip(body.as_bytes());
    torn.truncate(torn.len() - 9);
    assert_eq!(zipped(torn, "gzip").await.0, 400);
    assert_eq!(zipped(body.into_bytes(), "br").await.0, 415);
    assert!(http.received().0.is_empty());
}

#[tokio::test]
async fn the_limits_are_segments_and_hold_to_the_byte() {
    let http = Http::start().await;
    let call = |n: usize| {
        let frame = json!({ "userId": "u", "event": "E", "properties": { "p": "" } }).to_string();
        frame.replace(r#""p":"""#, &format!(r#""p":"{}""#, "x".repeat(n - frame.len())))
    };
    assert_eq!(http.post_text("/v1/track", call(32_768)).await.0, 200);
    assert_eq!(http.post_text("/v1/track", call(32_769)).await.1["code"], "too_large");
    let batch = |n: usize| format!(r#"{{"batch":[]{}}}"#, " ".repeat(n - 12));
    assert_eq!(http.post_text("/v1/batch", batch(512_000)).await.0, 200);
    assert_eq!(http.post_text("/v1/batch", batch(512_001)).await.0, 413);
    let items = |n: usize| json!({ "batch": vec![json!({ "type": "page", "userId": "u" }); n] }).to_string();
    http.received();
    assert_eq!(http.post_text("/v1/batch", items(2_500)).await.0, 200);
    assert_eq!(http.received().0.len(), 2_500);
    assert_eq!(http.post_text("/v1/batch", items(2_501)).await.1["code"], "too_many_items");
    assert!(http.received().0.is_empty());
}

#[tokio::test]
async fn what_is_not_json_is_refused_and_says_so() {
    let http = Http::start().await;
    let broken: [&[u8]; 7] =
        [b"", b"{", b"{\"userId\":\"u\"}}", b"userId=u", b"{\"a\":\"\xff\"}", b"[1,]", b"\"a\0b\""];
    for path in ["/v1/track", "/v1/batch"] {
        for body in broken {
            let (status, answer) = http.post_text(path, body).await;
            assert_eq!((status, answer["code"].as_str()), (400, Some("malformed")), "{path} {body:?}");
        }
    }
    let (facts, quarantined) = http.received();
    assert!(facts.is_empty() && quarantined.is_empty());
}

#[tokio::test]
async fn a_batch_is_an_object_and_of_a_key_that_is_stated_twice_the_last_one_counts() {
    let http = Http::start().await;
    let call = |id: &str| format!(r#"{{"type":"track","userId":"u","event":"E","messageId":"{id}"}}"#);
    http.post_text("/v1/batch", format!("[[{}],null,null,null]", call("listed"))).await;
    http.post_text("/v1/batch", format!(r#"{{"batch":[{}],"batch":[{}]}}"#, call("first"), call("last"))).await;
    let (facts, quarantined) = http.received();
    assert_eq!(facts.iter().map(|fact| fact.message_id.as_str()).collect::<Vec<_>>(), ["last"]);
    assert_eq!(quarantined.iter().map(|aside| aside.reason.as_str()).collect::<Vec<_>>(), ["bad_batch"]);
}

#[tokio::test]
async fn deep_nesting_costs_the_daemon_no_stack() {
    let http = Http::start().await;
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    http.post_text("/v1/track", deep(16_000)).await;
    http.post_text("/v1/batch", deep(250_000)).await;
    http.post_text("/v1/batch", format!(r#"{{"context":{},"batch":[]}}"#, deep(200_000))).await;
    http.post_text("/v1/track", format!(r#"{{"userId":"u","event":"E","properties":{{"p":{}}}}}"#, deep(15_000))).await;
    assert_eq!(http.reasons(), ["not_an_object", "bad_batch", "not_an_object", "bad_json"]);
    assert_eq!(http.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_browser_on_another_origin_may_send() {
    let http = Http::start().await;
    let preflight = http.client.request(reqwest::Method::OPTIONS, http.url("/v1/t")).send().await.unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");
    let body = json!({ "anonymousId": "a", "writeKey": KEY }).to_string();
    let request = http.client.post(http.url("/v1/p")).header("content-type", "text/plain").body(body);
    assert_eq!(request.send().await.unwrap().headers()["access-control-allow-origin"], "*");
}

/// JSON as text, so that it can hold what a parsed value cannot: huge numbers, halves of pairs, NUL, repeated keys.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1e400".to_owned()),
        Just("-1E-999".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""a\u0000b""#.to_owned()),
        Just(r#""track""#.to_owned()),
        Just(r#""2026-03-01T11:00:00Z""#.to_owned()),
        Just(r#""-009999-01-01T00:00:00Z""#.to_owned()),
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    let key = prop::sample::select(vec![
        "type",
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "messageId",
        "event",
        "traits",
        "properties",
        "context",
        "integrations",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "batch",
        "email",
        "phone",
        "name",
    ]);
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let pair = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(pair, 0..10).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    })
}

#[test]
fn any_json_is_answered_with_200_and_nothing_of_a_call_is_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let http = runtime.block_on(Http::start());
    let paths = prop::sample::select(vec!["/v1/track", "/v1/identify", "/v1/group", "/v1/alias", "/v1/page", "/v1/b"]);
    proptest!(ProptestConfig::with_cases(300), |(path in paths, body in json_text())| {
        let (status, answer) = runtime.block_on(http.post_text(path, body.clone()));
        prop_assert_eq!((status, answer), (200, json!({ "success": true })), "{} {}", path, body);
        let (facts, quarantined) = http.received();
        prop_assert!(path == "/v1/b" || facts.len() + quarantined.len() == 1, "{} {}", path, body);
    });
}
