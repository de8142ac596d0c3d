//! Which instants of the past can be learnt from. A *cut-off* is an instant at which a customer is looked at with what was
//! known then; its *window* is the time after it in which one sees what became of that customer. Only complete windows count:
//! whoever is asked too early has, of course, not bought yet.

use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

use super::facts::Dataset;
use crate::domain::clock::{Business, Timestamp};

/// How many windows at most are learnt from, newest ones first: behaviour of many years ago is another shop's.
pub const MAX_WINDOWS: usize = 12;

/// How much history a cut-off must have behind it, in days: just after the beginning of the data every customer looks new.
pub const WARM_UP_DAYS: i64 = 90;

/// A cut-off and the time after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The cut-off: features are what was known by then.
    pub cut_off: Timestamp,
    /// The end, inclusive: what happened after the cut-off until here is the outcome.
    pub until: Timestamp,
}

impl Window {
    /// Whether something that happened `at` is part of the outcome.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.cut_off < at && at <= self.until
    }
}

/// The complete windows of `horizon_days` in the data, oldest first. They follow each other without overlap, so that no
/// purchase is counted twice and intervals are as wide as they should be. The newest ends when observation ended: at the
/// instant of the fit, or with the last day on which anybody ordered, when the data are older than that.
pub fn complete(data: &Dataset<'_>, horizon_days: u32) -> Vec<Window> {
    let known = || data.customers.iter().flat_map(|facts| facts.orders_known_by(data.as_of).map(|order| order.at));
    let (Some(first), Some(newest)) = (known().min(), known().max()) else { return Vec::new() };
    let end = end_of_day(newest, data.business).min(data.as_of);
    let earliest = first.plus(SignedDuration::from_hours(24 * WARM_UP_DAYS));
    let horizon = SignedDuration::from_hours(24 * i64::from(horizon_days.max(1)));
    let before = |until: Timestamp| {
        let window = Window { cut_off: until.minus(horizon), until };
        (window.cut_off >= earliest).then_some(window)
    };
    let mut windows: Vec<Window> =
        std::iter::successors(before(end), |window| before(window.cut_off)).take(MAX_WINDOWS).collect();
    windows.reverse();
    windows
}

fn end_of_day(at: Timestamp, business: &Business) -> Timestamp {
    let day = at.in_zone(&business.zone).start_of_day().and_then(|start| start.checked_add(1.day()));
    day.map_or(at, |next| Timestamp::from_micros(Timestamp::from(next.timestamp()).as_micros() - 1))
}
