//! When an event happened, by a clock that may be wrong.
//!
//! | stated | over HTTP | in a file |
//! |---|---|---|
//! | a day or less ahead | the instant of arrival | the instant of reading |
//! | further ahead | put aside, `bad_time` | put aside, `bad_time` |
//! | before | 2000: put aside, `bad_time` | 1971: put aside, `bad_time` |
//!
//! The newest statement about a customer holds, and the last order is the one with the latest instant: one event of the
//! year 2100 would hold for ever. Broken clocks and empty columns say 1970; shops' real history may begin before 2000.
//!
//! A device says when the event happened and when it sent it, both by its own clock; we know when we received it by ours.
//! The distance between the first two is right even if the clock is not, so `occurred = received − (sent − stated)`.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::clock::Timestamp;

/// A difference above this is no wrong clock: somebody replays what was recorded earlier.
const SKEW_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Further ahead than this, an instant is a mistake and not a wrong clock.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);
/// 2000-01-01T00:00:00Z. Before it lie the defaults of broken clocks: 1970, 1980, 1999.
const EARLIEST: Timestamp = Timestamp::from_micros(946_684_800 * 1_000_000);
/// 1971-01-01T00:00:00Z. Before it lie zero, in any zone and any unit, and the dates that spreadsheets make of it.
const EARLIEST_IN_FILES: Timestamp = Timestamp::from_micros(31_536_000 * 1_000_000);

/// When it happened: `stated` corrected by the sender's skew; `received_at` where nothing is stated; never later than
/// `received_at`. `Err` says why the instant cannot be right.
pub fn occurred_at(
    stated: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
) -> Result<Timestamp, String> {
    let Some(stated) = stated else { return Ok(received_at) };
    if stated.since(sent_at.map_or(received_at, |sent_at| sent_at.max(received_at))) > AHEAD_MAX {
        return Err(format!("{stated} is more than a day after it was sent and received"));
    }
    let skew = sent_at.map(|sent_at| received_at.since(sent_at)).filter(|skew| skew.abs() <= SKEW_MAX);
    let occurred_at = stated.plus(skew.unwrap_or_default()).min(received_at);
    if occurred_at < EARLIEST {
        return Err(format!("{occurred_at} is before the year 2000"));
    }
    Ok(occurred_at)
}

/// When it happened, of an event that stands in a file: as stated, never later than `read_at`. `Err` says why the instant
/// cannot be right.
pub fn in_file(stated: Timestamp, read_at: Timestamp) -> Result<Timestamp, String> {
    if stated.since(read_at) > AHEAD_MAX {
        return Err(format!(
            "{stated} is more than a day ahead; correct the date, or import the row when its day has come"
        ));
    }
    if stated < EARLIEST_IN_FILES {
        return Err(format!("{stated} is before 1971, as an empty date becomes; state when it happened"));
    }
    Ok(stated.min(read_at))
}

/// Reads ISO 8601: an instant with an offset, or a date with or without time, which is then UTC.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let without_offset = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
    };
    text.parse().ok().or_else(without_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_corrected_and_an_impossible_instant_refused() {
        const RECEIVED: &str = "2026-03-01T12:00:00Z";
        let check = |stated: &str, sent: &str, expected: Option<&str>| {
            let found = occurred_at(parse(stated), parse(sent), parse(RECEIVED).unwrap()).ok();
            assert_eq!(found, expected.map(|text| parse(text).unwrap()), "stated {stated}, sent {sent}");
        };
        check("", "", Some(RECEIVED));
        check("", "2026-03-01T12:00:03Z", Some(RECEIVED));
        // The device is an hour ahead, and sent ten minutes after the event.
        check("2026-03-01T12:50:00Z", "2026-03-01T13:00:00Z", Some("2026-03-01T11:50:00Z"));
        // An hour behind.
        check("2026-03-01T10:50:00Z", "2026-03-01T11:00:00Z", Some("2026-03-01T11:50:00Z"));
        // An import: years old, sent just now.
        check("2019-05-05T00:00:00Z", "2026-03-01T11:59:58Z", Some("2019-05-05T00:00:02Z"));
        // Sent longer than a day ago: taken as stated.
        check("2026-02-01T09:00:00Z", "2026-02-01T10:00:00Z", Some("2026-02-01T09:00:00Z"));
        // Nothing to correct by.
        check("2026-03-01T10:50:00Z", "", Some("2026-03-01T10:50:00Z"));
        // Never in the future.
        check("2026-03-01T12:00:09Z", "", Some(RECEIVED));
        check("2026-03-01T12:00:09Z", "2026-03-01T12:00:00Z", Some(RECEIVED));
        check("2026-03-05T12:00:00Z", "2026-03-05T12:00:01Z", Some(RECEIVED));
        // A clock that was set while the batch waited.
        check("2026-03-01T11:00:00Z", "1970-01-01T00:00:00Z", Some("2026-03-01T11:00:00Z"));
        // Impossible.
        check("2026-03-02T12:00:01Z", "", None);
        check("3026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", None);
        check("1999-12-31T23:59:59Z", "", None);
        check("1970-01-01T00:00:00Z", "2026-03-01T12:00:00Z", None);
        check("2000-01-01T00:00:00Z", "", Some("2000-01-01T00:00:00Z"));
    }

    #[test]
    fn a_file_may_hold_history_but_neither_the_zero_of_a_clock_nor_the_future() {
        const READ: &str = "2026-03-01T12:00:00Z";
        let check = |stated: &str, expected: Option<&str>| {
            let found = in_file(parse(stated).unwrap(), parse(READ).unwrap()).ok();
            assert_eq!(found, expected.map(|text| parse(text).unwrap()), "{stated}");
        };
        check("1997-01-01T00:00:00Z", Some("1997-01-01T00:00:00Z"));
        check("1970-01-01T00:00:00Z", None);
        check("1899-12-30T00:00:00Z", None);
        check("2026-03-02T11:00:00Z", Some(READ));
        check("2026-03-02T12:00:01Z", None);
        check("2100-01-01T00:00:00Z", None);
    }

    #[test]
    fn the_spellings_of_client_libraries_are_read() {
        let noon = "2026-03-01T12:00:00Z".parse().ok();
        for text in [
            "2026-03-01T12:00:00.000Z",
            "2026-03-01T12:00:00.000000+00:00",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00",
            " 2026-03-01T12:00:00Z ",
        ] {
            assert_eq!(parse(text), noon, "{text}");
        }
        assert_eq!(parse("2026-03-01"), "2026-03-01T00:00:00Z".parse().ok());
        for text in ["", "yesterday", "1772366400", "2026-13-01", "2026-02-30T00:00:00Z", "-999999-01-01"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
