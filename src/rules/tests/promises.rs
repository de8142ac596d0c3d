//! What the language promises to the rest of the house: purity, explanation, places of errors, and that a broken file stops
//! nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{business, shown, vocabulary};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Event, Fact, names};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::domain::rule::Seen;
use crate::domain::score::{Score, ScoreKind, Scores};
use crate::domain::subject::Subject;
use crate::rules::RuleBook;
use crate::rules::testing::{Outcome, run_tests};

const NOW: &str = "2026-03-02T08:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn fact(n: usize, name: &str, when: &str, properties: &Value) -> Fact {
    Fact {
        source: "test".to_owned(),
        message_id: n.to_string(),
        name: name.to_owned(),
        occurred_at: at(when),
        received_at: at(when),
        known_at: at(when),
        imported: false,
        identities: Identity::new(IdentityKind::Email, "ana@example.com").into_iter().collect(),
        traits: if n == 0 { Map::from_iter([("first_name".to_owned(), json!("Ana"))]) } else { Map::new() },
        properties: properties.as_object().cloned().unwrap_or_default(),
        context: Map::new(),
    }
}

/// Two orders, a churn risk as stated, in no segment.
fn subject(churn_risk: Option<f64>) -> Subject {
    let business = Arc::new(business("Europe/Berlin"));
    let order = |n, when, total: &str| {
        let fact = fact(n, names::ORDER_COMPLETED, when, &json!({ "order_id": n.to_string(), "total": total }));
        Event { id: Event::id_of(&fact), customer: None, fact }
    };
    let events = [order(0, "2025-11-02T08:00:00Z", "80.50"), order(1, "2025-12-02T08:00:00Z", "19.50")];
    let profile = Profile::fold(&events, &business);
    let score = |value| Score { value, band: None, interval: None, n: None, reasons: vec![], model: "m".to_owned() };
    Subject {
        customer: CustomerId::derive(at(NOW), &[b"c"]),
        profile: Arc::new(profile),
        scores: Arc::new(Scores::from([(ScoreKind::ChurnRisk, score(churn_risk))])),
        segments: Arc::default(),
        event: None,
        now: at(NOW),
        business,
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(dir.join("shared")).unwrap();
    std::fs::write(dir.join(name), text).unwrap();
}

fn load(dir: &Path, last: Option<&RuleBook>) -> RuleBook {
    RuleBook::load(dir, &vocabulary(), last)
}

const RULE: &str = r#"//! One.
const RULE = #{ trigger: daily("09:00"), cooldown: days(45), holdout: 0.1 };
const LEAST = 0.7;
fn when(customer) {
    customer.churn_risk >= global::LEAST && customer.days_since("Order Completed") >= 60
        && customer.churn_risk < 0.99
}
fn then(customer) {
    let back = customer.sum("Order Completed", days(120));
    email("second_order", #{ percent: if back > 50 { 10 } else { 5 } });
    set_trait("won_back", ());
}
"#;

#[test]
fn a_rule_is_the_same_with_the_line_ends_of_any_editor() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        write(dir.path(), "one.rhai", text);
        let book = load(dir.path(), None);
        (book.rule("one").map(|rule| rule.version.clone()), shown(&book, dir.path()))
    };
    let wrong = RULE.replace("//! One.", "// One.").replace("global::LEAST", "global::LAEST");
    for text in [RULE, &wrong] {
        let expected = read(text);
        assert_eq!(expected.1.is_empty(), text == RULE);
        assert_eq!(read(&text.replace('\n', "\r\n")), expected);
        assert_eq!(read(&text.replace('\n', "\r")), expected);
    }
}

#[test]
fn of_a_constant_that_is_stated_twice_the_later_one_counts_compiled_or_not() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", &RULE.replace("const LEAST = 0.7;", "const LEAST = 0.9;\nconst LEAST = 0.7;"));
    let book = load(dir.path(), None);
    let rule = book.rule("one").unwrap();
    assert!(rule.is_compiled());
    for churn_risk in [0.6, 0.8, 0.95] {
        let subject = subject(Some(churn_risk));
        assert_eq!(rule.matches(&subject), Ok(rule.evaluate(&subject).matched));
    }
}

#[test]
fn helpers_that_multiply_hold_up_nobody_who_reads_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let helper = |n: usize| {
        let calls = vec![format!("f{}(customer)", n + 1); 40].join(", ");
        format!("private fn f{n}(customer) {{ customer.n_orders in [{calls}] }}\n")
    };
    let helpers: String = (0..7).map(helper).collect();
    let last = "private fn f7(customer) { customer.n_orders > 0 }\n";
    write(
        dir.path(),
        "one.rhai",
        &format!("{}{helpers}{last}", RULE.replace("customer.churn_risk >=", "f0(customer) && customer.churn_risk >=")),
    );
    let book = load(dir.path(), None);
    assert_eq!(shown(&book, dir.path()), "");
    assert!(!book.rule("one").unwrap().is_compiled());
}

#[test]
fn an_evaluation_says_what_it_saw_once_and_in_order_and_is_the_same_every_time_on_every_thread() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    let book = load(dir.path(), None);
    assert_eq!(shown(&book, dir.path()), "");
    let rule = Arc::clone(book.rule("one").unwrap());
    assert_eq!(rule.description, "One.");
    let evaluation = rule.evaluate(&subject(Some(0.8)));
    assert!(evaluation.matched && evaluation.error.is_none(), "{evaluation:?}");
    let seen = |what: &str, value| Seen { what: what.to_owned(), value };
    let trace = vec![
        seen("churn_risk", json!(0.8)),
        seen("days_since(\"Order Completed\")", json!(90.0)),
        seen("sum(\"Order Completed\", days(120))", json!(19.5)),
    ];
    assert_eq!(evaluation.trace, trace);
    let vars = Map::from_iter([("percent".to_owned(), json!(5))]);
    let actions = [
        Action::Email { template: "second_order".to_owned(), vars },
        Action::SetTrait { name: "won_back".to_owned(), value: Value::Null },
    ];
    assert_eq!(evaluation.actions, actions);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let rule = Arc::clone(&rule);
            std::thread::spawn(move || (0..50).map(|_| rule.evaluate(&subject(Some(0.8)))).collect::<Vec<_>>())
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().iter().all(|other| *other == evaluation));
    }
}

#[test]
fn a_score_that_is_not_known_matches_nothing_and_the_quick_answer_agrees_with_the_explained_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    let book = load(dir.path(), None);
    let rule = book.rule("one").unwrap();
    for (risk, expected) in [(None, false), (Some(0.69), false), (Some(0.7), true), (Some(0.99), false)] {
        assert_eq!(rule.evaluate(&subject(risk)).matched, expected, "{risk:?}");
        assert_eq!(rule.matches(&subject(risk)), Ok(expected), "{risk:?}");
    }
}

#[test]
fn windows_are_business_days_that_end_today() {
    let dir = tempfile::tempdir().unwrap();
    let rule = |days: u32| {
        let card = "const RULE = #{ trigger: on(\"x\") };";
        let condition = format!("customer.count(\"Order Completed\", days({days})) == 1");
        write(dir.path(), "w.rhai", &format!("{card}\nfn when(customer) {{ {condition} }}\nfn then(customer) {{ }}"));
        load(dir.path(), None).rule("w").unwrap().matches(&subject(None)).unwrap()
    };
    // The newer order is of 2 December, 90 days before 2 March: the 91st day of a window that ends today.
    assert!(!rule(90) && rule(91));
}

#[test]
fn a_failing_script_names_the_innermost_place_and_neither_matches_nor_acts() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "shared/common.rhai", "fn twice(x) {\n    x * 2\n}\n");
    let text = "const RULE = #{ trigger: on(\"x\") };\nfn when(customer) { true }\n\
                fn then(customer) {\n    task(\"first\");\n    task(`${common::twice(customer.plan)}`);\n}\n";
    write(dir.path(), "bad.rhai", text);
    let book = load(dir.path(), None);
    let evaluation = book.rule("bad").expect("no lint can know what `twice` does").evaluate(&subject(None));
    assert!(!evaluation.matched && evaluation.actions.is_empty());
    let place = dir.path().join("shared/common.rhai").display().to_string();
    let expected = format!("{place}:2:7: `*` does not work on a missing value and a whole number");
    assert_eq!(evaluation.error.unwrap(), expected);
    assert_eq!(evaluation.trace.len(), 1);
}

#[test]
fn a_rule_that_runs_for_ever_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let text = "const RULE = #{ trigger: on(\"x\") };\nfn when(customer) { loop { } }\nfn then(customer) { }\n";
    write(dir.path(), "endless.rhai", text);
    let error = load(dir.path(), None).rule("endless").unwrap().evaluate(&subject(None)).error.unwrap();
    assert!(error.contains("more than 100000 steps"), "{error}");
}

#[test]
fn verbs_are_refused_outside_of_then_also_while_running() {
    let engine = crate::rules::host::engine(None);
    for verb in ["email(\"x\")", "webhook(\"crm\")", "task(\"x\")", "set_trait(\"a\", 1)"] {
        let error = crate::script::with_budget(|| engine.run(verb)).unwrap_err().to_string();
        assert!(error.contains("only `then` may act"), "{error}");
    }
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    write(dir.path(), "segments.rhai", "fn quiet(customer) { customer.churn_risk > 0.5 }\n");
    write(dir.path(), "shared/common.rhai", "fn least() { 0.7 }\n");
    let first = load(dir.path(), None);
    assert!(!first.has_errors(), "{}", shown(&first, dir.path()));
    let version = first.rule("one").unwrap().version.clone();

    write(dir.path(), "one.rhai", &RULE.replace("second_order", "no_such"));
    write(dir.path(), "segments.rhai", "fn quiet(customer) { customer.churn_risk > }\n");
    write(dir.path(), "shared/common.rhai", "fn least( { }\n");
    let text = "const RULE = #{ trigger: entering(\"quiet\") };\n\
                fn when(customer) { customer.n_orders >= common::least() }\nfn then(customer) { task(\"x\"); }\n";
    write(dir.path(), "two.rhai", text);
    let second = load(dir.path(), Some(&first));
    assert_eq!(second.diagnostics().len(), 3, "{}", shown(&second, dir.path()));
    assert_eq!(second.rule("one").unwrap().version, version);
    assert!(second.rule("one").unwrap().matches(&subject(Some(0.8))).unwrap());
    assert_eq!(*second.segments_of(&subject(Some(0.8))).0, BTreeMap::from([("quiet".to_owned(), true)]));
    assert!(second.rule("two").unwrap().matches(&subject(None)).unwrap(), "leans on the last good helpers");

    // Without a last good version the broken are left out, and so is what leans on them.
    let fresh = load(dir.path(), None);
    assert_eq!(fresh.rules().count(), 0, "{}", shown(&fresh, dir.path()));

    // A file that is gone is gone; a folder that cannot be read changes nothing.
    std::fs::remove_file(dir.path().join("two.rhai")).unwrap();
    assert!(load(dir.path(), Some(&second)).rule("two").is_none());
    let lost = load(&dir.path().join("nowhere"), Some(&second));
    assert!(lost.has_errors() && lost.rules().count() == 2 && lost.segment_names().eq(["quiet"]));
}

#[test]
fn a_changed_helper_is_a_new_version_of_every_rule() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    let version = |book: &RuleBook| book.rule("one").unwrap().version.clone();
    let before = version(&load(dir.path(), None));
    assert_eq!(before, version(&load(dir.path(), None)));
    write(dir.path(), "shared/common.rhai", "fn least() { 0.7 }\n");
    assert_ne!(before, version(&load(dir.path(), None)));
}

#[test]
fn a_segment_that_fails_leaves_membership_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "private fn of(x) { x * 2 > 1 }\nfn broken(customer) { of(customer.plan) }\nfn fine(customer) { true }\n";
    write(dir.path(), "segments.rhai", text);
    let book = load(dir.path(), None);
    assert_eq!(shown(&book, dir.path()), "");
    for member in [false, true] {
        let mut subject = subject(None);
        subject.segments = Arc::new(BTreeMap::from([("broken".to_owned(), member)]));
        let (segments, failures) = book.segments_of(&subject);
        assert_eq!((segments["broken"], segments["fine"]), (member, true));
        assert_eq!((failures.len(), failures[0].line), (1, Some(1)), "{failures:?}");
    }
}

#[test]
fn a_failing_test_shows_what_came_instead_and_what_the_rule_saw() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    let test = "customer = { churn_risk = 0.8 }\n[[test]]\nname = \"twenty\"\n\
                happens = [{ at = \"-70d\", event = \"Order Completed\", properties = { total = 9 } }]\n\
                expect = [{ at = \"0d\", email = \"second_order\", vars = { percent = 20 } }]\n";
    write(dir.path(), "one.test.toml", test);
    let reports = run_tests(&load(dir.path(), None), dir.path(), Some("one"), &business("Europe/Berlin"));
    let shown = reports[0].to_string().replace(&dir.path().display().to_string(), "rules");
    let expected = r#"FAILED    one: twenty
  rules/one.test.toml:3
  expected
    0d  email "second_order" {"percent":20}
  got
    0d (0m)  email "second_order" {"percent":5}
    0d (0m)  trait "won_back" {"value":null}
  when last asked (0d, 2026-03-02 09:00) it saw
    churn_risk = 0.8
    days_since("Order Completed") = 70.0
    sum("Order Completed", days(120)) = 9.0"#;
    assert_eq!(shown, expected);
}

#[test]
fn mistakes_in_a_test_file_are_named_with_their_line_and_rules_without_tests_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one.rhai", RULE);
    let check = |text: &str, expected: &[&str]| {
        write(dir.path(), "one.test.toml", text);
        let reports = run_tests(&load(dir.path(), None), dir.path(), None, &business("UTC"));
        let lines: Vec<String> = reports
            .iter()
            .filter_map(|report| match &report.outcome {
                Outcome::Broken { problem } => {
                    Some(problem.to_string().replace(&format!("{}/", dir.path().display()), "").replace("\n  help", ""))
                }
                _ => None,
            })
            .collect();
        assert_eq!(lines, expected);
    };
    check(
        "[[test]]\nname = \"x\"\nexpct = []\n",
        &["one.test.toml:3:1: error: unknown key `expct`: did you mean `expect`?"],
    );
    let three = "customer = { n_orders = 3, churn_risk = 7 }\n[[test]]\nname = \"x\"\nuntil = \"soon\"\nexpect = []\n";
    let help = "churn_risk = 0.7, lifetime_value = 900.0, tier = \"gold\", rfm = \"543\", segments = [\"at_risk\"]; \
                \"unknown\" is not enough data";
    check(
        three,
        &[
            "one.test.toml:1:14: error: `n_orders` follows from events and cannot be stated: let events happen instead: \
             happens = [{ at = \"-30d\", event = \"Order Completed\", … }]",
            &format!("one.test.toml:1:28: error: `churn_risk` cannot be 7: {help}"),
            "one.test.toml:4:9: error: `soon` is not a distance in time: write \"10d\", \"36h\" or \"90m\"; before the \
             start, \"-30d\"",
        ],
    );
    std::fs::remove_file(dir.path().join("one.test.toml")).unwrap();
    let reports = run_tests(&load(dir.path(), None), dir.path(), None, &business("UTC"));
    assert_eq!((reports.len(), &reports[0].outcome), (1, &Outcome::Untested));
    assert!(!reports[0].is_failure());
}
