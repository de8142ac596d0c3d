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
    let mut ends: Option<(Timestamp, Timestamp)> = None;
    for facts in data.customers.iter() {
        for order in facts.orders_known_by(data.as_of) {
            let (first, newest) = ends.unwrap_or((order.at, order.at));
            ends = Some((first.min(order.at), newest.max(order.at)));
        }
    }
    let Some((first, newest)) = ends else { return Vec::new() };
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

/// What is missing when there is no complete window.
pub(super) fn none_yet(horizon_days: u32) -> String {
    format!(
        "the data do not yet hold {horizon_days} days in which to watch customers, after the {WARM_UP_DAYS} days of a start"
    )
}

fn end_of_day(at: Timestamp, business: &Business) -> Timestamp {
    let day = at.in_zone(&business.zone).start_of_day().and_then(|start| start.checked_add(1.day()));
    day.map_or(at, |next| Timestamp::from_micros(Timestamp::from(next.timestamp()).as_micros() - 1))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::id::CustomerId;
    use crate::models::{CustomerFacts, OrderFact};

    /// Windows of 30 days, as dates, when one customer orders at noon on each of `days` (2026-01-01 being day 0).
    fn check(days: &[i64], as_of: &str, expected: &[(&str, &str)]) {
        let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let order = |day: &i64| {
            let at = noon.plus(SignedDuration::from_hours(24 * day));
            OrderFact { at, known_at: at, gross_minor: 100, refunds: Vec::new() }
        };
        let customer = CustomerId::derive(Timestamp::EPOCH, &[]);
        let customers = [CustomerFacts { customer, orders: days.iter().map(order).collect(), credits: Vec::new() }];
        let data = Dataset { customers: customers[..].into(), as_of: as_of.parse().unwrap(), business: &business };
        let windows = complete(&data, 30);
        let shown = |at: Timestamp| at.to_string()[..10].to_owned();
        let found: Vec<_> = windows.iter().map(|window| (shown(window.cut_off), shown(window.until))).collect();
        let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn windows_are_complete_do_not_overlap_and_begin_after_the_warm_up() {
        let two = [("2026-04-11", "2026-05-11"), ("2026-05-11", "2026-06-10")];
        check(&[0, 160], "2026-06-10T12:00:00Z", &two);
        // Before day 90 customers look newer than they are.
        check(&[40, 160], "2026-06-10T12:00:00Z", &two[1..]);
        check(&[0, 119], "2026-04-30T12:00:00Z", &[]);
        check(&[], "2026-04-30T12:00:00Z", &[]);
    }

    #[test]
    fn what_nobody_observed_is_not_a_window_without_orders() {
        // The shop's data end on 10 June; a year later that is still all that was seen.
        let two = [("2026-04-11", "2026-05-11"), ("2026-05-11", "2026-06-10")];
        check(&[0, 160], "2027-06-10T12:00:00Z", &two);
    }

    #[test]
    fn the_distant_past_is_left_alone() {
        let all: Vec<i64> = (0..1_500).collect();
        let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
        let orders = all.iter().map(|day| Timestamp::from_micros(day * crate::domain::clock::DAY));
        let orders = orders.map(|at| OrderFact { at, known_at: at, gross_minor: 1, refunds: Vec::new() }).collect();
        let customer = CustomerId::derive(Timestamp::EPOCH, &[]);
        let customers = [CustomerFacts { customer, orders, credits: Vec::new() }];
        let data = Dataset { customers: customers[..].into(), as_of: Timestamp::MAX, business: &business };
        assert_eq!(complete(&data, 30).len(), MAX_WINDOWS);
    }
}
