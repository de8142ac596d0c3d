//! The shop's calendar: which days there are, when each begins in UTC, how the week and the sales move it, and at what time
//! of the day its customers are awake. A day is a day of the shop's own zone.

use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::ShopError;
use super::draw::{Draw, real};
use super::people::REGIONS;
use crate::domain::clock::Timestamp as Instant;

/// The shop's own zone: its days, and the local times in `orders.csv`.
pub const ZONE: &str = "Europe/Berlin";
/// Days of history, 2024-06-01 to 2026-05-31.
pub const HISTORY_DAYS: usize = 730;
/// Days that can be lived after it, 2026-06-01 to 2026-06-30.
pub const LIVE_DAYS: usize = 30;
/// The first day of all: the shop opens.
pub const FIRST_DAY: Date = date(2024, 6, 1);
/// The first day that is lived rather than history.
pub const FIRST_LIVE_DAY: Date = date(2026, 6, 1);

/// Demand by day of the week, Monday first; the mean is 1.
const WEEK: [f64; 7] = [0.94, 0.88, 0.88, 0.93, 1.02, 1.09, 1.26];
/// Demand on the four days from Black Friday on.
const BLACK_FRIDAY: f64 = 1.7;
/// How likely each local hour is, midnight first.
const HOURS: [f64; 24] = [
    0.8, 0.4, 0.2, 0.15, 0.15, 0.3, 0.9, 1.9, 2.8, 3.6, 4.3, 4.6, 4.7, 4.4, 4.2, 4.2, 4.6, 5.4, 6.3, 7.4, 8.3, 7.2,
    4.4, 2.0,
];
/// No session starts later than this many seconds before the end of a day, so that it ends on the same day.
const LAST_START_SECONDS: i64 = 3_600;

/// One day of the shop.
#[derive(Debug)]
pub(super) struct Day {
    pub date: Date,
    /// First second, Unix time.
    pub starts_at: i64,
    /// First second of the next day.
    pub ends_at: i64,
    /// Demand of this day against the mean day, from the week and the sales; categories have their own year.
    pub demand: f64,
    /// Local time of each region when the day starts, in seconds after midnight.
    local_at_start: [i64; REGIONS.len()],
}

/// All days, in order.
#[derive(Debug)]
pub(super) struct Calendar {
    pub days: Vec<Day>,
    zone: TimeZone,
}

impl Calendar {
    pub(super) fn new() -> Result<Self, ShopError> {
        let zone = TimeZone::get(ZONE)?;
        let zones: Vec<TimeZone> =
            REGIONS.iter().map(|region| TimeZone::get(region.timezone)).collect::<Result<_, _>>()?;
        let start_of = |day: Date| Ok::<_, ShopError>(day.to_zoned(zone.clone())?.timestamp().as_second());
        let mut days = Vec::with_capacity(HISTORY_DAYS + LIVE_DAYS);
        let mut today = FIRST_DAY;
        for _ in 0..HISTORY_DAYS + LIVE_DAYS {
            let tomorrow = today.checked_add(1.day())?;
            let (starts_at, ends_at) = (start_of(today)?, start_of(tomorrow)?);
            let mut local_at_start = [0; REGIONS.len()];
            for (seconds, zone) in local_at_start.iter_mut().zip(&zones) {
                let offset = zone.to_offset(Timestamp::from_second(starts_at)?).seconds();
                *seconds = (starts_at + i64::from(offset)).rem_euclid(86_400);
            }
            days.push(Day { date: today, starts_at, ends_at, demand: demand(today), local_at_start });
            today = tomorrow;
        }
        Ok(Calendar { days, zone })
    }

    /// The first instant of some days, and the first after them.
    pub(super) fn bounds(&self, days: std::ops::Range<usize>) -> (Instant, Instant) {
        let days = &self.days[days];
        let instant = |seconds: i64| Instant::from_micros(seconds * 1_000_000);
        (instant(days[0].starts_at), instant(days[days.len() - 1].ends_at))
    }

    /// The number of a date; `None` outside the calendar.
    pub(super) fn number(&self, date: Date) -> Option<usize> {
        self.days.iter().position(|day| day.date == date)
    }

    /// An instant of `day` at which somebody of `region` might start shopping.
    pub(super) fn instant(&self, day: usize, region: usize, draw: &mut Draw) -> i64 {
        let day = &self.days[day];
        let hour = i64::try_from(draw.weighted(&HOURS)).expect("one of 24");
        let after = (hour * 3_600 - day.local_at_start[region]).rem_euclid(86_400) + draw.between(0, 3_599);
        let last = day.ends_at - LAST_START_SECONDS;
        if day.starts_at + after < last { day.starts_at + after } else { last - draw.between(0, 7_200) }
    }

    /// Local time of the shop without its zone, as shop systems like to export it: `2026-06-01 18:22:07`.
    pub(super) fn shop_time(&self, at: i64) -> String {
        let offset = Timestamp::from_second(at).map_or(0, |t| self.zone.to_offset(t).seconds());
        let mut text = utc(at + i64::from(offset));
        text.truncate(19);
        text.replace('T', " ")
    }
}

/// RFC 3339 in UTC with whole seconds.
pub(super) fn utc(at: i64) -> String {
    Timestamp::from_second(at).expect("within the calendar").to_string()
}

/// Where `date` stands in a table of twelve monthly values that hold for the middle of each month.
pub(super) fn of_year(months: &[f64; 12], date: Date) -> f64 {
    let position = real(u64::try_from(date.day_of_year()).unwrap_or(1)) / 365.25 * 12.0 + 11.5;
    let share = position - position.floor();
    let month = usize::try_from(super::draw::whole(position.floor())).unwrap_or(0);
    months[month % 12] * (1.0 - share) + months[(month + 1) % 12] * share
}

fn demand(day: Date) -> f64 {
    let week = WEEK[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())];
    // Black Friday is the Friday after the fourth Thursday of November: the 23rd to the 29th.
    let sale = (0..4).any(|back: i32| {
        let friday = day.saturating_sub(back.days());
        friday.month() == 11 && friday.weekday() == Weekday::Friday && (23..=29).contains(&friday.day())
    });
    if sale { week * BLACK_FRIDAY } else { week }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_in_berlin_and_may_have_23_or_25_hours() {
        let calendar = Calendar::new().unwrap();
        let hours = |day: Date| {
            let day = &calendar.days[calendar.number(day).unwrap()];
            (day.ends_at - day.starts_at) / 3_600
        };
        assert_eq!((hours(date(2025, 3, 30)), hours(date(2025, 10, 26)), hours(date(2025, 6, 1))), (23, 25, 24));
        let live = &calendar.days[HISTORY_DAYS];
        assert_eq!((live.date, utc(live.starts_at)), (FIRST_LIVE_DAY, "2026-05-31T22:00:00Z".to_owned()));
        assert_eq!(calendar.shop_time(live.starts_at + 3_600), "2026-06-01 01:00:00");
        assert_eq!(calendar.days.last().unwrap().date, date(2026, 6, 30));
    }

    #[test]
    fn every_drawn_instant_lies_in_its_day_and_most_of_them_in_waking_hours() {
        let calendar = Calendar::new().unwrap();
        let mut draw = Draw::new(1, 1);
        let zone = TimeZone::get("America/New_York").unwrap();
        let region = REGIONS.iter().position(|r| r.timezone == "America/New_York").unwrap();
        let mut awake = 0;
        for n in 0..4_000 {
            let day = n % calendar.days.len();
            let at = calendar.instant(day, region, &mut draw);
            assert!((calendar.days[day].starts_at..calendar.days[day].ends_at).contains(&at));
            let hour = Timestamp::from_second(at).unwrap().to_zoned(zone.clone()).hour();
            awake += usize::from((7..24).contains(&hour));
        }
        assert!(awake > 3_700, "{awake} of 4000");
    }

    #[test]
    fn the_week_has_mean_one_and_black_friday_stands_out() {
        assert!((WEEK.iter().sum::<f64>() - 7.0).abs() < 1e-9);
        assert!(demand(date(2025, 11, 28)) > 1.7 * demand(date(2025, 11, 21)) - 1e-9);
        assert!(demand(date(2025, 12, 1)) > 1.5 && demand(date(2025, 12, 2)) < 1.0);
    }
}
