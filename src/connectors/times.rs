//! Times as files write them.

use jiff::civil::{DateTime, time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

use super::mapping::TimeField;
use crate::domain::clock::Timestamp;
use crate::domain::occurred;

/// Reads one column's times.
#[derive(Clone, Debug)]
pub(super) struct TimeReader {
    pub(super) column: String,
    format: Format,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum Format {
    Iso,
    Pattern(String),
    UnixSeconds,
    UnixMilliseconds,
}

impl TimeReader {
    /// An error says what is wrong with the format or the zone.
    pub(super) fn new(field: &TimeField, default_zone: &TimeZone) -> Result<Self, String> {
        let zone = match &field.zone {
            None => default_zone.clone(),
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("`{name}` is not a time zone; use an IANA name such as Europe/London"))?,
        };
        let format = match field.format.as_deref() {
            None => Format::Iso,
            Some("unix_seconds") => Format::UnixSeconds,
            Some("unix_milliseconds") => Format::UnixMilliseconds,
            Some(pattern) => {
                let noon = DateTime::constant(2001, 2, 3, 12, 0, 0, 0).to_zoned(TimeZone::UTC);
                let shown = noon.map_err(|e| e.to_string()).and_then(|noon| {
                    strtime::format(pattern, &noon).map_err(|e| format!("`{pattern}` is not a time format: {e}"))
                })?;
                let read = BrokenDownTime::parse(pattern, &shown).and_then(|parts| parts.to_datetime());
                read.map_err(|e| format!("`{pattern}` does not make a time: {e}"))?;
                Format::Pattern(pattern.to_owned())
            }
        };
        Ok(TimeReader { column: field.column.clone(), format, zone })
    }

    /// The instant that `text` means, if an event in a file read at `read_at` can have happened then; an error says what was
    /// expected.
    pub(super) fn read(&self, text: &str, read_at: Timestamp) -> Result<Timestamp, String> {
        let stated = self.instant(text).ok_or_else(|| {
            format!("`{text}` in column `{}` is not a time; expected {}", self.column, self.expected())
        })?;
        occurred::in_file(stated, read_at).map_err(|why| format!("column `{}`: {why}", self.column))
    }

    /// What a time looks like that can be read.
    pub(super) fn expected(&self) -> &str {
        match &self.format {
            Format::Iso => "an ISO 8601 time such as 2026-03-01 09:00:00 (state `format` for any other)",
            Format::Pattern(pattern) => pattern,
            Format::UnixSeconds => "seconds since 1970",
            Format::UnixMilliseconds => "milliseconds since 1970",
        }
    }

    /// The instant that `text` means, if it is a time.
    pub(super) fn instant(&self, text: &str) -> Option<Timestamp> {
        let at = match &self.format {
            Format::UnixSeconds => jiff::Timestamp::from_second(text.parse().ok()?).ok()?,
            Format::UnixMilliseconds => jiff::Timestamp::from_millisecond(text.parse().ok()?).ok()?,
            Format::Pattern(pattern) => {
                let parts = BrokenDownTime::parse(pattern, text).ok()?;
                if parts.offset().is_some() || parts.iana_time_zone().is_some() {
                    parts.to_zoned().ok()?.timestamp()
                } else {
                    self.local(parts.to_datetime().ok()?, parts.hour().is_none())?
                }
            }
            Format::Iso => {
                let date_only = !text.contains([':', 'T', 't', ' ']);
                match text.parse::<jiff::Timestamp>() {
                    Ok(at) => at,
                    Err(_) => self.local(text.parse().ok()?, date_only)?,
                }
            }
        };
        Some(at.into()).filter(|at| *at <= Timestamp::MAX)
    }

    fn local(&self, datetime: DateTime, date_only: bool) -> Option<jiff::Timestamp> {
        let datetime = if date_only { datetime.date().to_datetime(time(12, 0, 0, 0)) } else { datetime };
        self.zone.to_ambiguous_timestamp(datetime).compatible().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Option<&str>, text: &str, expected: &str) {
        let field = TimeField { column: "at".to_owned(), format: format.map(Into::into), zone: None };
        let london = TimeZone::get("Europe/London").unwrap();
        let read = TimeReader::new(&field, &london).unwrap().read(text, Timestamp::MAX);
        assert_eq!(read.map_or_else(|e| e, |at| at.to_string()), expected, "{format:?} {text}");
    }

    #[test]
    fn times_are_read_in_the_zone_of_the_file() {
        check(Some("%Y-%m-%d %H:%M:%S"), "2011-07-01 08:26:00", "2011-07-01T07:26:00Z");
        check(Some("%d.%m.%Y %H:%M"), "01.12.2010 08:26", "2010-12-01T08:26:00Z");
        check(Some("%Y-%m-%d %H:%M %z"), "2010-12-01 08:26 +0200", "2010-12-01T06:26:00Z");
        check(None, "2011-07-01 08:26", "2011-07-01T07:26:00Z");
        check(None, "2011-07-01T08:26:00+02:00", "2011-07-01T06:26:00Z");
        check(Some("unix_milliseconds"), "1300000000123", "2011-03-13T07:06:40.123Z");
    }

    #[test]
    fn a_date_without_hours_is_noon_and_a_skipped_hour_the_one_after() {
        check(Some("%Y-%m-%d"), "2011-07-01", "2011-07-01T11:00:00Z");
        check(None, "2011-07-01", "2011-07-01T11:00:00Z");
        check(None, "2011-03-27 01:30:00", "2011-03-27T01:30:00Z");
        check(None, "2011-10-30 01:30:00", "2011-10-30T00:30:00Z");
    }

    #[test]
    fn what_is_no_time_says_what_was_expected() {
        check(Some("%Y-%m-%d"), "12/1/2010", "`12/1/2010` in column `at` is not a time; expected %Y-%m-%d");
        check(
            Some("unix_seconds"),
            "9999999999999999",
            "`9999999999999999` in column `at` is not a time; expected seconds since 1970",
        );
        let field = |format: &str| TimeField { column: "at".into(), format: Some(format.into()), zone: None };
        assert!(TimeReader::new(&field("%Y-%!"), &TimeZone::UTC).unwrap_err().contains("is not a time format"));
        assert!(TimeReader::new(&field("%H:%M"), &TimeZone::UTC).unwrap_err().contains("does not make a time"));
    }
}
