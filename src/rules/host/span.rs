//! Spans of time, with one spelling: `days(45)`, `hours(24)`, `minutes(30)`.

use jiff::SignedDuration;
use rhai::Engine;

/// The functions that make one, with how many hours or minutes they stand for in seconds.
pub(in crate::rules) const UNITS: [(&str, i64); 3] = [("days", 86_400), ("hours", 3_600), ("minutes", 60)];

/// A hundred years: anything longer is a slip.
const MOST_SECONDS: i64 = 36_525 * 86_400;

/// A span of time in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Span {
    seconds: i64,
}

impl Span {
    /// `n` of the unit called `unit`; an error where that is no usable span.
    pub(in crate::rules) fn new(unit: &str, n: i64) -> Result<Self, String> {
        let seconds = UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |(_, seconds)| *seconds);
        match n.checked_mul(seconds) {
            Some(total) if (1..=MOST_SECONDS).contains(&total) => Ok(Span { seconds: total }),
            _ => Err(format!("`{unit}({n})` is not a usable span; use a whole number from 1 to a hundred years")),
        }
    }

    /// For cards.
    pub(in crate::rules) fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }

    /// Whole days, for windows, which are counted in business days.
    pub(in crate::rules) fn whole_days(self) -> Option<i32> {
        (self.seconds % 86_400 == 0).then(|| i32::try_from(self.seconds / 86_400).ok()).flatten()
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Span>("a span of time");
    for (unit, _) in UNITS {
        engine.register_fn(unit, move |n: i64| Span::new(unit, n).map_err(super::run::raise));
    }
}
