//! Cron text: a schedule or a reason. The first line is the schedule; a second one may name a zone and an instant (in
//! seconds) to count from. Of what is accepted: it reads back, its ticks strictly increase, and whoever asks for them in
//! another way (from between two ticks, backwards, in two halves) hears of the same ones.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rekindle::domain::clock::Timestamp;
use rekindle::schedule::{CatchUp, Schedule};

const N_TICKS: usize = 8;

pub(crate) fn holds(text: &str) {
    let (cron, world) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = world.split(' ');
    let zone = words.next().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let start = words.next().and_then(|second| second.parse::<u32>().ok()).unwrap_or(1_800_000_000);
    let after = Timestamp::from_micros(i64::from(start) * 1_000_000);

    let schedule = match Schedule::parse(cron, zone.clone()) {
        Err(why) => return assert!(!why.is_empty()),
        Ok(schedule) => schedule,
    };
    let ticks = schedule.upcoming(after, N_TICKS);
    let again = Schedule::parse(schedule.as_str(), zone).expect("what was read is read again");
    assert_eq!(again.upcoming(after, N_TICKS), ticks);
    assert!(std::iter::once(&after).chain(&ticks).is_sorted_by(|a, b| a < b), "{ticks:?}");

    let microsecond = SignedDuration::from_micros(1);
    for (n, tick) in ticks.iter().enumerate() {
        assert_eq!(schedule.next_after(tick.minus(microsecond)), Some(*tick));
        assert_eq!(schedule.next_after(*tick), ticks.get(n + 1).copied().or_else(|| schedule.next_after(*tick)));
    }
    if let [first, .., last] = ticks[..] {
        assert_eq!(schedule.missed_between(after, last).collect::<Vec<_>>(), ticks);
        assert_eq!(schedule.latest_at_or_before(last), Some(last));
        assert_eq!(schedule.due(after, last, CatchUp::Last), [last]);
        assert_eq!(schedule.due(first, last, CatchUp::All), ticks[1..]);
        assert_eq!(schedule.due(last.minus(microsecond), last, CatchUp::None), [last]);
    }
}
