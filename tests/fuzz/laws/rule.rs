//! Rule source: a rule, or diagnostics that each say something at a place that is there. Lines `//---` cut the text into a
//! rule, the segments, the shared helpers and the rule's tests; a text without them is the first three at once. What is
//! accepted is asked about a customer: whoever asks, and however often, hears the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use jiff::tz::TimeZone;
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::consent::MessageClass;
use rekindle::domain::diagnostic::{Diagnostic, Severity};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::id::CustomerId;
use rekindle::domain::message::{self, Kind};
use rekindle::domain::profile::Profile;
use rekindle::domain::score::{Score, ScoreKind};
use rekindle::domain::segment::Memberships;
use rekindle::domain::subject::Subject;
use rekindle::domain::template::TemplateCard;
use rekindle::rules::testing::{Outcome, run_tests};
use rekindle::rules::{Rule, RuleBook, Vocabulary};
use serde_json::json;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const FILES: [&str; 4] = ["fuzz.rhai", "segments.rhai", "shared/common.rhai", "fuzz.test.toml"];

pub(crate) fn holds(folder: &Path, text: &str) {
    fs::create_dir_all(folder.join("shared")).unwrap();
    let parts: Vec<&str> = text.split("//---\n").collect();
    for (n, file) in FILES.into_iter().enumerate() {
        let part = if parts.len() == 1 && n < 3 { text } else { parts.get(n).copied().unwrap_or_default() };
        fs::write(folder.join(file), part).unwrap();
    }
    let book = RuleBook::load(folder, &VOCABULARY, None);
    book.diagnostics().iter().for_each(check_diagnostic);
    let wrong = |file| book.diagnostics().iter().any(|d| d.severity == Severity::Error && d.file.ends_with(file));
    assert_eq!(book.rule("fuzz").is_some(), !wrong("/fuzz.rhai"), "{:?}", book.diagnostics());
    assert_eq!(book.has_errors(), ["/fuzz.rhai", "/segments.rhai", "/common.rhai"].into_iter().any(wrong));

    let stranger = Subject { profile: Arc::default(), scores: Arc::default(), ..SUBJECT.clone() };
    let subjects = [&*SUBJECT, &stranger].map(|subject| (subject, check_segments(&book, subject)));
    if let Some(rule) = book.rule("fuzz") {
        let again = RuleBook::load(folder, &VOCABULARY, Some(&book));
        assert_eq!(again.diagnostics(), book.diagnostics());
        assert_eq!(again.segment_versions(), book.segment_versions());
        assert_eq!(again.rule("fuzz").map(|rule| &rule.version), Some(&rule.version));
        for (subject, members) in &subjects {
            check_rule(&book, rule, subject, members);
        }
        fs::write(folder.join("fuzz.rhai"), "fn when(").unwrap();
        let broken = RuleBook::load(folder, &VOCABULARY, Some(&book));
        assert!(broken.has_errors() && broken.rule("fuzz").is_some(), "the last good version stays in force");
    }
    for report in run_tests(&book, folder, None, &SUBJECT.business) {
        match &report.outcome {
            Outcome::Broken { problem } => check_message(problem),
            Outcome::Failed { .. } | Outcome::Passed | Outcome::Untested => {}
        }
        assert!(!report.to_string().is_empty());
    }
}

fn check_diagnostic(problem: &Diagnostic) {
    check_message(problem);
    // A carriage return alone ends a line as well.
    let text = fs::read_to_string(&problem.file).unwrap().replace("\r\n", "\n").replace('\r', "\n");
    if let (Some(line), Some(column)) = (problem.line, problem.column) {
        let found = text.split('\n').nth(line as usize - 1).unwrap_or_else(|| panic!("no such line: {problem}"));
        assert!((1..=found.chars().count() + 1).contains(&(column as usize)), "no such column: {problem}\n{text}");
    }
}

fn check_message(problem: &Diagnostic) {
    assert!(!problem.message.is_empty() && problem.help.as_ref().is_none_or(|help| !help.is_empty()));
}

/// Asked all at once and each alone, a customer is in the same segments, and whoever is not hears why.
fn check_segments(book: &RuleBook, subject: &Subject) -> Arc<Memberships> {
    let (members, failures) = book.segments_of(subject);
    assert_eq!(book.segments_of(subject), (members.clone(), failures.clone()));
    for name in book.segment_names() {
        let why = book.why_not_in(name, subject);
        if failures.is_empty() {
            assert_eq!(why.is_none(), members[name], "{name}: {why:?}");
        }
        book.segment_condition(name);
        book.segment_description(name);
    }
    members
}

fn check_rule(book: &RuleBook, rule: &Rule, subject: &Subject, members: &Arc<Memberships>) {
    let subject = Subject { segments: Arc::clone(members), ..subject.clone() };
    rule.addresses(&subject);
    rule.condition();
    let (said, evaluation) = (rule.matches(&subject), rule.evaluate(&subject));
    assert_eq!(rule.evaluate(&subject), evaluation, "deciding is pure");
    assert!(evaluation.matched || evaluation.actions.is_empty());
    assert!(!(evaluation.matched && evaluation.error.is_some()));
    // `matches` asks the compiled condition where there is one, `evaluate` asks Rhai.
    assert!(!rule.surely_not(&subject) || said == Ok(false));
    match said {
        Ok(true) => assert!(evaluation.matched || evaluation.error.is_some()),
        Ok(false) => assert_eq!((evaluation.matched, &evaluation.error), (false, &None)),
        Err(_) => assert!(evaluation.error.is_some()),
    }
    let why = book.why_no(rule, &subject);
    if let Ok(yes) = said {
        assert_eq!(why.is_none(), yes, "{why:?}");
    }
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let template = |name: &str, needs: &[&str]| {
        let needs = needs.iter().map(ToString::to_string).collect();
        let class = MessageClass::Marketing;
        let card = TemplateCard { class, topic: None, needs, optional: BTreeSet::new(), version: "v".to_owned() };
        (name.to_owned(), card)
    };
    let templates = [template("win_back", &["percent", "code"]), template("cart_rescue", &[])];
    Vocabulary { templates: templates.into(), webhooks: BTreeSet::from(["crm".to_owned()]), events: BTreeSet::new() }
});

/// A customer of whom something is known of every sort.
static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let business =
        Arc::new(Business { zone: TimeZone::get("Europe/Berlin").unwrap(), currency: "EUR".parse().unwrap() });
    let happened = [
        json!({ "userId": "u", "event": "Order Completed", "properties": { "order_id": "1", "total": 60.5, "category": "tea" } }),
        json!({ "userId": "u", "event": "Product Added", "properties": { "sku": "a", "tags": ["x", { "y": null }] } }),
        json!({ "userId": "u", "event": "Order Refunded", "properties": { "order_id": "1", "total": 10 },
                "context": { "traits": { "email": "ana@example.com", "first_name": "Ana", "n": 7, "age": null } } }),
    ];
    let events: Vec<Event> = (0..).zip(happened).map(|(n, item)| event(n, &item)).collect();
    let score = |value, band: &str| Score {
        value: Some(value),
        band: Some(band.to_owned()),
        interval: None,
        n: None,
        reasons: Vec::new(),
        model: "fuzz".to_owned(),
    };
    let scores = [(ScoreKind::ChurnRisk, score(0.75, "high")), (ScoreKind::Tier, score(2.0, "gold"))];
    Subject {
        customer: CustomerId::derive(NOW, &[b"fuzz"]),
        profile: Arc::new(Profile::fold(&events, &business)),
        scores: Arc::new(scores.into()),
        segments: Arc::default(),
        event: events.into_iter().next_back().map(|event| Arc::new(event.fact)),
        now: NOW,
        business,
    }
});

fn event(n: i64, item: &serde_json::Value) -> Event {
    let read = message::read(Kind::Track, item.as_object().unwrap().clone()).unwrap();
    let at = Timestamp::from_micros(NOW.as_micros() - (n + 1) * 40 * 86_400_000_000);
    let fact = Fact {
        source: "fuzz".to_owned(),
        message_id: n.to_string(),
        name: read.name,
        occurred_at: at,
        received_at: at,
        known_at: at,
        imported: false,
        identities: read.identities,
        traits: read.traits,
        properties: read.properties,
        context: read.context,
    };
    Event { id: Event::id_of(&fact), customer: None, fact }
}
