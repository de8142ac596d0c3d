//! Cron text: a schedule or a reason, and the ticks of a schedule strictly increase.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use rekindle::domain::clock::Timestamp;
use rekindle::schedule::Schedule;

fuzz_target!(|text: &str| {
    if let Ok(schedule) = Schedule::parse(text, TimeZone::UTC) {
        let ticks = schedule.upcoming(Timestamp::from_micros(1_800_000_000_000_000), 4);
        assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(Schedule::parse(schedule.as_str(), TimeZone::UTC).is_ok());
    }
});
