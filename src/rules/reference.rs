//! What there is to be said in the rule language, in words: the tables that `check` and the engine are built from, each entry
//! with what it means. An entry without words is reported, so none is added unexplained.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::card;
use super::host::{answer, customer, event, span, verbs};

pub use crate::script::{ITEMS, OPERATIONS, STRING_BYTES};

/// One word of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As it is written: `customer.count(event, window)`.
    pub signatures: Vec<String>,
    /// Whether it can be `()`.
    pub may_be_missing: bool,
    /// What it means, in a sentence or two.
    pub means: String,
}

/// The language, by chapters.
#[derive(Clone, Debug)]
pub struct Language {
    /// Keys of `RULE`.
    pub card: Vec<Word>,
    /// What `trigger` can be.
    pub triggers: Vec<Word>,
    /// Properties of the customer that no trait can take the name of.
    pub properties: Vec<Word>,
    /// Questions to the customer.
    pub questions: Vec<Word>,
    /// What can be read of the event.
    pub event: Vec<Word>,
    /// Spans of time.
    pub spans: Vec<Word>,
    /// The verbs of `then`.
    pub verbs: Vec<Word>,
    /// The functions that come with the language itself.
    pub library: Vec<Word>,
    /// What has no words yet.
    pub missing: Vec<String>,
}

/// Name, how its arguments are called, what it means.
type Entry = (&'static str, &'static [&'static str], &'static str);

const CARD: &[Entry] = &[
    ("trigger", &[], "When the rule is asked, and about whom. Needed."),
    ("audience", &[], "The name of a segment: only its members are asked about."),
    (
        "cooldown",
        &[],
        "A span: after it has acted for a customer, this rule leaves that customer alone for so long. Needed with `daily` and `cron`.",
    ),
    (
        "holdout",
        &[],
        "From 0 to 0.5: the share of customers who get nothing, to measure the effect by. Always the same people. Default 0.",
    ),
    ("max_lateness", &[], "A span: what could not leave within it is dropped. Default 24 hours."),
];

const TRIGGERS: &[Entry] = &[
    ("daily", &[], "Everybody, every day at this time in the business's zone."),
    (
        "cron",
        &[],
        "Everybody, at the times that the five fields of crontab(5) say: minute, hour, day of month, month, day of week.",
    ),
    ("on", &[], "The customer of each such event, when it arrives. Imported history wakes nobody."),
    ("entering", &[], "A customer who comes to belong to this segment."),
    ("leaving", &[], "A customer who no longer belongs to this segment."),
];

const PROPERTIES: &[Entry] = &[
    ("id", &[], "Our name for the customer: `cus_` and 26 letters and digits."),
    (
        "email",
        &[],
        "The address that mail goes to: the trait where it is a usable address, else an address seen as a handle.",
    ),
    (
        "tier",
        &[],
        "The value tier: `\"gold\"`, `\"silver\"`, `\"bronze\"`, or as the company calls them; `\"none\"` without an order.",
    ),
    ("churn_risk", &[], "How likely no order follows within the horizon, 0 to 1."),
    ("churn_band", &[], "`\"low\"`, `\"medium\"` or `\"high\"`."),
    ("lifetime_value", &[], "Net revenue to be expected within the horizon, in the business's currency."),
    ("rfm", &[], "Recency, frequency and monetary quintile as three digits: `\"543\"`; 5 is best."),
    ("recency", &[], "The first digit of `rfm`, as a number."),
    ("frequency", &[], "The second digit of `rfm`, as a number."),
    ("monetary", &[], "The third digit of `rfm`, as a number."),
    ("n_orders", &[], "How many orders were placed, refunded ones included."),
    ("net_revenue", &[], "What was paid less what went back, in the business's currency."),
    ("days_since_first_seen", &[], "Days, with fractions, since the first event."),
    ("days_since_last_seen", &[], "Days, with fractions, since the last event."),
];

const QUESTIONS: &[Entry] = &[
    ("days_since", &["event"], "Days, with fractions, since the last event of this name."),
    ("hours_since", &["event"], "Hours, with fractions, since the last event of this name."),
    (
        "count",
        &["event", "window"],
        "How often, ever or within a window of whole days that ends today: `days(1)` is today.",
    ),
    (
        "sum",
        &["event", "window"],
        "The amounts, ever or within a window, in the business's currency; of `Order Completed` less what was refunded.",
    ),
    ("has_done", &["event"], "Whether ever."),
    ("in_segment", &["segment"], "Whether a member. Not within `segments.rhai`: there, call the other function."),
];

const EVENT: &[Entry] = &[
    ("name", &[], "What happened."),
    ("occurred_at", &[], "When, as `2026-03-01T09:00:00Z`."),
    ("properties", &[], "The event's own: `event.properties.rating`; one that is not there is `()`."),
];

const SPANS: &[Entry] =
    &[("days", &["n"], "So many days."), ("hours", &["n"], "So many hours."), ("minutes", &["n"], "So many minutes.")];

const VERBS: &[Entry] = &[
    (
        "email",
        &["template", "values"],
        "Send the customer this template; it sees `values`. Whether it may go is for consent, quiet hours and cap to say.",
    ),
    (
        "webhook",
        &["endpoint", "values"],
        "Tell another system; endpoints stand in `config.toml`, and scripts never state addresses.",
    ),
    (
        "task",
        &["title", "details"],
        "Ask a colleague. `details` may have `note`, `priority`, `assignee` and `due_days`.",
    ),
    (
        "set_trait",
        &["name", "value"],
        "Remember something about the customer; an event like any other, so it wakes rules and is kept.",
    ),
];

/// The language as this version speaks it.
pub fn language() -> Language {
    let mut missing = Vec::new();
    let engine = super::host::engine(None);
    let registered = registered(&engine);
    let mut explain = |chapter: &str, entries: &[Entry], name: &str, prefix: &str, arities: &[usize]| {
        let entry = entries.iter().find(|(known, ..)| *known == name);
        let enough = |entry: &&Entry| arities.iter().all(|n| *n <= entry.1.len());
        let (arguments, means) = entry.filter(enough).map_or_else(
            || {
                missing.push(format!("{chapter} `{name}` (src/rules/reference.rs)"));
                (&[][..], String::new())
            },
            |(_, arguments, means)| (*arguments, (*means).to_owned()),
        );
        let call = |n: &usize| format!("{prefix}{name}({})", arguments.get(..*n).unwrap_or_default().join(", "));
        let signatures =
            if arities.is_empty() { vec![format!("{prefix}{name}")] } else { arities.iter().map(call).collect() };
        Word { signatures, may_be_missing: false, means }
    };
    let arities = |name: &str, fewest: usize, most: usize, receiver: usize| {
        let known = registered.get(name).cloned().unwrap_or_default();
        let own: Vec<usize> = known.into_iter().filter_map(|n| n.checked_sub(receiver)).collect();
        if own.is_empty() { (fewest..=most).collect() } else { own }
    };
    let card = card::KEYS.iter().map(|key| explain("card key", CARD, key, "", &[])).collect();
    let triggers = card::TRIGGERS.iter().map(|(name, example)| Word {
        signatures: vec![format!("{name}({example})")],
        ..explain("trigger", TRIGGERS, name, "", &[])
    });
    let triggers = triggers.collect();
    let properties = answer::OWNED.iter().map(|owned| {
        let word = explain("property", PROPERTIES, owned.name, "customer.", &[]);
        Word { may_be_missing: owned.may_be_missing, ..word }
    });
    let properties = properties.collect();
    let questions = customer::METHODS.iter().map(|(name, fewest, most, may_be_missing)| {
        let word = explain("question", QUESTIONS, name, "customer.", &arities(name, *fewest, *most, 1));
        Word { may_be_missing: *may_be_missing, ..word }
    });
    let questions = questions.collect();
    let fields = event::FIELDS.iter().map(|field| explain("field", EVENT, field, "event.", &[])).collect();
    let spans = span::UNITS.iter().map(|(unit, _)| explain("span", SPANS, unit, "", &[1])).collect();
    let verbs: Vec<Word> = verbs::VERBS
        .iter()
        .map(|(verb, fewest, most)| explain("verb", VERBS, verb, "", &(*fewest..=*most).collect::<Vec<_>>()))
        .collect();
    let listed: BTreeSet<&str> = (customer::METHODS.iter().map(|m| m.0))
        .chain(span::UNITS.iter().map(|u| u.0))
        .chain(verbs::VERBS.iter().map(|v| v.0))
        .collect();
    // What the engine has and no table lists could be called in spite of `check`.
    missing.extend(registered.keys().filter(|name| !listed.contains(name.as_str())).map(|n| format!("function `{n}`")));
    Language { card, triggers, properties, questions, event: fields, spans, verbs, library: library(), missing }
}

/// Our own functions with how many arguments each takes, as the engine has them.
fn registered(engine: &rhai::Engine) -> BTreeMap<String, BTreeSet<usize>> {
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for function in functions(engine, false) {
        if let (Some(name), Some(n)) = (function["name"].as_str(), function["numParams"].as_u64())
            && is_word(name)
        {
            found.entry(name.to_owned()).or_default().insert(usize::try_from(n).unwrap_or_default());
        }
    }
    found
}

/// Rhai's own functions, with the first sentence of Rhai's documentation.
fn library() -> Vec<Word> {
    let mut words: BTreeMap<String, Word> = BTreeMap::new();
    for function in functions(&crate::script::sandbox(), true) {
        let Some(name) = function["name"].as_str().filter(|name| is_word(name)) else { continue };
        let parameters = function["params"].as_array().map_or(&[][..], Vec::as_slice);
        let parameters: Vec<&str> = parameters.iter().filter_map(|p| p["name"].as_str()).collect();
        let signature = format!("{name}({})", parameters.join(", "));
        let comments = function["docComments"].as_array().map_or(&[][..], Vec::as_slice);
        let comments = comments.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
        let word = words.entry(name.to_owned()).or_insert_with(|| Word {
            signatures: Vec::new(),
            may_be_missing: false,
            means: String::new(),
        });
        if !word.signatures.contains(&signature) {
            word.signatures.push(signature);
        }
        // Of several forms the shortest sentence: Rhai lists them in an order that differs from build to build.
        let means = first_sentence(&comments);
        if !means.is_empty() && (word.means.is_empty() || (means.len(), &means) < (word.means.len(), &word.means)) {
            word.means = means;
        }
    }
    for word in words.values_mut() {
        word.signatures.sort();
    }
    words.into_values().collect()
}

fn functions(engine: &rhai::Engine, with_library: bool) -> Vec<Value> {
    let json = engine.gen_fn_metadata_to_json(with_library).unwrap_or_default();
    let metadata: Value = serde_json::from_str(&json).unwrap_or_default();
    metadata["functions"].as_array().cloned().unwrap_or_default()
}

/// Not an operator and not a property of Rhai's own types.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('$')
}

fn first_sentence(comments: &str) -> String {
    let lines = comments.lines().map(|line| line.trim_start_matches('/').trim()).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    match text.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => text,
    }
}
