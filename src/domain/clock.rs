//! Time as a value: instants, clocks that are passed in, and the business calendar.
//!
//! An instant is a count of microseconds since 1970-01-01T00:00:00Z; that is what the stores keep. jiff is used wherever
//! a calendar or a zone is involved. Nothing in this crate reads the wall clock except [`SystemClock`].

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};
use serde::{Deserialize, Serialize};

/// Microseconds in one hour.
pub const HOUR: i64 = 3_600 * 1_000_000;
/// Microseconds in one day.
pub const DAY: i64 = 24 * HOUR;

/// An instant, in microseconds since the Unix epoch, UTC. Serialised as that integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-30T22:00:00Z, the last instant that every zone can still show.
    pub const MAX: Timestamp = Timestamp(253_402_207_200 * 1_000_000);
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The same instant for jiff; instants outside jiff's range are clamped to it.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The calendar and wall-clock reading of this instant in `zone`.
    pub fn in_zone(self, zone: &TimeZone) -> Zoned {
        self.to_jiff().to_zoned(zone.clone())
    }

    /// The calendar day of this instant in `zone`, as days since 1970-01-01.
    pub fn day(self, zone: &TimeZone) -> i32 {
        let seconds = i64::from(zone.to_offset(self.to_jiff()).seconds());
        let local = self.0 + seconds * 1_000_000;
        i32::try_from(local.div_euclid(DAY)).unwrap_or(i32::MAX)
    }

    /// This instant plus `span`, stopping at the ends of the range instead of wrapping.
    #[must_use]
    pub fn plus(self, span: SignedDuration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// This instant minus `span`, stopping at the ends of the range instead of wrapping.
    #[must_use]
    pub fn minus(self, span: SignedDuration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this instant is; negative when it is before.
    pub fn since(self, earlier: Timestamp) -> SignedDuration {
        SignedDuration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Timestamp(value.as_microsecond())
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    /// Reads RFC 3339 (`2026-03-01T09:00:00Z`, any offset).
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(Into::into)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where "now" comes from. Read once per tick and handed down as a value.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock enters")]
        jiff::Timestamp::now().into()
    }
}

/// A clock that stands still until it is told to move, or is released to run at the machine's pace from where it stands.
/// Tests and the demo's thirty simulated days run on it.
#[derive(Debug, Default)]
pub struct ManualClock {
    /// The instant while it stands; its distance to the machine's clock once released. Microseconds.
    micros: AtomicI64,
    released: AtomicBool,
}

impl ManualClock {
    /// A clock standing at `start`.
    pub fn at(start: Timestamp) -> Self {
        ManualClock { micros: AtomicI64::new(start.as_micros()), released: AtomicBool::new(false) }
    }

    /// Moves the clock to `instant`, forwards or backwards.
    pub fn set(&self, instant: Timestamp) {
        self.released.store(false, Ordering::SeqCst);
        self.micros.store(instant.as_micros(), Ordering::SeqCst);
    }

    /// From here on it runs.
    pub fn release(&self) {
        let ahead = self.now().as_micros() - SystemClock.now().as_micros();
        self.micros.store(ahead, Ordering::SeqCst);
        self.released.store(true, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let base = if self.released.load(Ordering::SeqCst) { SystemClock.now().as_micros() } else { 0 };
        Timestamp(base + self.micros.load(Ordering::SeqCst))
    }
}

/// How the company counts: the zone whose days are "days", and the currency that money is shown in.
#[derive(Clone, Debug)]
pub struct Business {
    /// Days in history and `daily` schedules are days of this zone.
    pub zone: TimeZone,
    /// Amounts in other currencies are kept apart, never added.
    pub currency: super::money::Currency,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_local_midnight_also_across_dst() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let check = |instant: &str, day: &str| {
            let expected: jiff::civil::Date = day.parse().unwrap();
            let days = expected.since(jiff::civil::date(1970, 1, 1)).unwrap().get_days();
            assert_eq!(instant.parse::<Timestamp>().unwrap().day(&berlin), days, "{instant}");
        };
        check("2026-03-28T22:59:59Z", "2026-03-28");
        check("2026-03-28T23:00:00Z", "2026-03-29");
        check("2026-03-29T22:00:00Z", "2026-03-30");
        check("1969-12-31T22:59:59Z", "1969-12-31");
    }
}
