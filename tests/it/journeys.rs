//! The two journeys of ARCHITECTURE.md, and the crash windows, walked through with everything real: HTTP in, files on the
//! disk, a rule file, mail out.

use std::sync::Arc;

use jiff::SignedDuration;
use rekindle::api::{ApiState, Limits, Readiness, WriteKey, serve};
use rekindle::domain::delivery::DeliveryState;
use rekindle::domain::event::names;
use rekindle::stores::Move;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::real_daemon::program;
use crate::world::{DAY, HOUR, World, at};

const WIN_BACK: (&str, &str) = (
    "win_back.rhai",
    r#"
//! Ten quiet days bring a mail.
const RULE = #{ trigger: daily("09:00"), cooldown: days(30) };
fn when(customer) { customer.n_orders >= 1 && customer.days_since("Order Completed") >= 10 }
fn then(customer) { email("offer"); }
"#,
);

struct Ready;

impl Readiness for Ready {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The world's HTTP doors on a free port.
async fn doors(world: &World) -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pipeline = &world.engine().pipeline;
    let state = ApiState {
        intake: world.engine().inbox.clone(),
        clock: world.clock.clone(),
        write_keys: vec![WriteKey { key: "dev".to_owned(), source: "app".to_owned() }],
        unsubscribe: pipeline.unsubscribe.clone(),
        metrics: pipeline.metrics.clone(),
        ready: Arc::new(Ready),
        limits: Limits::default(),
        business_name: "Test shop".to_owned(),
    };
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, state, stop.clone()));
    (url, stop)
}

async fn post(url: &str, path: &str, body: Value) {
    let client = http_client();
    let answer = client.post(format!("{url}{path}")).basic_auth("dev", Some("")).body(body.to_string()).send().await;
    assert_eq!(answer.unwrap().status(), 200);
}

fn http_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn why(world: &World, delivery: &str) -> String {
    let output = program(world.dir.path(), &["why", delivery]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn from_an_application_to_a_mail_and_back_to_the_reason() {
    let mut world = World::with_rules(&[WIN_BACK]).await;
    let (url, stop) = doors(&world).await;
    // An anonymous visit, then somebody identifies, agrees and orders.
    let visitor = json!({ "anonymousId": "browser-1", "messageId": "a", "event": "Product Viewed", "properties": { "category": "Books" } });
    post(&url, "/v1/track", visitor).await;
    let who = json!({ "userId": "ada", "anonymousId": "browser-1", "messageId": "b", "traits": { "first_name": "Ada", "email": "Ada@Example.com" } });
    post(&url, "/v1/identify", who).await;
    let batch = json!({ "batch": [
        { "type": "track", "userId": "ada", "messageId": "c", "event": "Consent Given", "properties": { "channel": "email" } },
        { "type": "track", "userId": "ada", "messageId": "d", "event": "Order Completed", "properties": { "order_id": "1", "total": 42.5 } },
        { "type": "track", "userId": "ada", "messageId": "d", "event": "Order Completed", "properties": { "order_id": "1", "total": 42.5 } },
    ] });
    post(&url, "/v1/batch", batch).await;
    // Without anybody whose it is, it is put aside, and counted.
    post(&url, "/v1/track", json!({ "event": "Ping", "messageId": "e" })).await;
    world.engine().step().await.unwrap();
    let state = world.customer("ada").await;
    assert_eq!(state.profile.n_events, 4, "the visit is hers, and the repeated order counts once");
    let metrics = http_client().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("rekindle_events_accepted_total 4"), "{metrics}");
    assert!(metrics.contains("rekindle_events_quarantined_total{reason=\"no_identity\"} 1"), "{metrics}");
    assert!(metrics.contains("rekindle_log_backlog 0"), "{metrics}");

    world.advance(DAY * 11).await;
    assert_eq!(world.recipients(), ["ada@example.com"]);
    let delivery = world.deliveries().await.remove(0);
    let answer = why(&world, &delivery.id.to_string());
    // Ids are derived from arrival times, and so are the same in every run; the hash of the rule's text is, too.
    insta::assert_snapshot!(answer);

    // The link in that mail: looking changes nothing, posting unsubscribes, and the next occasion is refused.
    let mail = world.mails().remove(0).replace("=\r\n", "");
    let token = mail.split("/u/").nth(1).unwrap().split(|c: char| c == '>' || c.is_whitespace()).next().unwrap();
    let link = format!("{url}/u/{token}");
    assert_eq!(http_client().get(&link).send().await.unwrap().status(), 200);
    world.engine().step().await.unwrap();
    assert_eq!(world.store().event_counts().await.unwrap().get(names::CONSENT_WITHDRAWN), None);
    let left = http_client().post(&link).body("List-Unsubscribe=One-Click").send().await.unwrap();
    assert_eq!(left.status(), 200);
    world.advance(DAY * 31).await;
    assert_eq!(world.mails().len(), 1);
    assert_eq!(world.refusals("ada").await, ["win_back consent_withdrawn x2"]);
    stop.cancel();
    world.engine.take();
}

#[tokio::test]
async fn a_rule_file_goes_from_the_disk_to_a_firing_and_a_broken_one_harms_nobody() {
    let mut world = World::with_rules(&[WIN_BACK]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.write_rule("broken.rhai", "const RULE = #{ trigger: dialy(\"09:00\") };\nfn when(customer) { true }\n");
    let folder = world.dir.path().to_owned();
    let run = |arguments: &[&str]| program(&folder, arguments).output().unwrap();
    let check = run(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains("broken.rhai:1:26: error") && said.contains("did you mean `daily`"), "{said}");

    world.write_rule(
        "win_back.test.toml",
        "[[test]]\nname = \"ten days\"\nhappens = [{ at = \"-11d\", event = \"Order Completed\" }]\nexpect = [{ at = \"0d\", email = \"offer\" }]\n",
    );
    let test = run(&["test", "win_back"]);
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
    // The daemon starts with the good rule in spite of the bad one.
    world.engine.take().unwrap().close().await;
    world.start_with_mistakes().await;
    world.advance(DAY * 12).await;
    assert_eq!(world.ledger().await, ["win_back sent"]);
    let firing = world.store().firing(world.deliveries().await[0].firing).await.unwrap().unwrap();
    assert_eq!(firing.occasion, "tick:2026-06-12T07:00:00Z");
    assert_eq!(firing.trace[0].what, "n_orders");
}

/// A process that dies is a world whose engine is dropped without closing; what it was doing is what the moves say.
#[tokio::test]
async fn what_was_under_way_at_a_crash_is_sent_once_or_shown_as_unknown() {
    let smtp = "[email]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\nfrom = \"Shop <shop@example.com>\"\n";
    // The channel, whether the intent was written, and what a restart makes of it.
    for (config, committing, expected) in [
        ("", false, DeliveryState::Sent),
        ("", true, DeliveryState::Sent),
        (smtp, true, DeliveryState::Unknown),
        (smtp, false, DeliveryState::Due),
    ] {
        let mut world = World::with(config, &[WIN_BACK]).await;
        world.consenting("ada").await;
        let mut order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
        order.occurred_at = order.occurred_at.minus(DAY * 20);
        world.ingest(vec![order]).await;
        // The evening's quiet hours keep the mail back, so it can be claimed by hand as a worker would.
        world.write_rule("win_back.rhai", &WIN_BACK.1.replace("09:00", "23:00"));
        world.restart().await;
        world.advance(HOUR * 12).await;
        let morning = at("2026-06-02T06:00:00Z");
        let store = world.engine().pipeline.store.clone();
        let lease = morning.plus(SignedDuration::from_mins(15));
        let claimed = store.claim_deliveries("email", morning, lease, 10).await.unwrap();
        assert_eq!(claimed.len(), 1);
        if committing {
            let intent = Move::Commit { delivery: claimed[0].id, at: morning };
            assert_eq!(store.apply_moves(&[intent]).await.unwrap(), [true]);
        }
        drop(store);
        world.engine.take().unwrap().close().await;
        world.clock.set(morning);
        world.start().await;
        let delivery = world.deliveries().await.remove(0);
        assert_eq!(delivery.state, expected, "{config} committing: {committing}");
        world.restart().await;
        let mails = usize::from(expected == DeliveryState::Sent);
        assert_eq!(world.mails().len(), mails, "and a second restart sends nothing more");
    }
}
