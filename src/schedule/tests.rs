//! The table of known cases, and every zone of the bundled database around every change of its clocks.

use jiff::ToSpan;
use jiff::civil::{self, Date, date};
use jiff::tz::TimeZoneDatabase;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(cron, TimeZone::get(zone).unwrap()).unwrap()
}

fn check(cron: &str, zone: &str, after: &str, expected: &[&str]) {
    let ticks = schedule(cron, zone).upcoming(at(after), expected.len());
    let shown: Vec<String> = ticks.iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected, "`{cron}` in {zone} after {after}");
}

#[test]
fn weekdays_are_counted_as_crontab_counts_them() {
    let saturday = "2026-02-28T12:00:00Z";
    check("0 9 * * 0", "UTC", saturday, &["2026-03-01T09:00:00Z"]);
    check("0 9 * * 7", "UTC", saturday, &["2026-03-01T09:00:00Z"]);
    check("0 9 * * 1", "UTC", saturday, &["2026-03-02T09:00:00Z"]);
    check("0 9 * * Mon-Fri", "UTC", saturday, &["2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z"]);
    check("0 9 * * 5-7", "UTC", saturday, &["2026-03-01T09:00:00Z", "2026-03-06T09:00:00Z", "2026-03-07T09:00:00Z"]);
    check("@weekly", "UTC", saturday, &["2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"]);
    check("@monthly", "UTC", saturday, &["2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"]);
}

#[test]
fn two_restricted_day_fields_mean_either_and_a_starred_one_means_both() {
    let after = "2026-03-01T00:00:00Z";
    // The 13th or a Friday.
    check("0 0 13 * 5", "UTC", after, &["2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z"]);
    check("0 0 14 * 5", "UTC", "2026-03-12T00:00:00Z", &["2026-03-13T00:00:00Z", "2026-03-14T00:00:00Z"]);
    // A Friday among the odd days.
    check("0 0 */2 * 5", "UTC", after, &["2026-03-13T00:00:00Z", "2026-03-27T00:00:00Z"]);
}

#[test]
fn a_gap_fires_once_when_it_ends() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00Z.
    let before = "2026-03-28T12:00:00Z";
    let berlin = "Europe/Berlin";
    check("30 2 * * *", berlin, before, &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    check("15,45 2 * * *", berlin, before, &["2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"]);
    check("0 2,3 * * *", berlin, before, &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("30 2 29 3 *", berlin, "2026-03-29T01:00:00Z", &["2027-03-29T00:30:00Z"]);
    // Cairo loses midnight itself.
    check("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", &["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]);
}

#[test]
fn a_repeated_hour_fires_once_unless_hours_are_counted() {
    // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00Z.
    let berlin = "Europe/Berlin";
    check("30 2 * * *", berlin, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    check("30 2 * * *", berlin, "2026-10-25T00:45:00Z", &["2026-10-26T01:30:00Z"]);
    let hourly = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
    check("@hourly", berlin, "2026-10-24T23:30:00Z", &hourly);
    check("0 */2 * * *", berlin, "2026-10-24T23:30:00Z", &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"]);
    check("0,30 1-3 * * *", berlin, "2026-10-25T00:15:00Z", &["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]);
}

#[test]
fn a_day_that_never_was_is_left_out() {
    let apia = "Pacific/Apia";
    // 29 December 2011 was followed by the 31st.
    check("0 9 * * *", apia, "2011-12-29T00:00:00Z", &["2011-12-29T19:00:00Z", "2011-12-30T19:00:00Z"]);
    check("@daily", apia, "2011-12-29T00:00:00Z", &["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]);
}

#[test]
fn what_cannot_happen_is_refused_and_the_end_of_the_calendar_is_an_end() {
    let never = Schedule::parse("0 0 30 2 *", TimeZone::UTC).unwrap_err();
    assert_eq!(never, "`0 0 30 2 *` names a day of month that its months do not have");
    check("0 0 29 2 *", "UTC", "2026-03-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    let daily = schedule("@daily", "UTC");
    assert_eq!(daily.next_after(at("2100-12-31T00:00:00Z")), None);
    assert_eq!(daily.next_after(Timestamp::MAX), None);
    assert_eq!(daily.next_after(Timestamp::from_micros(i64::MIN)), Some(Timestamp::EPOCH));
}

#[test]
fn missed_ticks_follow_the_policy() {
    let daily = schedule("0 9 * * *", "UTC");
    let due = |last: &str, now: &str, policy| daily.due(at(last), at(now), policy);
    let (monday, wednesday) = ("2026-03-02T09:00:00Z", "2026-03-04T09:00:00Z");
    let now = "2026-03-04T09:05:00Z";
    assert_eq!(due(monday, now, CatchUp::All), [at("2026-03-03T09:00:00Z"), at(wednesday)]);
    assert_eq!(due(monday, now, CatchUp::Last), [at(wednesday)]);
    assert_eq!(due(monday, now, CatchUp::None), [at(wednesday)]);
    for policy in [CatchUp::All, CatchUp::Last, CatchUp::None] {
        assert_eq!(due(wednesday, now, policy), [], "done is done");
        assert_eq!(due(wednesday, monday, policy), [], "a clock that went back brings nothing again");
    }
    assert_eq!(due(monday, "2026-03-04T15:00:00Z", CatchUp::None), [], "six hours late is missed");
    assert_eq!(due(monday, wednesday, CatchUp::None), [at(wednesday)], "the instant itself is on time");

    let minutes = schedule("* * * * *", "UTC");
    let first = minutes.due(at("2026-01-01T00:00:00Z"), at("2026-03-01T00:00:00Z"), CatchUp::All);
    assert_eq!((first.len(), first[0]), (MAX_CAUGHT_UP, at("2026-01-01T00:01:00Z")));
    assert_eq!(minutes.latest_at_or_before(at("2026-01-01T00:00:59Z")), Some(at("2026-01-01T00:00:00Z")));
    let leap = schedule("0 0 29 2 *", "UTC");
    assert_eq!(leap.latest_at_or_before(at("2027-06-01T00:00:00Z")), Some(at("2024-02-29T00:00:00Z")));
}

#[test]
fn without_clock_changes_it_agrees_with_the_crate() {
    // Seconds and Sunday = 1 are the crate's own spelling.
    for (ours, theirs) in [
        ("*/7 3-20/4 * * *", "0 */7 3-20/4 * * *"),
        ("15 6 1,31 */5 *", "0 15 6 1,31 */5 *"),
        ("0 0 * 2 mon,thu", "0 0 0 * 2 2,5"),
    ] {
        let crate_alone: cron::Schedule = theirs.parse().unwrap();
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let expected: Vec<i64> = crate_alone.after(&start).take(500).map(|t| t.timestamp()).collect();
        let ticks = schedule(ours, "UTC").upcoming(Timestamp::from_micros(1_700_000_000 * MICROS), 500);
        assert_eq!(ticks.iter().map(|t| t.as_micros() / MICROS).collect::<Vec<_>>(), expected, "{ours}");
    }
}

/// When a daily schedule should fire for this reading of the clock, by looking at the clock of every instant that could be
/// meant and at nothing of ours.
fn expected(zone: &TimeZone, reading: civil::DateTime) -> Option<jiff::Timestamp> {
    let utc = TimeZone::UTC.to_timestamp(reading).unwrap();
    let (from, to) = (utc - 26.hours(), utc + 26.hours());
    let changes: Vec<jiff::Timestamp> = zone.following(from).map(|t| t.timestamp()).take_while(|t| *t <= to).collect();
    let offsets = std::iter::once(&from).chain(&changes).map(|t| zone.to_offset(*t));
    let shown = offsets.map(|offset| offset.to_timestamp(reading).unwrap()).filter(|t| zone.to_datetime(*t) == reading);
    shown.min().or_else(|| {
        let end = *changes.iter().find(|t| zone.to_datetime(**t) > reading).unwrap();
        let before = zone.to_datetime(end - 1.second()).date();
        // The day of the reading was shown just before the gap, or just after it, or never.
        [before, zone.to_datetime(end).date()].contains(&reading.date()).then_some(end)
    })
}

/// Checks every local day from `first` to `last`; the number of ticks seen.
fn daily_fires_once_per_local_day(zone: &TimeZone, time: civil::Time, first: Date, last: Date) -> usize {
    let cron = format!("{} {} * * *", time.minute(), time.hour());
    let schedule = Schedule::parse(&cron, zone.clone()).unwrap();
    let slots = first.series(1.day()).take_while(|day| *day <= last);
    let expected: Vec<Timestamp> =
        slots.filter_map(|day| expected(zone, day.to_datetime(time))).map(Timestamp::from).collect();
    let after = expected[0].minus(SignedDuration::from_micros(1));
    let mut before = after;
    for tick in schedule.upcoming(after, expected.len()).iter().zip(&expected) {
        assert_eq!(tick.0, tick.1, "`{cron}` in {zone:?}");
        assert!(*tick.0 > before, "`{cron}` in {zone:?}");
        before = *tick.0;
    }
    expected.len()
}

#[test]
fn a_daily_schedule_fires_once_per_local_day_in_every_zone_of_the_world() {
    let zones = TimeZoneDatabase::bundled();
    let (first, last) = (date(2000, 1, 1), date(2040, 12, 31));
    let mut n_ticks = 0;
    let mut seen = std::collections::HashSet::new();
    for name in zones.available() {
        let zone = zones.get(name.as_str()).unwrap();
        // Between changes nothing depends on the zone, so the days around each change are checked, at times of day on, just
        // before and just after the change, and at those that people write.
        let start = zone.to_timestamp(first.to_datetime(civil::Time::midnight())).unwrap();
        let changes = zone.following(start).take_while(|t| t.timestamp().as_second() < 2_240_524_800);
        let changes: Vec<_> = changes.map(|t| (t.timestamp(), t.offset())).collect();
        if !seen.insert((zone.to_offset(start), changes.clone())) {
            continue; // a second name of the same clocks
        }
        for (change, _) in changes {
            let local = zone.to_datetime(change);
            let (from, to) = (local.date() - 2.days(), local.date() + 2.days());
            for minutes in [-30, 0] {
                let time = (local + minutes.minutes()).time().with().second(0).build().unwrap();
                n_ticks += daily_fires_once_per_local_day(&zone, time, from, to);
            }
            n_ticks += daily_fires_once_per_local_day(&zone, civil::time(2, 30, 0, 0), from, to);
        }
    }
    assert!(n_ticks > 90_000, "{n_ticks}");
    for name in ["Europe/London", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu"] {
        let zone = zones.get(name).unwrap();
        let n = daily_fires_once_per_local_day(&zone, civil::time(2, 15, 0, 0), first, last);
        let n_days = (last - first).get_days() + 1;
        let n_skipped = i32::from(name == "Pacific/Apia");
        assert_eq!(i32::try_from(n).unwrap(), n_days - n_skipped, "{name}");
    }
}

#[test]
fn counting_hours_fires_once_per_hour_of_real_time_where_clocks_move_by_hours() {
    let zone = "America/New_York";
    let ticks = schedule("@hourly", zone).upcoming(at("2000-01-01T00:00:00Z"), 41 * 365 * 24);
    assert!(ticks.windows(2).all(|pair| pair[1].since(pair[0]) == SignedDuration::from_hours(1)));
}
