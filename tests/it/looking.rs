//! What an operator reads: listings with pages and filters, and one thing whole. All by the real binary, beside a daemon that
//! has the files.

use rekindle::domain::event::names;
use serde_json::{Value, json};

use crate::real_daemon::program;
use crate::world::{DAY, World};

const SEGMENTS: (&str, &str) = (
    "segments.rhai",
    r"
//! The segments.

/// Bought at least once.
fn buyers(customer) {
    customer.n_orders >= 1
}

/// Nobody asks for it.
fn forgotten(customer) { customer.n_orders == 99 }
",
);

const WELCOME: (&str, &str) = (
    "welcome.rhai",
    r#"
//! Thanks for the first order, and a call.
const RULE = #{ trigger: entering("buyers"), cooldown: days(30), holdout: 0.0 };
fn when(customer) { true }
fn then(customer) { email("offer"); task(`Call ${customer.first_name ?? "them"}`); }
"#,
);

const WEEKLY: (&str, &str) = (
    "weekly.rhai",
    r#"
//! A word every Monday.
const RULE = #{ trigger: cron("0 10 * * 1"), audience: "buyers", cooldown: days(6) };
fn when(customer) { customer.n_orders >= 1 }
fn then(customer) { task("Look after them"); }
"#,
);

/// What the binary says about a world, on the world's clock.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) errors: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}{}", self.text, self.errors))
    }
}

pub(crate) async fn look(world: &World, arguments: &[&str]) -> Said {
    // As a demo does: its clock is not the machine's.
    if let Some(engine) = &world.engine {
        engine.pipeline.store.set_meta("demo_instant", &world.now().as_micros().to_string()).await.unwrap();
    }
    let output = program(world.dir.path(), arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), text: text(output.stdout), errors: text(output.stderr) }
}

/// Five customers, of whom the first three bought.
pub(crate) async fn shop(extra_config: &str) -> World {
    let mut world = World::with(extra_config, &[SEGMENTS, WELCOME, WEEKLY]).await;
    for (n, user) in (1..).zip(["ada", "ben", "cleo", "dora", "emil"]) {
        world.consenting(user).await;
        if n <= 3 {
            let order = json!({ "order_id": user, "total": n * 10 });
            world.happens(user, names::ORDER_COMPLETED, order).await;
        }
        world.advance(jiff::SignedDuration::from_secs(60)).await;
    }
    world
}

fn ids(page: &Value, key: &str) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_listing_can_be_walked_through_page_by_page() {
    let world = shop("").await;
    for (listing, key, at_least) in [
        ("customers", "customer", 5),
        ("events", "id", 13),
        ("segments", "name", 2),
        ("rules", "id", 2),
        ("deliveries", "id", 6),
        ("tasks", "delivery", 3),
        ("connectors", "name", 5),
    ] {
        let whole = look(&world, &[listing, "list", "--json", "--limit", "1000"]).await.json();
        assert_eq!(whole["next"], Value::Null, "{listing}");
        let whole = ids(&whole, key);
        assert!(whole.len() >= at_least, "{listing}: {whole:?}");
        let mut walked = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut arguments = vec![listing, "list", "--json", "--limit", "2"];
            if let Some(cursor) = &cursor {
                arguments.extend(["--after", cursor]);
            }
            let page = look(&world, &arguments).await.json();
            walked.extend(ids(&page, key));
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(walked, whole, "{listing}: pages are the whole, in its order");
    }
    let wrong = look(&world, &["events", "list", "--after", "dlv_1"]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.errors.contains("not a event id") || wrong.errors.contains("evt_"), "{}", wrong.errors);
}

#[tokio::test]
async fn filters_narrow_a_listing_to_what_they_name() {
    let mut world = shop("").await;
    world.advance(DAY).await;
    let late = world.fact("ben", "Product Viewed", json!({ "category": "Books" }));
    world.ingest(vec![rekindle::domain::event::Fact { source: "web".to_owned(), ..late }]).await;
    for (arguments, n) in [
        (vec!["events", "list", "--customer", "ben"], 4),
        (vec!["events", "list", "--name", "Order Completed"], 3),
        (vec!["events", "list", "--source", "web"], 1),
        (vec!["events", "list", "--since", "2026-06-02"], 1),
        (vec!["events", "list", "--until", "2026-06-01T12:00:30"], 3),
        (vec!["deliveries", "list", "--channel", "task"], 3),
        (vec!["deliveries", "list", "--customer", "ada", "--rule", "welcome"], 2),
        (vec!["deliveries", "list", "--since", "2026-06-02T00:00:00Z"], 0),
        (vec!["deliveries", "list", "--state", "held"], 0),
        (vec!["customers", "list", "--segment", "buyers"], 3),
        (vec!["customers", "list", "--search", "EMI"], 1),
        (vec!["tasks", "list", "--customer", "cleo"], 1),
    ] {
        let mut all = arguments.clone();
        all.push("--json");
        let page = look(&world, &all).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), n, "{arguments:?}: {page:#}");
    }
}

#[tokio::test]
async fn one_event_one_segment_and_one_rule_are_shown_whole() {
    let world = shop("").await;
    let order = look(&world, &["events", "list", "--name", "Order Completed", "--customer", "ada", "--json"]).await;
    let id = order.json()["items"][0]["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("event_shown", look(&world, &["events", "show", &id]).await.text);
    let event = look(&world, &["events", "show", &id, "--json"]).await.json();
    assert_eq!(event["signals"][0]["segment"], "buyers");
    assert_eq!(event["firings"][0]["rule"], "welcome");
    assert_eq!(event["firings"][0]["deliveries"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!("segment_shown", look(&world, &["segments", "show", "buyers"]).await.text);
    insta::assert_snapshot!("rule_shown", look(&world, &["rules", "show", "weekly"]).await.text);
    insta::assert_snapshot!("connectors_listed", look(&world, &["connectors", "list"]).await.text);
    let slip = look(&world, &["segments", "show", "buyer"]).await;
    assert!(slip.errors.contains("did you mean `buyers`?"), "{}", slip.errors);
}

#[tokio::test]
async fn a_broken_rule_stays_in_the_listing_with_what_is_wrong() {
    let world = shop("").await;
    world.write_rule("welcome.rhai", &WELCOME.1.replace("email(\"offer\")", "email(\"ofer\")"));
    let rules = look(&world, &["rules", "list", "--json"]).await.json();
    let welcome = rules["items"].as_array().unwrap().iter().find(|rule| rule["id"] == "welcome").unwrap();
    assert_eq!(welcome["broken"], true);
    assert_eq!(welcome["diagnostics"][0]["help"], "did you mean `offer`?");
    let shown = look(&world, &["rules", "show", "welcome"]).await.text;
    assert!(shown.contains("keeps its last good version"), "{shown}");
    assert!(shown.contains("3  task sent"), "what it did stays: {shown}");
}
