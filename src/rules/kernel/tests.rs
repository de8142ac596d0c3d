//! A kernel answers what Rhai answers, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use super::{Kernel, Sources};
use crate::domain::clock::{Business, DAY, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Event, Fact};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::domain::score::{Score, ScoreKind};
use crate::domain::subject::Subject;
use crate::rules::host::{
    self,
    run::{Phase, Run},
};
use crate::rules::program::Program;

const NOW: Timestamp = Timestamp::from_micros(20_000 * DAY + 43_200_000_000);

/// Values that a trait or a property can have: whole and not, around each other's epsilon, text, nothing, a list.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3..4_i64).prop_map(Value::from),
        prop::sample::select(vec![0.1, 0.3, 0.1 + 0.2, 0.6, 0.6 + f64::EPSILON, 1.0, 1e-200, 9_007_199_254_740_993.0])
            .prop_map(Value::from),
        prop::sample::select(vec![i64::MIN, i64::MAX, 9_007_199_254_740_993]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "gold", "Ä"]).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(["gold", 1])),
    ]
}

/// What a script can write where a value is wanted.
fn operand() -> impl Strategy<Value = String> {
    let written = [
        "0",
        "1",
        "2",
        "-1",
        "0.3",
        "0.6",
        "1.0",
        "\"gold\"",
        "\"a\"",
        "()",
        "true",
        "global::LIMIT",
        "global::SMALL",
        "customer.n_orders",
        "customer.net_revenue",
        "customer.tier",
        "customer.churn_risk",
        "customer.email",
        "customer.one",
        "customer.two",
        "customer[\"one\"]",
        "customer?.two",
        "event.name",
        "event.properties.value",
        "customer.count(\"Seen\")",
        "customer.count(\"Seen\", days(2))",
        "customer.sum(\"Seen\", days(30))",
        "customer.days_since(\"Seen\")",
        "customer.hours_since(\"Nothing\")",
        "customer.has_done(\"Seen\")",
        "customer.in_segment(\"known\")",
        "customer.count(\"Order Completed\", days(30))",
        "twice(customer.one)",
        "common::sooner(customer.one, customer.two)",
        "common::orders(customer)",
        "customer.one.len()",
    ];
    prop::sample::select(written.map(str::to_owned).to_vec())
}

fn condition() -> impl Strategy<Value = String> {
    operand().prop_recursive(4, 24, 3, |inner| {
        let sign = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "==", "<", ">=", "+", "-", "*", "/", "%", "&&", "||", "??",
        ]);
        prop_oneof![
            4 => (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} in [{b}, \"gold\", 1.0])")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(if {a} {{ {b} }} else {{ let x = {c}; x == {b} }})")),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (condition(), condition()).prop_map(|(a, b)| format!("{a} == {b}")),
        2 => condition(),
        1 => (condition(), condition()).prop_map(|(a, b)| format!("let x = {a}; let y = x; x == y && y != {b}")),
        1 => (condition(), condition()).prop_map(|(a, b)| format!("let x = {a}; {{ let x = {b}; x == 1 }}")),
        1 => condition().prop_map(|a| format!("if {a} {{ return true; }} false")),
    ]
}

fn event(n: i64, name: &str, properties: &Value) -> Event {
    let at = Timestamp::from_micros(NOW.as_micros() - n * DAY);
    let fact = Fact {
        source: "test".to_owned(),
        message_id: format!("{name}{n}"),
        name: name.to_owned(),
        occurred_at: at,
        received_at: at,
        known_at: at,
        imported: false,
        identities: Identity::new(IdentityKind::Email, "ana@shop.example").into_iter().collect(),
        traits: serde_json::Map::new(),
        properties: properties.as_object().cloned().unwrap_or_default(),
        context: serde_json::Map::new(),
    };
    Event { id: Event::id_of(&fact), customer: None, fact }
}

fn subjects() -> impl Strategy<Value = Subject> {
    let woken = prop::option::of(value());
    (value(), value(), woken, 0..3_i64, prop::option::of(0.0..1.0_f64)).prop_map(|(one, two, woken, n_events, risk)| {
        let business = Arc::new(Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() });
        let mut events: Vec<Event> = (0..n_events).map(|n| event(n, "Seen", &json!({ "value": 0.3 }))).collect();
        events.extend((0..n_events).map(|n| event(20 * n, "Order Completed", &json!({ "total": 10 }))));
        let mut told = event(0, "Customer Identified", &json!({}));
        told.fact.traits = [("one".to_owned(), one), ("two".to_owned(), two)].into_iter().collect();
        events.push(told);
        let score = |value, band: Option<&str>| Score {
            value,
            band: band.map(str::to_owned),
            interval: None,
            n: None,
            reasons: Vec::new(),
            model: "m".to_owned(),
        };
        let scores = BTreeMap::from([
            (ScoreKind::ChurnRisk, score(risk, None)),
            (ScoreKind::Tier, score(None, risk.map(|_| "gold"))),
        ]);
        Subject {
            customer: CustomerId::derive(NOW, &[b"c"]),
            profile: Arc::new(Profile::fold(&events, &business)),
            scores: Arc::new(scores),
            segments: Arc::new(BTreeMap::from([("known".to_owned(), n_events == 1)])),
            event: woken.map(|value| Arc::new(event(0, "Told", &json!({ "value": value })).fact)),
            now: NOW,
            business,
        }
    })
}

const COMMON: &str = "const FEW = 2;\n\
    fn orders(customer) { customer.n_orders >= global::FEW }\n\
    fn sooner(a, b) { if a == () || less(b, a) { b } else { a } }\n\
    private fn less(x, y) { x < y }";

/// What the kernel and Rhai say of the condition `body`; the kernel `None` where it leaves it to Rhai. `None` where Rhai
/// cannot even read it (`1 && true`).
fn both(body: &str, subject: &Subject) -> Option<(Option<bool>, Result<bool, String>)> {
    let plain = host::engine(None);
    let common = plain.compile(COMMON).unwrap();
    let module = Arc::new(crate::rules::program::module(&plain, &common, "common.rhai").unwrap());
    let engine = host::engine(Some(&module));
    let text = format!(
        "const LIMIT = 1;\nconst SMALL = 0.3;\nfn twice(x) {{ let y = x; y + x }}\nfn when(customer, event) {{ {body} }}"
    );
    let tree = engine.compile(text).ok()?;
    let kernel = Kernel::compile(&Sources::new(&tree, Some(&common), Phase::When), "when");
    let program = Program::new(engine, &tree, "rule.rhai", &[("when", 2)]).unwrap();
    let run = Arc::new(Run::new(subject, Phase::When, false));
    let by_rhai = program.ask("when", &run, true).map_err(|failure| failure.to_string());
    Some((kernel.and_then(|kernel| kernel.ask(subject)), by_rhai))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_compiled_condition_says_what_rhai_says(body in body(), subject in subjects()) {
        if let Some((Some(answer), by_rhai)) = both(&body, &subject) {
            prop_assert_eq!(Ok(answer), by_rhai, "{}", body);
        }
    }
}

#[test]
fn what_rhai_would_complain_of_is_left_to_it() {
    let subject = subjects().new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap().current();
    for body in [
        "1 / 0 == 1",
        "() + 1 == 1",
        "!(customer.n_orders)",
        "if customer.n_orders { true } else { false }",
        "9223372036854775807 + 1 > 0",
        "\"x\"",
    ] {
        let (answer, by_rhai) = both(body, &subject).unwrap();
        assert_eq!(answer, None, "{body}");
        assert!(by_rhai.is_err(), "{body}");
    }
}
