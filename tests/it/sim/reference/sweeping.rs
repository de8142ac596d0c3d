//! Ticks: which there are, by a calendar counted day by day, and what each should have brought about.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use rekindle::domain::clock::Timestamp;
use rekindle::domain::id::CustomerId;
use rekindle::stores::TickProgress;

use super::{Expected, Occasion, Reference};
use crate::sim::scene::{RULES, Trigger};

const RESCORE: &str = "@rescore";

#[derive(Default)]
pub(crate) struct Ticks {
    /// When each schedule was seen first.
    baselines: BTreeMap<String, Timestamp>,
    /// The last customer done, and whether everybody is.
    swept: BTreeMap<(String, Timestamp), (Option<CustomerId>, bool)>,
}

impl Reference<'_> {
    pub(super) fn ticks_begun(&mut self, ticks: &[TickProgress], now: Timestamp) {
        for tick in ticks {
            let key = (tick.schedule.clone(), tick.at);
            if !self.ticks.baselines.contains_key(&tick.schedule) {
                self.ticks.baselines.insert(tick.schedule.clone(), tick.at);
            } else if !self.ticks.swept.contains_key(&key) {
                let limit = RULES.iter().find(|rule| rule.id == tick.schedule).map(|rule| rule.lateness_hours);
                let late = limit.is_some_and(|hours| tick.at.plus(SignedDuration::from_hours(hours)) < now);
                if tick.done_at.is_none() || !late {
                    self.wrong(now, &format!("{} skips its tick at {}", tick.schedule, tick.at));
                }
            }
            self.ticks.swept.entry(key).or_insert((None, tick.done_at.is_some()));
        }
    }

    /// One chunk of one tick.
    pub(super) fn sweep(&mut self, tick: &TickProgress, now: Timestamp, actual: &[String]) -> Expected {
        let key = (tick.schedule.clone(), tick.at);
        let (after, done) = self.ticks.swept.get(&key).copied().unwrap_or_default();
        if done {
            self.wrong(now, &format!("{} is swept again for {}", tick.schedule, tick.at));
        }
        if tick.at > now || !is_tick(&tick.schedule, tick.at, &self.zone) {
            self.wrong(now, &format!("{} is no tick of {} by now", tick.at, tick.schedule));
        }
        let everybody = self.customers.iter().copied().filter(|c| self.lives(*c) && Some(*c) > after);
        let last = tick.position.filter(|_| tick.done_at.is_none());
        let chunk: Vec<CustomerId> = everybody.filter(|c| last.is_none_or(|last| *c <= last)).collect();
        let mut expected = Expected::default();
        if tick.schedule == RESCORE {
            let was_scored = self.scored;
            for customer in chunk {
                let before = expected.signals.len();
                self.judge(customer, None, None, now, &mut expected);
                if !was_scored {
                    // The first scores say nothing about change.
                    expected.signals.truncate(before);
                }
            }
            self.wake_by_signals(now, &mut expected, actual);
            self.scored |= tick.done_at.is_some();
        } else {
            let rule = RULES.iter().find(|rule| rule.id == tick.schedule).unwrap();
            let occasion = Occasion { name: format!("tick:{}", tick.at), at: tick.at };
            for customer in chunk {
                self.ask(rule, customer, &occasion, now, &mut expected, actual);
            }
        }
        self.ticks.swept.insert(key, (tick.position, tick.done_at.is_some()));
        expected
    }

    /// At the end of a world: every tick was swept that the policy for missed ones asks for.
    pub(crate) fn check_ticks(&mut self, now: Timestamp) {
        let open = self.ticks.swept.iter().filter(|(_, (_, done))| !done);
        let mut wrong: Vec<String> = open.map(|((name, at), _)| format!("{name} of {at} was never finished")).collect();
        for (schedule, baseline) in &self.ticks.baselines {
            let all = ticks_between(schedule, *baseline, now, &self.zone);
            let needed = match self.world.orders.catch_up {
                "all" => &all[..],
                "last" => &all[all.len().saturating_sub(1)..],
                _ => &[],
            };
            let missing = needed.iter().filter(|at| !self.ticks.swept.contains_key(&(schedule.clone(), **at)));
            wrong.extend(missing.map(|at| format!("{schedule} of {at} was never swept")));
        }
        for what in &wrong {
            self.wrong(now, what);
        }
    }
}

fn time_of_day(schedule: &str) -> (i8, i8) {
    if schedule == RESCORE {
        return (3, 0);
    }
    match RULES.iter().find(|rule| rule.id == schedule).unwrap().trigger {
        Trigger::Daily(hour, minute) => (hour, minute),
        _ => unreachable!("{schedule} has no calendar"),
    }
}

/// That day's tick: an hour that is skipped falls on the first instant after the gap, one that comes twice on the first.
fn tick_of(schedule: &str, day: Date, zone: &TimeZone) -> Timestamp {
    let (hour, minute) = time_of_day(schedule);
    let reading = day.at(hour, minute, 0, 0);
    let compatible: Timestamp = zone.to_timestamp(reading).unwrap().into();
    if compatible.in_zone(zone).datetime() == reading {
        return compatible;
    }
    // Berlin's gaps are an hour long and end on the hour.
    zone.to_timestamp(day.at(hour + 1, 0, 0, 0)).unwrap().into()
}

fn is_tick(schedule: &str, at: Timestamp, zone: &TimeZone) -> bool {
    tick_of(schedule, at.in_zone(zone).date(), zone) == at
}

fn ticks_between(schedule: &str, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
    let days = std::iter::successors(Some(after.in_zone(zone).date()), |day| Some(day.saturating_add(1.day())));
    let ticks = days.map(|day| tick_of(schedule, day, zone)).take_while(|at| *at <= until);
    ticks.filter(|at| *at > after).collect()
}
