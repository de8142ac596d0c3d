//! What the subject answers: the one place where a rule's questions are read, whether Rhai asks or a compiled condition.

use std::borrow::Cow;

use rhai::Dynamic;
use serde_json::Value;

use crate::domain::clock::{DAY, Timestamp};
use crate::domain::score::ScoreKind;
use crate::domain::subject::Subject;
use crate::script::to_dynamic;

/// A value as a script sees it, borrowed from the subject where that is possible.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rules) enum Answer<'a> {
    /// `()`
    Missing,
    Flag(bool),
    Whole(i64),
    /// Never infinite and never `NaN` when it comes from a subject.
    Number(f64),
    Text(Cow<'a, str>),
    /// A list or a map.
    Data(&'a Value),
}

impl<'a> Answer<'a> {
    fn text(text: &'a str) -> Self {
        Answer::Text(Cow::Borrowed(text))
    }

    fn number(value: f64) -> Self {
        if value.is_finite() { Answer::Number(value) } else { Answer::Missing }
    }

    fn whole(n: u64) -> Self {
        Answer::Whole(i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn or_missing<T>(value: Option<T>, known: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Answer::Missing, known)
    }

    /// Of JSON data. Numbers too large for a 64-bit integer become floats.
    pub(in crate::rules) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Answer::Missing,
            Value::Bool(flag) => Answer::Flag(*flag),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Answer::Whole(whole),
                None => Answer::Number(number.as_f64().unwrap_or(f64::MAX)),
            },
            Value::String(text) => Answer::text(text),
            data => Answer::Data(data),
        }
    }

    pub(in crate::rules) fn by_ref(&self) -> Answer<'_> {
        match self {
            Answer::Text(text) => Answer::text(text),
            other => other.clone(),
        }
    }

    /// For `why`.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Answer::Missing => Value::Null,
            Answer::Flag(flag) => (*flag).into(),
            Answer::Whole(whole) => (*whole).into(),
            Answer::Number(number) => (*number).into(),
            Answer::Text(text) => text.as_ref().into(),
            Answer::Data(data) => (*data).clone(),
        }
    }

    /// For a script.
    pub(super) fn into_dynamic(self) -> Dynamic {
        match self {
            Answer::Missing => Dynamic::UNIT,
            Answer::Flag(flag) => flag.into(),
            Answer::Whole(whole) => whole.into(),
            Answer::Number(number) => number.into(),
            Answer::Text(text) => text.into_owned().into(),
            Answer::Data(data) => to_dynamic(data),
        }
    }
}

/// A property that no trait can take the name of.
#[derive(Debug)]
pub(in crate::rules) struct Owned {
    pub(in crate::rules) name: &'static str,
    /// Whether it can be `()`: not enough data, no address, nothing ever seen.
    pub(in crate::rules) may_be_missing: bool,
    pub(in crate::rules) read: fn(&Subject) -> Answer<'_>,
}

const fn owned(name: &'static str, may_be_missing: bool, read: fn(&Subject) -> Answer<'_>) -> Owned {
    Owned { name, may_be_missing, read }
}

/// All of them, in the order of `rules/README.md`.
pub(in crate::rules) static OWNED: [Owned; 14] = [
    owned("id", false, |s| Answer::Text(s.customer.to_string().into())),
    owned("email", true, |s| Answer::or_missing(s.profile.email(), |email| Answer::Text(email.into()))),
    owned("tier", true, |s| Answer::or_missing(s.band(ScoreKind::Tier), Answer::text)),
    owned("churn_risk", true, |s| Answer::or_missing(s.score(ScoreKind::ChurnRisk), Answer::number)),
    owned("churn_band", true, |s| Answer::or_missing(s.band(ScoreKind::ChurnRisk), Answer::text)),
    owned("lifetime_value", true, |s| Answer::or_missing(s.score(ScoreKind::LifetimeValue), Answer::number)),
    owned("rfm", true, |s| Answer::or_missing(s.band(ScoreKind::Rfm), Answer::text)),
    owned("recency", true, |s| quintile(s, 0)),
    owned("frequency", true, |s| quintile(s, 1)),
    owned("monetary", true, |s| quintile(s, 2)),
    owned("n_orders", false, |s| Answer::whole(s.profile.orders.placed().count() as u64)),
    owned("net_revenue", false, |s| {
        let currency = s.business.currency;
        Answer::number(currency.major(s.profile.orders.net_minor(currency)))
    }),
    owned("days_since_first_seen", true, |s| ago(s, s.profile.first_seen, DAY)),
    owned("days_since_last_seen", true, |s| ago(s, s.profile.last_seen, DAY)),
];

/// A property of the customer: one that is owned, else a trait.
pub(in crate::rules) fn property<'a>(subject: &'a Subject, name: &str) -> Answer<'a> {
    match OWNED.iter().find(|owned| owned.name == name) {
        Some(owned) => (owned.read)(subject),
        None => trait_value(subject, name),
    }
}

pub(in crate::rules) fn trait_value<'a>(subject: &'a Subject, name: &str) -> Answer<'a> {
    Answer::or_missing(subject.profile.trait_value(name), Answer::of)
}

/// Time since `event` last happened, in units of `unit` microseconds.
pub(in crate::rules) fn since<'a>(subject: &Subject, event: &str, unit: i64) -> Answer<'a> {
    ago(subject, subject.profile.last_at(event), unit)
}

/// How often, in a window of business days that ends today (`days(1)` is today alone), or ever.
pub(in crate::rules) fn count<'a>(subject: &Subject, event: &str, window_days: Option<i32>) -> Answer<'a> {
    Answer::whole(subject.profile.count_since(event, first_day(subject, window_days), &subject.business))
}

/// The amounts, in major units of the business's currency.
pub(in crate::rules) fn sum<'a>(subject: &Subject, event: &str, window_days: Option<i32>) -> Answer<'a> {
    let minor = subject.profile.sum_since(event, first_day(subject, window_days), &subject.business);
    Answer::number(subject.business.currency.major(minor))
}

pub(in crate::rules) fn has_done<'a>(subject: &Subject, event: &str) -> Answer<'a> {
    Answer::Flag(subject.profile.last_at(event).is_some())
}

pub(in crate::rules) fn in_segment<'a>(subject: &Subject, segment: &str) -> Answer<'a> {
    Answer::Flag(subject.is_in(segment))
}

/// A property of the event that woke the rule.
pub(in crate::rules) fn event_property<'a>(subject: &'a Subject, name: &str) -> Answer<'a> {
    Answer::or_missing(subject.event.as_ref().and_then(|fact| fact.properties.get(name)), Answer::of)
}

fn first_day(subject: &Subject, window_days: Option<i32>) -> i32 {
    window_days.map_or(i32::MIN, |days| subject.now.day(&subject.business.zone) - days + 1)
}

/// An event stamped ahead of now is now.
#[expect(clippy::cast_precision_loss, reason = "spans of a customer's life are far below 2^53 microseconds")]
fn ago<'a>(subject: &Subject, at: Option<Timestamp>, unit: i64) -> Answer<'a> {
    let elapsed = |at: Timestamp| (subject.now.as_micros() - at.as_micros()).max(0) as f64 / unit as f64;
    Answer::or_missing(at, |at| Answer::number(elapsed(at)))
}

/// A digit of the RFM band, which reads `543`.
fn quintile<'a>(subject: &Subject, place: usize) -> Answer<'a> {
    let band = subject.band(ScoreKind::Rfm);
    let digit = band.and_then(|band| band.chars().nth(place)).and_then(|digit| digit.to_digit(10));
    Answer::or_missing(digit, |digit| Answer::Whole(digit.into()))
}
