//! `customer`: the subject as rules see it. Traits by name, under names that scores and derived values own, and questions
//! about the past.

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult};

use super::answer::{self, Answer};
use super::run::{Phase, Run, raise};
use super::span::Span;
use crate::domain::clock::{DAY, HOUR};

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
        self.answer(|| name.to_owned(), answer::property(&self.0.subject, name))
    }

    /// Notes the answer to a question.
    fn answer(&self, question: impl FnOnce() -> String, answer: Answer<'_>) -> Dynamic {
        self.0.see(question, || answer.to_json());
        answer.into_dynamic()
    }

    fn since(&self, method: &str, event: &str, unit: i64) -> Dynamic {
        self.answer(|| format!("{method}({event:?})"), answer::since(&self.0.subject, event, unit))
    }

    fn count(&self, event: &str, window: Option<Span>) -> Result<Dynamic, Box<EvalAltResult>> {
        let count = answer::count(&self.0.subject, event, days_of(window)?);
        Ok(self.answer(|| asked("count", event, window), count))
    }

    fn sum(&self, event: &str, window: Option<Span>) -> Result<Dynamic, Box<EvalAltResult>> {
        let sum = answer::sum(&self.0.subject, event, days_of(window)?);
        Ok(self.answer(|| asked("sum", event, window), sum))
    }

    fn has_done(&self, event: &str) -> Dynamic {
        self.answer(|| format!("has_done({event:?})"), answer::has_done(&self.0.subject, event))
    }

    fn in_segment(&self, segment: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        if self.0.phase() == Phase::Segment {
            return Err(raise("a segment cannot be made of segments: call the other function instead".to_owned()));
        }
        Ok(self.answer(|| format!("in_segment({segment:?})"), answer::in_segment(&self.0.subject, segment)))
    }
}

fn asked(method: &str, event: &str, window: Option<Span>) -> String {
    match window.and_then(Span::whole_days) {
        Some(days) => format!("{method}({event:?}, days({days}))"),
        None => format!("{method}({event:?})"),
    }
}

fn days_of(window: Option<Span>) -> Result<Option<i32>, Box<EvalAltResult>> {
    let whole = |window: Span| {
        let days = window.whole_days();
        days.ok_or_else(|| raise("a window is counted in whole days; use days(n)".to_owned()))
    };
    window.map(whole).transpose()
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Customer>("the customer");
    engine.register_indexer_get(|customer: &mut Customer, name: &str| customer.get(name));
    engine.register_fn("days_since", |c: &mut Customer, event: &str| c.since("days_since", event, DAY));
    engine.register_fn("hours_since", |c: &mut Customer, event: &str| c.since("hours_since", event, HOUR));
    engine.register_fn("count", |c: &mut Customer, event: &str| c.count(event, None));
    engine.register_fn("count", |c: &mut Customer, event: &str, window: Span| c.count(event, Some(window)));
    engine.register_fn("sum", |c: &mut Customer, event: &str| c.sum(event, None));
    engine.register_fn("sum", |c: &mut Customer, event: &str, window: Span| c.sum(event, Some(window)));
    engine.register_fn("has_done", |c: &mut Customer, event: &str| c.has_done(event));
    engine.register_fn("in_segment", |c: &mut Customer, segment: &str| c.in_segment(segment));
}
