//! What the daemon says of itself: its metrics are those of the reference page, and neither they nor its logs hold anything of
//! a customer or any secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rekindle::telemetry::Metrics;
use serde_json::{Value, json};

use crate::real_daemon::RealDaemon;
use crate::real_daemon::installation::Installation;
use crate::repository::{ROOT, page};
use crate::rules::on_order;
use crate::servers::Happenings;
use crate::servers::http::{Behaviour as Answers, Receiver};
use crate::servers::smtp::{Behaviour, SmtpServer};
use crate::until::until;

const PAGE: &str = "docs/reference/metrics.md";

/// The page as it is made of the catalogue.
fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nWhat `/metrics` shows, in the order of the stages that an event goes through. This page is made of the \
         code (`UPDATE=1 ./test metrics` rewrites it) and a test\nholds a running daemon to it. Times are in seconds. Labels have few \
         values and never name a customer.\n\n| metric | kind | labels | says |\n|---|---|---|---|\n",
    );
    for entry in Metrics::new().catalogue() {
        let suffix = match entry.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{}{suffix}` | {} | {} | {} |", entry.name, entry.kind, labels.join(", "), entry.help)
            .unwrap();
    }
    text.push_str(
        "\nA histogram has `_bucket` (with `le`), `_sum` and `_count`: `rate(rekindle_log_append_seconds_sum[5m]) / \
         rate(rekindle_log_append_seconds_count[5m])` is the mean\nduration of a commit, and the rate of its count how many there are.\n",
    );
    text
}

#[test]
fn the_page_of_metrics_is_made_of_the_code() {
    let made = reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(format!("{ROOT}/docs/reference")).unwrap();
        std::fs::write(format!("{ROOT}/{PAGE}"), &made).unwrap();
    }
    assert!(page(PAGE) == made, "{PAGE} is not what the code says; run `UPDATE=1 ./test metrics`");
}

/// Family → kind, help, and the label names of its samples.
fn scraped(text: &str) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut families: BTreeMap<String, (String, String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => help.clone_into(&mut families.entry(name.to_owned()).or_default().1),
            ["#", "TYPE", name, kind] => kind.clone_into(&mut families.entry(name.to_owned()).or_default().0),
            ["#", ..] => {}
            _ => {
                let (name, rest) = line.split_once(['{', ' ']).unwrap();
                let ends = ["_total", "_bucket", "_sum", "_count", "_info", ""];
                let family = ends.iter().find_map(|end| name.strip_suffix(end).filter(|f| families.contains_key(*f)));
                let family =
                    families.get_mut(family.unwrap_or_else(|| panic!("a sample without a family: {line}"))).unwrap();
                let labels = if line.contains('{') { rest.split('}').next().unwrap() } else { "" };
                let names =
                    labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
                family.2.extend(names.filter(|name| name != "le"));
            }
        }
    }
    families
}

fn identify(user: &str) -> Value {
    json!({ "type": "identify", "userId": user, "traits": { "email": format!("{user}@example.com"), "first_name": user } })
}

fn order(user: &str, id: &str) -> Value {
    json!({ "type": "track", "userId": user, "messageId": format!("{user}-{id}"), "event": "Order Completed",
            "properties": { "order_id": id, "total": 10 } })
}

#[tokio::test]
async fn a_running_daemon_shows_every_metric_of_the_page_and_no_other() {
    let failing = on_order("task(\"x\");").replace("{ true }", "{ throw \"no\" }");
    let segments = "fn buyers(customer) { customer.n_orders >= 1 }\n";
    let rules = [
        ("offer.rhai", &*on_order("email(\"offer\"); email(\"receipt\"); email(\"wrong\");")),
        ("failing.rhai", &*failing),
        ("segments.rhai", segments),
    ];
    let installation = Installation::new("", &rules);
    installation.template("wrong", "class = \"transactional\"\n", "{{ customer.shoe_size }}", "<p>x</p>");
    let daemon = installation.start();
    daemon.batch(&[identify("ana"), order("ana", "1"), order("ana", "1"), json!({ "type": "track" })]).await;
    daemon.text("/u/no-token").await;
    let text = until("the mail is sent", async || {
        let text = daemon.metrics().await;
        let waits = text.contains("rekindle_deliveries_waiting{channel=\"email\",state=\"due\"} 1");
        (waits && text.contains("rekindle_deliveries_total{channel=\"email\",state=\"sent\"} 1")).then_some(text)
    })
    .await;
    for line in [
        "rekindle_events_logged_total 3",
        "rekindle_events_accepted_total 2",
        "rekindle_events_duplicate_total 1",
        "rekindle_events_quarantined_total{reason=\"no_event\"} 1",
        "rekindle_evaluations_total{rule=\"offer\",result=\"yes\"} 1",
        "rekindle_evaluations_total{rule=\"failing\",result=\"failed\"} 1",
        "rekindle_refusals_total{reason=\"no_consent\"} 1",
        "rekindle_firings_total{rule=\"offer\"} 1",
        "rekindle_signals_total{segment=\"buyers\",transition=\"entered\"} 1",
        // Again and again, as long as the test waits for the rest.
        "rekindle_deliveries_total{channel=\"email\",state=\"due\"} ",
        "rekindle_deliveries_in_flight{channel=\"email\"} 0",
        "rekindle_http_requests_total{route=\"/v1/batch\",status=\"200\"} 1",
        "rekindle_http_request_seconds_count{route=\"/v1/batch\"} 1",
        "rekindle_log_append_seconds_count 1",
        "rekindle_log_backlog 0",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let found = scraped(&text);
    let expected = Metrics::new();
    let expected: BTreeMap<&str, _> = expected.catalogue().iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert!(names.is_subset(&expected.keys().copied().collect()), "not on the page: {names:?}");
    for (name, (kind, help, labels)) in &found {
        let entry = expected[name.as_str()];
        assert_eq!((kind.as_str(), help.as_str()), (entry.kind, &*format!("{}.", entry.help)), "{name}");
        let stated: BTreeSet<String> = entry.labels.iter().map(ToString::to_string).collect();
        assert!(labels.is_empty() || *labels == stated, "{name} has {labels:?}");
    }
    let silent: Vec<&&str> = expected.keys().filter(|name| !names.contains(*name)).collect();
    // A tick comes with the minute, and senders are sent away only where the disk is full.
    let rare = ["rekindle_intake_refusals", "rekindle_sweep_seconds", "rekindle_ticks"];
    assert!(silent.iter().all(|name| rare.contains(name)), "on the page and never shown: {silent:?}");
}

/// Strings that occur nowhere but in what customers and secrets say.
const CANARIES: [&str; 12] = [
    "CanaryName",
    "canary.mail",
    "4930555777",
    "CanaryProperty",
    "203.0.113.77",
    "CanaryAgent",
    "canary-write-key",
    "Y2FuYXJ5IHNlY3JldCBjYW5hcnkgc2VjcmV0",
    "CanaryPassword",
    "CanaryUser",
    "CanaryPath",
    "CanaryThrown",
];

/// Sends everything that could leak through every stage that can fail.
async fn live(installation: &Installation, daemon: &RealDaemon, server: &SmtpServer, receiver: &Receiver) {
    let post = async |body: String, key: &str| {
        let request = daemon.client.post(daemon.url("/v1/batch")).basic_auth(key, Some("CanaryPassword"));
        let request = request.header("user-agent", "CanaryAgent/1.0").header("x-forwarded-for", "203.0.113.77");
        request.body(body).send().await.unwrap().status().as_u16()
    };
    let traits = json!({ "email": "canary.mail@example.com", "first_name": "CanaryName", "phone": "+4930555777" });
    let context = json!({ "ip": "203.0.113.77", "userAgent": "CanaryAgent", "traits": traits });
    let order = json!({ "type": "track", "userId": "CanaryUser", "messageId": "CanaryUser-1", "event": "Order Completed",
        "context": context, "properties": { "order_id": "1", "total": 5, "note": "CanaryProperty" } });
    let other = json!({ "type": "track", "userId": "CanaryUser", "messageId": "CanaryUser-1", "event": "Order Completed",
        "properties": { "note": "CanaryProperty, but other" } });
    let bad = json!({ "type": "track", "userId": "CanaryUser", "timestamp": "CanaryProperty", "event": "E", "context": context });
    let alias = json!({ "type": "alias", "userId": "CanaryUser", "previousId": "CanaryUser-before" });
    assert_eq!(post(json!({ "batch": [order, bad, alias] }).to_string(), "canary-write-key").await, 200);
    assert_eq!(post(json!({ "batch": [other] }).to_string(), "canary-write-key").await, 200);
    // Refused as a whole: not JSON, no such key, no such address.
    assert_eq!(post("{\"CanaryProperty\":".to_owned(), "canary-write-key").await, 400);
    assert_eq!(post("{}".to_owned(), "canary-write-key-that-is-wrong").await, 401);
    for path in ["/u/CanaryPath?CanaryProperty", "/CanaryPath"] {
        daemon.text(path).await;
    }
    // The mail server and the receiver refuse in the customer's own words; the script throws them.
    installation.tasks(1).await;
    until("both have refused", async || {
        let asked = server.happenings.count("< RCPT") > 0 && !receiver.received().is_empty();
        let settled = installation.said(&["deliveries", "list", "--json"]);
        asked && settled.matches("\"n_attempts\": 1").count() >= 3
    })
    .await;
    until("the conflict is found", async || daemon.metrics().await.contains("{reason=\"same_id_other_body\"} 1")).await;
}

async fn nothing_of_a_customer_is_said(arguments: &[&str]) {
    let words = Behaviour { rcpt: "450 4.2.0 canary.mail@example.com of CanaryName is busy", ..Behaviour::default() };
    let server = SmtpServer::start(words, Happenings::default());
    let says = Answers::Answers { status: 500, headers: vec![], body: "CanaryName was not liked".to_owned() };
    let receiver = Receiver::start(says).await;
    let sections = format!(
        "[email]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Shop <shop@shop.example>\"\n\
         [webhook]\nkind = \"http\"\n[[webhook.endpoints]]\nname = \"crm\"\nurl = \"http://{}/CanaryPath\"\n\
         secret = {{ env = \"HOOK_SECRET\" }}\n",
        server.address.port(),
        receiver.address
    );
    let then = "task(`Call ${customer.first_name ?? \"\"}`); email(\"receipt\"); webhook(\"crm\", #{ name: customer.first_name });";
    let throws =
        on_order("task(\"x\");").replace("{ true }", "{ throw `CanaryThrown for ${customer.first_name ?? \"\"}` }");
    let segments = "fn broken(customer) { if customer.n_orders >= 1 { throw `CanaryThrown for ${customer.first_name ?? \"\"}` } false }\n";
    let rules = [("thanks.rhai", &*on_order(then)), ("throws.rhai", &*throws), ("segments.rhai", segments)];
    let installation = Installation::new(&sections, &rules);
    let config = installation.path("config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("key = \"dev\"", "key = { env = \"WRITE_KEY\" }");
    std::fs::write(&config, text).unwrap();
    let secrets = [
        ("WRITE_KEY", "canary-write-key"),
        ("HOOK_SECRET", "whsec_Y2FuYXJ5IHNlY3JldCBjYW5hcnkgc2VjcmV0"),
        ("REKINDLE_LOG", "trace"),
    ];
    let daemon = installation.start_with(arguments, &secrets);
    live(&installation, &daemon, &server, &receiver).await;
    let metrics = daemon.metrics().await;
    let heard = daemon.stop().await;
    assert!(heard.len() > 2_000 && heard.contains("a rule failed"), "nothing was logged: {heard}");
    for canary in CANARIES {
        let leaks =
            |text: &str| text.lines().filter(|line| line.contains(canary)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(leaks(&heard), Vec::<String>::new(), "`{canary}` is in the log");
        assert_eq!(leaks(&metrics), Vec::<String>::new(), "`{canary}` is in the metrics");
    }
}

#[tokio::test]
async fn nothing_of_a_customer_is_in_the_log_or_the_metrics() {
    nothing_of_a_customer_is_said(&[]).await;
}

#[tokio::test]
async fn nothing_of_a_customer_is_in_the_log_for_programs_either() {
    nothing_of_a_customer_is_said(&["--log-json"]).await;
}
