//! `customer`: the subject as rules see it. Traits by name, under names that scores and derived values own, and questions
//! about the past.

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult};
use serde_json::{Value, json};

use super::run::{Phase, Run, raise};
use super::span::Span;
use crate::domain::clock::{DAY, Timestamp};
use crate::domain::score::ScoreKind;
use crate::domain::subject::Subject;
use crate::script::to_dynamic;

/// A property that no trait can take the name of.
pub(in crate::rules) struct Owned {
    pub(in crate::rules) name: &'static str,
    /// Whether it can be `()`: not enough data, no address, nothing ever seen.
    pub(in crate::rules) may_be_missing: bool,
    read: fn(&Subject) -> Value,
}

const fn owned(name: &'static str, may_be_missing: bool, read: fn(&Subject) -> Value) -> Owned {
    Owned { name, may_be_missing, read }
}

/// All of them, in the order of `rules/README.md`.
pub(in crate::rules) const OWNED: [Owned; 14] = [
    owned("id", false, |s| json!(s.customer.to_string())),
    owned("email", true, |s| json!(s.profile.email())),
    owned("tier", true, |s| json!(s.band(ScoreKind::Tier))),
    owned("churn_risk", true, |s| json!(s.score(ScoreKind::ChurnRisk))),
    owned("churn_band", true, |s| json!(s.band(ScoreKind::ChurnRisk))),
    owned("lifetime_value", true, |s| json!(s.score(ScoreKind::LifetimeValue))),
    owned("rfm", true, |s| json!(s.band(ScoreKind::Rfm))),
    owned("recency", true, |s| quintile(s, 0)),
    owned("frequency", true, |s| quintile(s, 1)),
    owned("monetary", true, |s| quintile(s, 2)),
    owned("n_orders", false, |s| json!(s.profile.orders.placed().count())),
    owned("net_revenue", false, |s| {
        let currency = s.business.currency;
        json!(currency.major(s.profile.orders.net_minor(currency)))
    }),
    owned("days_since_first_seen", true, |s| json!(s.profile.first_seen.map(|at| elapsed(s, at, DAY)))),
    owned("days_since_last_seen", true, |s| json!(s.profile.last_seen.map(|at| elapsed(s, at, DAY)))),
];

/// The questions: name, fewest and most arguments, whether the answer can be `()`.
pub(in crate::rules) const METHODS: [(&str, usize, usize, bool); 6] = [
    ("days_since", 1, 1, true),
    ("hours_since", 1, 1, true),
    ("count", 1, 2, false),
    ("sum", 1, 2, false),
    ("has_done", 1, 1, false),
    ("in_segment", 1, 1, false),
];

/// The customer in a script: a handle on the run, so it costs nothing to hand around.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Customer(pub(in crate::rules) Arc<Run>);

impl Customer {
    fn get(&self, name: &str) -> Dynamic {
        let subject = &self.0.subject;
        let value = match OWNED.iter().find(|owned| owned.name == name) {
            Some(owned) => (owned.read)(subject),
            None => subject.profile.trait_value(name).cloned().unwrap_or_default(),
        };
        self.0.see(|| name.to_owned(), &value);
        to_dynamic(&value)
    }

    /// Notes the answer to a question.
    fn answer(&self, question: impl FnOnce() -> String, value: &Value) -> Dynamic {
        self.0.see(question, value);
        to_dynamic(value)
    }

    fn since(&self, method: &str, event: &str, unit: i64) -> Dynamic {
        let subject = &self.0.subject;
        let value = json!(subject.profile.last_at(event).map(|at| elapsed(subject, at, unit)));
        self.answer(|| format!("{method}({event:?})"), &value)
    }

    fn count(&self, event: &str, window: Option<Span>) -> Result<Dynamic, Box<EvalAltResult>> {
        let subject = &self.0.subject;
        let value = json!(subject.profile.count_since(event, first_day(subject, window)?, &subject.business));
        Ok(self.answer(|| asked("count", event, window), &value))
    }

    fn sum(&self, event: &str, window: Option<Span>) -> Result<Dynamic, Box<EvalAltResult>> {
        let subject = &self.0.subject;
        let minor = subject.profile.sum_since(event, first_day(subject, window)?, &subject.business);
        let value = json!(subject.business.currency.major(minor));
        Ok(self.answer(|| asked("sum", event, window), &value))
    }

    fn has_done(&self, event: &str) -> Dynamic {
        let value = json!(self.0.subject.profile.last_at(event).is_some());
        self.answer(|| format!("has_done({event:?})"), &value)
    }

    fn in_segment(&self, segment: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        if self.0.phase() == Phase::Segment {
            return Err(raise("a segment cannot be made of segments: call the other function instead".to_owned()));
        }
        let value = json!(self.0.subject.segments.contains(segment));
        Ok(self.answer(|| format!("in_segment({segment:?})"), &value))
    }
}

fn asked(method: &str, event: &str, window: Option<Span>) -> String {
    match window.and_then(Span::whole_days) {
        Some(days) => format!("{method}({event:?}, days({days}))"),
        None => format!("{method}({event:?})"),
    }
}

/// The first business day of a window that ends today: `days(1)` is today alone.
fn first_day(subject: &Subject, window: Option<Span>) -> Result<i32, Box<EvalAltResult>> {
    let Some(window) = window else { return Ok(i32::MIN) };
    let days = window.whole_days().ok_or_else(|| raise("a window is counted in whole days; use days(n)".to_owned()))?;
    Ok(subject.now.day(&subject.business.zone) - days + 1)
}

/// Time since `at` in units of `unit` microseconds; an event stamped ahead of now is now.
#[expect(clippy::cast_precision_loss, reason = "spans of a customer's life are far below 2^53 microseconds")]
fn elapsed(subject: &Subject, at: Timestamp, unit: i64) -> f64 {
    (subject.now.as_micros() - at.as_micros()).max(0) as f64 / unit as f64
}

/// A digit of the RFM band, which reads `543`.
fn quintile(subject: &Subject, place: usize) -> Value {
    json!(subject.band(ScoreKind::Rfm).and_then(|band| band.chars().nth(place)).and_then(|digit| digit.to_digit(10)))
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Customer>("the customer");
    engine.register_indexer_get(|customer: &mut Customer, name: &str| customer.get(name));
    engine.register_fn("days_since", |c: &mut Customer, event: &str| c.since("days_since", event, DAY));
    engine.register_fn("hours_since", |c: &mut Customer, event: &str| c.since("hours_since", event, DAY / 24));
    engine.register_fn("count", |c: &mut Customer, event: &str| c.count(event, None));
    engine.register_fn("count", |c: &mut Customer, event: &str, window: Span| c.count(event, Some(window)));
    engine.register_fn("sum", |c: &mut Customer, event: &str| c.sum(event, None));
    engine.register_fn("sum", |c: &mut Customer, event: &str, window: Span| c.sum(event, Some(window)));
    engine.register_fn("has_done", |c: &mut Customer, event: &str| c.has_done(event));
    engine.register_fn("in_segment", |c: &mut Customer, segment: &str| c.in_segment(segment));
}
