//! Schedules: crontab(5) in a time zone, with a stated answer to every hour that does not exist or exists twice. The only user
//! of the crates `cron` and `chrono`: there the calendar of the fields is counted on a clock without a zone, here each
//! reading of that clock becomes an instant.
//!
//! * A reading that a gap leaves out (02:30 on the morning that clocks go forward) fires at the first instant after the gap.
//!   A whole local day that never was (30 December 2011 in Samoa) is left out: that day had no morning.
//! * A reading that comes twice fires the first time only, unless the hour field begins with `*`: who counts hours wants each.
//! * Ticks are instants, so two readings that fall on one instant are one tick, and ticks strictly increase.
#![warn(missing_docs)]

mod crontab;

use chrono::DateTime;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::clock::{DAY, Timestamp};

const MICROS: i64 = 1_000_000;
const SECONDS_OF_DAY: i64 = 86_400;

/// How many ticks [`CatchUp::All`] hands out at once; the next call, with the last of them, gives the next ones.
pub const MAX_CAUGHT_UP: usize = 1_000;

/// How late a tick may be seen and still count as on time: a busy loop is not an outage.
pub const ON_TIME: SignedDuration = SignedDuration::from_mins(10);

/// What becomes of ticks that fell due while nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Nothing: a tick more than [`ON_TIME`] ago is gone.
    None,
    /// The newest one stands for all that were missed.
    #[default]
    Last,
    /// Each of them, oldest first, at most [`MAX_CAUGHT_UP`] at once.
    All,
}

/// When something is to happen, again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    source: String,
    parts: Vec<cron::Schedule>,
    zone: TimeZone,
    every_hour: bool,
}

impl Schedule {
    /// Reads `cron` (five fields of crontab(5), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`) for the clocks of
    /// `zone`. The error names the field and says what it may hold; a date that never comes (30 February) is one too.
    pub fn parse(cron: &str, zone: TimeZone) -> Result<Schedule, String> {
        let crontab::Crontab { parts, every_hour } = crontab::parse(cron)?;
        let schedule = Schedule { source: cron.trim().to_owned(), parts, zone, every_hour };
        match schedule.next_reading(0) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{}` names a day of month that its months do not have", schedule.source)),
        }
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The first tick after `after`, never `after` itself. Ticks lie between the years 1970 and 2100, where the calendar of
    /// `cron` begins and ends; `None` beyond.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // The calendar of `cron` begins in 1970; two days before that it is 1969 in every zone.
        let after = after.max(Timestamp::from_micros(-2 * DAY));
        let mut now = after.to_jiff();
        let mut offset = self.offset(now);
        // Exclusive. Instants are finer than seconds, readings are not: rounding down is exact for "later than".
        let mut reading = after.as_micros().div_euclid(MICROS) + offset;
        loop {
            reading = self.next_reading(reading)?;
            let change = self.zone.following(now).find(|t| i64::from(t.offset().seconds()) != offset);
            match change {
                // Clocks change before or at this reading: go there, and on with the clocks from then.
                Some(change) if reading - offset >= change.timestamp().as_second() => {
                    let (at, before) = (change.timestamp().as_second(), offset);
                    (now, offset) = (change.timestamp(), i64::from(change.offset().seconds()));
                    while reading < at + offset {
                        if !is_skipped_day(reading, at + before, at + offset) {
                            return Some(instant(at));
                        }
                        reading = self.next_reading(reading)?;
                    }
                    reading = at + offset - 1;
                }
                _ if self.every_hour || !self.is_second_pass(reading, offset) => {
                    return Some(instant(reading - offset));
                }
                _ => {}
            }
        }
    }

    /// The next `n` ticks after `after`.
    pub fn upcoming(&self, after: Timestamp, n: usize) -> Vec<Timestamp> {
        self.ticks(after).take(n).collect()
    }

    /// All ticks after `after` up to and including `until`: what was missed when the last look was at `after`.
    pub fn missed_between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.ticks(after).take_while(move |tick| *tick <= until)
    }

    /// The newest tick that is not after `now`; `None` when there was none in the nine years before (no schedule
    /// that ticks at all pauses for longer than eight).
    pub fn latest_at_or_before(&self, now: Timestamp) -> Option<Timestamp> {
        // Widening windows: a schedule by the minute is found in the first, a yearly one is cheap to count through.
        [1, 24, 8 * 24, 32 * 24, 367 * 24, 9 * 366 * 24].into_iter().find_map(|hours| {
            let from = now.minus(SignedDuration::from_hours(hours));
            self.missed_between(from, now).last()
        })
    }

    /// What is to be done at `now` when the last tick done was `last`: ticks in `(last, now]` as `policy` wants them, oldest
    /// first.
    pub fn due(&self, last: Timestamp, now: Timestamp, policy: CatchUp) -> Vec<Timestamp> {
        match policy {
            CatchUp::All => self.missed_between(last, now).take(MAX_CAUGHT_UP).collect(),
            CatchUp::Last => self.latest_at_or_before(now).filter(|tick| *tick > last).into_iter().collect(),
            CatchUp::None => {
                let newest = self.missed_between(last.max(now.minus(ON_TIME)), now).last();
                newest.into_iter().collect()
            }
        }
    }

    fn ticks(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |tick| self.next_after(*tick))
    }

    /// The first reading of a clock without a zone after `reading`, both in seconds since 1970-01-01T00:00:00 on that clock.
    fn next_reading(&self, reading: i64) -> Option<i64> {
        let after = DateTime::from_timestamp(reading, 0)?;
        self.parts.iter().filter_map(|part| part.after(&after).next()).map(|next| next.timestamp()).min()
    }

    fn offset(&self, at: jiff::Timestamp) -> i64 {
        i64::from(self.zone.to_offset(at).seconds())
    }

    /// Whether clocks showed this reading once before they were set back. Asked of instants, forwards: jiff's word on readings
    /// (`to_ambiguous_timestamp`) and its `preceding` changes contradict them where a zone changed its rules (Nuuk in October
    /// 2023, Ciudad Juarez in November 2022).
    fn is_second_pass(&self, reading: i64, offset: i64) -> bool {
        let now = reading - offset;
        // No clock was ever set back by more than a day.
        let changes = self.zone.following(instant(now - SECONDS_OF_DAY - 1).to_jiff());
        changes
            .map(|change| change.timestamp().as_second())
            .take_while(|at| *at <= now)
            .any(|at| reading < at + self.offset(instant(at - 1).to_jiff()))
    }
}

/// Whether the local day of `reading` lies wholly in the gap from `from` to `to` (all readings in seconds).
fn is_skipped_day(reading: i64, from: i64, to: i64) -> bool {
    let midnight = reading - reading.rem_euclid(SECONDS_OF_DAY);
    from <= midnight && midnight + SECONDS_OF_DAY <= to
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_micros(second * MICROS)
}

#[cfg(test)]
mod tests;
