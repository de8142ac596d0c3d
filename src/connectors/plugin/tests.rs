//! What holds of every record, however hostile: it ends in events, in quarantine or skipped, and the run is bounded.

use std::io::Write;
use std::path::Path;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use rhai::Dynamic;
use serde_json::{Value, json};

use super::draft::{Outcome, Stated};
use super::manifest::{Manifest, RecordFormat};
use super::program::Program;
use super::{Plugin, check, load};
use crate::connectors::SourceConfig;
use crate::connectors::file::FileConnector;
use crate::connectors::row::Problem;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::Identity;
use crate::script::to_dynamic;

fn program(text: &str) -> Result<Program, Vec<String>> {
    let mut diagnostics = Vec::new();
    let program = check::program("p/map.rhai", text, &mut diagnostics);
    program.ok_or_else(|| diagnostics.iter().map(ToString::to_string).collect())
}

fn run(body: &str, record: &Value) -> Result<Outcome, Problem> {
    let program = program(&format!("fn map(record) {{ {body} }}")).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    program.run(to_dynamic(record), &TimeZone::UTC)
}

fn events(body: &str, record: &Value) -> (Vec<Stated>, Vec<Identity>) {
    match run(body, record) {
        Ok(Outcome::Events(events, identities)) => (events, identities),
        other => panic!("{other:?}"),
    }
}

fn problem(body: &str) -> (String, String) {
    let problem = run(body, &json!({ "id": 1, "at": "2026-03-01T10:00:00Z" })).unwrap_err();
    (problem.reason.into_owned(), problem.message)
}

#[test]
fn a_record_states_who_when_and_what() {
    let record = json!({
        "id": 7, "mail": " Ana@Example.com ", "at": 1_772_359_200, "lines": [{ "sku": "mug", "n": 2, "price": "9.90" }],
        "cents": 1980, "nothing": null,
    });
    let body = r#"
        user_id(record.id); email(record.mail); phone(record.phone);
        occurred_at(record.at, "unix_seconds");
        for line in record.lines { product(#{ product_id: line.sku, quantity: line.n, price: line.price, note: line.note }); }
        message_id(`order/${record.id}`);
        track("Order Completed", #{ order_id: record.id, total: from_minor(record.cents, "EUR"), currency: "EUR", coupon: record.nothing });
        occurred_at("2026-03-02");
        consent("email", "newsletter", true);
        identify(#{ first_name: "Ana", tags: ["a", "b"] });
    "#;
    let (events, identities) = events(body, &record);
    let handles: Vec<String> = identities.iter().map(|i| format!("{}={}", i.kind.as_str(), i.value)).collect();
    assert_eq!(handles, ["user_id=7", "email=ana@example.com"]);
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["Order Completed", "Consent Given", "Customer Identified"]);
    assert_eq!(events[0].message_id.as_deref(), Some("order/7"));
    assert_eq!(events[1].message_id, None, "an id belongs to one event");
    assert_eq!(events[0].occurred_at.to_string(), "2026-03-01T10:00:00Z");
    assert_eq!(events[2].occurred_at.to_string(), "2026-03-02T12:00:00Z");
    let expected = json!({
        "order_id": 7, "total": "19.80", "currency": "EUR",
        "products": [{ "product_id": "mug", "quantity": 2, "price": "9.90" }],
    });
    assert_eq!(Value::Object(events[0].properties.clone()), expected);
    assert_eq!(Value::Object(events[1].properties.clone()), json!({ "channel": "email", "topic": "newsletter" }));
    assert_eq!(Value::Object(events[2].traits.clone()), json!({ "first_name": "Ana", "tags": ["a", "b"] }));
}

#[test]
fn amounts_are_exact() {
    let amount = |code: &str| {
        let body = format!("occurred_at(\"2026-01-01\"); track(\"x\", #{{ a: {code} }});");
        events(&body, &json!({ "n": 0.1 })).0[0].properties["a"].clone()
    };
    assert_eq!(amount("from_minor(1999, \"JPY\")"), "1999");
    assert_eq!(amount("from_minor(1999, \"KWD\")"), "1.999");
    assert_eq!(amount("from_minor(-5, 2)"), "-0.05");
    assert_eq!(amount("sum([\"0.1\", 0.2, (), record.n, 1])"), "1.4");
}

#[test]
fn what_cannot_be_used_says_why_and_where() {
    let check = |body: &str, reason: &str, message: &str| {
        let (found, text) = problem(body);
        assert_eq!(found, reason, "{body}: {text}");
        assert!(text.contains(message), "{body}: {text}");
    };
    check("track(\"A\");", "no_time", "p/map.rhai:1:18: say when it happened");
    check("occurred_at(\"soon\");", "bad_time", "`soon` is not a time; expected an ISO 8601 time");
    check("occurred_at(true);", "bad_time", "a text or a number");
    check("occurred_at(record.at, \"%Q!\");", "script_failed", "does not make a time");
    check("user_id(1.5);", "bad_identity", "a whole number");
    check("email(\"nobody\"); occurred_at(record.at); track(\"A\");", "bad_identity", "`nobody` is not a usable email");
    check("user_id(1); user_id(2);", "mixed_customer", "a second user_id");
    check(
        "occurred_at(record.at); let name = \"order completed\"; track(name);",
        "bad_event",
        "did you mean `Order Completed`?",
    );
    check("occurred_at(record.at); track(\"Order Completed\");", "no_order_id", "needs an `order_id`");
    let order = |rest: &str| format!("occurred_at(record.at); track(\"Order Refunded\", #{{ order_id: 1, {rest} }});");
    check(&order("total: \"free\""), "bad_amount", "`total` is \"free\"");
    check(&order("currency: \"EURO\""), "bad_currency", "`EURO` is not a currency code");
    check(&order("total: \"99999999999999999999\", currency: \"EUR\""), "bad_amount", "beyond what can be counted");
    check("occurred_at(record.at); consent(\"email\", \"yes\");", "bad_consent", "never guessed");
    check("reject(\"too_cheap\", \"mend the price\");", "too_cheap", "mend the price");
    check("reject(\"Too cheap\", \"x\");", "script_failed", "not a code to count by");
    check("try { reject(\"a\", \"b\"); } catch { track(\"A\"); }", "a", "b");
    check("occurred_at(record.at); track(\"A\"); skip(\"no\");", "script_failed", "decide first");
    check("let x = record.id;", "nothing_stated", "state an event, or `skip` it");
    check("let x = record.nobody.name;", "script_failed", "p/map.rhai:1:");
    check("loop { }", "script_failed", "more than 100000 steps");
    check("occurred_at(record.at); loop { track(\"A\"); }", "too_much", "at most 500 events");
    check("occurred_at(record.at); product(#{}); track(\"A\"); product(#{});", "script_failed", "no event followed");
    assert!(matches!(run("skip(\"a test\");", &json!({})), Ok(Outcome::Skipped(reason)) if reason == "a test"));
}

#[test]
fn what_is_wrong_with_a_script_is_said_all_at_once_with_its_place() {
    let text = "const A = 1;\nfn map(record) {\n    trak(\"A\");\n    track(\"Prodct Viewed\");\n    track(\"order completed\");\n    \
                user_id();\n    record.email(1);\n    shop::x();\n    global::B\n}\n";
    let mut diagnostics = Vec::new();
    assert!(check::program("map.rhai", text, &mut diagnostics).is_none());
    let found: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let expected = [
        "map.rhai:3:5: error: unknown function `trak`\n  help: did you mean `track`?",
        "map.rhai:4:11: warning: no standard event is called `Prodct Viewed`\n  help: did you mean `Product Viewed`?",
        "map.rhai:5:11: error: `order completed` is not the event that is built in\n  help: did you mean `Order Completed`?",
        "map.rhai:6:5: error: `user_id` takes 1 arguments, not 0",
        "map.rhai:7:12: error: unknown method `email`\n  help: write email(…): it always is about this record",
        "map.rhai:8:11: error: unknown function `shop::x`\n  help: a plugin is one script; write the function into it",
        "map.rhai:9:5: error: unknown constant `B`\n  help: did you mean `A`?",
    ];
    assert_eq!(found, expected);
    let wrong = |text: &str| program(text).unwrap_err().join("\n");
    assert!(wrong("fn mapp(record) { }").contains("`fn mapp` is never called\n  help: did you mean `map`?"));
    assert!(wrong("").contains("the plugin has no `map`"));
    assert!(wrong("fn map(a, b) { }").contains("`map` takes one record"));
    assert!(wrong("track(\"A\");\nfn map(record) { }").contains("only `const` and `fn`"));
    assert!(wrong("fn map(record) { import \"x\" as x; }").contains("`import` does not exist in plugins"));
    assert!(wrong("const A = track(\"A\");\nfn map(record) { }").contains("only `map` has one"));
}

#[test]
fn a_script_that_nests_without_end_is_stopped_before_the_stack_is() {
    for body in [
        "let a = []; loop { a = [a]; }",
        "let a = #{}; loop { a = #{ a: a }; }",
        "let a = []; for i in 0..900 { a = [a]; } occurred_at(\"2026-01-01\"); track(\"A\", #{ a: a });",
        "let a = 1; for i in 0..900 { a = [#{ a: a }]; } occurred_at(\"2026-01-01\"); track(\"A\", #{ a: a });",
    ] {
        let outcome = run(body, &json!({}));
        assert!(outcome.is_err() || matches!(outcome, Ok(Outcome::Events(..))), "{outcome:?}");
    }
}

/// JSON as nobody would write it.
fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9.eE+-]{1,30}".prop_map(Value::from),
        Just(Value::from("\u{0}\u{202e}")),
        Just(Value::from("x".repeat(200_000))),
        Just(Value::from("2026-03-01T10:00:00Z")),
        Just(Value::from("EUR")),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// One line of a file that pretends to be JSON lines, and mostly is.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let nested = |depth: usize| format!("{{\"v\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    prop_oneof![
        4 => (hostile(), hostile(), hostile()).prop_map(|(id, at, v)| json!({ "id": id, "at": at, "v": v }).to_string().into_bytes()),
        2 => hostile().prop_map(|v| json!({ "id": 1, "v": v }).to_string().into_bytes()),
        1 => hostile().prop_map(|v| json!({ "skip": v }).to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>().prop_filter("one line", |b| *b != b'\n'), 0..40),
        1 => prop_oneof![Just(10_usize), Just(63), Just(64), Just(126), Just(127), Just(10_000)].prop_map(nested),
        1 => Just(b"{\"id\":1,\"v\":1e400}".to_vec()),
        1 => Just(b"{\"id\":1,\"v\":\"\\ud800\"}".to_vec()),
        1 => Just(b"{\"id\":\"\\u0000\",\"v\":\"\\u0000\"}".to_vec()),
        1 => Just(format!("{{\"v\":\"{}\"}}", "x".repeat(2 << 20)).into_bytes()),
    ]
}

/// Places in a record of Shopify or Stripe, at which something hostile is put.
const PLACES: [&str; 30] = [
    "/id",
    "/type",
    "/created",
    "/data",
    "/data/object",
    "/data/object/id",
    "/data/object/amount",
    "/data/object/currency",
    "/data/object/customer",
    "/data/object/amount_refunded",
    "/data/previous_attributes",
    "/data/object/customer_details",
    "/data/object/consent",
    "/customer",
    "/customer/id",
    "/customer/email",
    "/customer/email_marketing_consent",
    "/line_items",
    "/line_items/0",
    "/line_items/0/price",
    "/refunds",
    "/refunds/0",
    "/refunds/0/transactions",
    "/refunds/0/transactions/0",
    "/currency",
    "/total_price",
    "/processed_at",
    "/cancelled_at",
    "/discount_codes",
    "/financial_status",
];

/// The records of a shipped plugin's fixtures that are JSON.
fn fixture_records(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name).join("fixtures");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).map(std::fs::read_to_string);
    let lines: Vec<String> =
        texts.flat_map(|text| text.unwrap().lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_record_makes_a_shipped_plugin_panic_or_run_away(
        which in any::<prop::sample::Index>(),
        places in prop::collection::vec((prop::sample::select(&PLACES[..]), hostile()), 1..4),
    ) {
        for name in ["shopify", "stripe"] {
            let plugin = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins"), name).into_plugin().unwrap();
            let records = fixture_records(name);
            let mut record = which.get(&records).clone();
            for (place, value) in &places {
                if let Some(slot) = record.pointer_mut(place) {
                    *slot = value.clone();
                }
            }
            // It ends; and a problem has a code and a sentence.
            if let Err(problem) = plugin.program.run(to_dynamic(&record), &TimeZone::UTC) {
                prop_assert!(!problem.reason.is_empty() && !problem.message.is_empty());
            }
        }
    }

    #[test]
    fn every_line_of_a_file_ends_as_an_event_in_quarantine_or_skipped(lines in prop::collection::vec(line(), 0..12)) {
        let script = "fn map(record) { if record.skip != () { skip(`${record.skip}`); } user_id(record.id); \
                      occurred_at(record.at ?? \"2026-01-01\"); track(\"A\", #{ v: record.v }); }";
        let manifest = Manifest {
            name: "p".into(),
            version: "0.1.0".into(),
            description: "p".into(),
            license: "MIT".into(),
            format: RecordFormat::Jsonl,
            record: "anything".into(),
            columns: Vec::new(),
        };
        let plugin = Plugin { manifest, program: std::sync::Arc::new(program(script).unwrap()) };
        let config: SourceConfig = toml::from_str("name = 's'\nkind = 'plugin'\nplugin = 'p'").unwrap();
        let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in &lines {
            file.write_all(line).unwrap();
            file.write_all(b"\n").unwrap();
        }
        let mut source = FileConnector::open_plugin(config, file.path().to_owned(), plugin, &business).unwrap();
        let batch = source.read_batch(None, Timestamp::MAX).unwrap();
        let counts = batch.counts;
        prop_assert!(batch.done);
        prop_assert_eq!(counts.n_records, counts.n_facts + counts.n_quarantined + counts.n_skipped);
        for fact in &batch.facts {
            // What is stored must be readable again.
            let text = serde_json::to_string(fact).unwrap();
            prop_assert!(serde_json::from_str::<crate::domain::event::Fact>(&text).is_ok());
        }
    }

    #[test]
    fn no_value_makes_a_verb_panic(value in hostile()) {
        let program = program(
            "fn map(record) { let v = record.v; try { user_id(v); } catch {} try { email(v); } catch {} \
             try { message_id(v); } catch {} try { occurred_at(v); } catch {} try { occurred_at(v, \"unix_seconds\"); } catch {} \
             try { occurred_at(\"2026-01-01\"); track(\"A\", #{ v: v }); } catch {} try { identify(v); } catch {} \
             try { product(#{ v: v }); track(v); } catch {} try { consent(v, v); } catch {} try { sum([v, v]); } catch {} \
             try { from_minor(v, \"EUR\"); } catch {} \
             track(\"Order Completed\", #{ order_id: v, total: v, currency: v }); }",
        ).unwrap();
        let record: Dynamic = to_dynamic(&json!({ "v": value }));
        drop(program.run(record, &TimeZone::UTC));
    }
}
