//! The reference: what the pipeline should have decided, worked out again, one event after the other, from the list of
//! events in stored order. It shares no code with `src/pipeline`; nothing is kept but lists, and every question reads them
//! from the beginning.
//!
//! It reads the journal of a world and says what is wrong with it. Of the pipeline it takes only where batches ended and
//! when, because "now" is part of every decision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::{MessageClass, held_out};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::id::CustomerId;
use rekindle::domain::segment::{Signal, Transition};
use rekindle::stores::Commit;

use self::person::{Person, Verdict};
use self::sending::Sending;
use self::sweeping::Ticks;
use super::journal::{Entry, What, decisions, fired, step};
use super::scene::{RULES, Rule, Trigger, segments_of};
use super::world::World;

mod deriving;
pub(crate) mod person;
mod sending;
mod sweeping;

/// What the reference knows by now.
pub(crate) struct Reference<'a> {
    world: &'a World,
    zone: TimeZone,
    /// Everything that was acknowledged, in order.
    log: Vec<Fact>,
    n_derived: usize,
    /// Everything that counts, under whose it is today.
    pub(crate) events: Vec<(i64, Event)>,
    /// Who was absorbed by whom.
    merges: Vec<(CustomerId, CustomerId)>,
    customers: BTreeSet<CustomerId>,
    pub(crate) members: BTreeMap<CustomerId, BTreeMap<String, bool>>,
    /// Rule, customer as decided, occasion, when.
    fired: Vec<(String, CustomerId, String, Timestamp)>,
    pub(crate) sending: Sending,
    pub(crate) ticks: Ticks,
    /// Everybody has been scored once.
    scored: bool,
    pub(crate) acknowledged: BTreeSet<(String, String)>,
    pub(crate) problems: Vec<String>,
}

/// What one commit should hold.
#[derive(Default)]
struct Expected {
    lines: Vec<String>,
    signals: Vec<Signal>,
    /// Marketing decided in this commit: for whom and when it is to leave.
    contacts: Vec<(CustomerId, Timestamp)>,
    judged: BTreeSet<CustomerId>,
}

/// Which time a rule is asked for, and since when that is true.
struct Occasion {
    name: String,
    at: Timestamp,
}

impl<'a> Reference<'a> {
    pub(crate) fn read(world: &'a World, entries: &[Entry]) -> Reference<'a> {
        let mut reference = Reference {
            world,
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            log: Vec::new(),
            n_derived: 0,
            events: Vec::new(),
            merges: Vec::new(),
            customers: BTreeSet::new(),
            members: BTreeMap::new(),
            fired: Vec::new(),
            sending: Sending::default(),
            ticks: Ticks::default(),
            scored: false,
            acknowledged: BTreeSet::new(),
            problems: Vec::new(),
        };
        for entry in entries {
            reference.take(entry);
        }
        reference
    }

    fn take(&mut self, entry: &Entry) {
        let now = entry.now;
        match &entry.what {
            What::Appended(facts) => self.log.extend(facts.iter().cloned()),
            What::Committed(commit) => self.committed(commit, now),
            What::TicksBegun(ticks) => self.ticks_begun(ticks, now),
            What::MetaSet(key) => self.scored |= key == "scored_once = yes",
            What::Claimed(deliveries) => self.claimed(deliveries, now),
            What::Left { delivery, accepted, answer } => self.left(delivery.id, *accepted, answer, now),
            What::Moved(moves) => moves.iter().filter(|(_, made)| *made).for_each(|(one, _)| self.moved(one, now)),
            What::Acknowledged(keys) => self.acknowledged.extend(keys.iter().cloned()),
            What::Trouble(_) => self.sending.n_troubles += 1,
            What::Note(_) => {}
        }
    }

    fn wrong(&mut self, now: Timestamp, what: &str) {
        self.problems.push(format!("{now} {what}"));
    }

    fn committed(&mut self, commit: &Commit, now: Timestamp) {
        let actual = decisions(commit);
        let expected = if let Some(position) = commit.position {
            self.derive(position, now, commit, &actual)
        } else if let Some(tick) = &commit.tick {
            self.sweep(tick, now, &actual)
        } else {
            // Everybody is scored after an import, and nobody is woken by it.
            let mut expected = Expected::default();
            for state in &commit.judged {
                self.judge(state.customer, None, None, now, &mut expected);
            }
            expected.signals.clear();
            expected
        };
        self.compare(commit, expected, actual, now);
        for firing in &commit.firings {
            self.fired.push((firing.rule.clone(), firing.customer, firing.occasion.clone(), firing.at));
        }
        self.sending.decided(&commit.deliveries);
    }

    fn compare(&mut self, commit: &Commit, mut expected: Expected, mut actual: Vec<String>, now: Timestamp) {
        let signal = |s: &Signal| format!("signal {} {} {:?}", s.customer, s.segment, s.transition);
        actual.extend(commit.signals.iter().map(signal));
        expected.lines.extend(expected.signals.iter().map(signal));
        let (actual, expected_lines): (BTreeSet<_>, BTreeSet<_>) =
            (actual.into_iter().collect(), expected.lines.into_iter().collect());
        for line in expected_lines.difference(&actual) {
            self.wrong(now, &format!("should have been decided and was not: {line}"));
        }
        for line in actual.difference(&expected_lines) {
            self.wrong(now, &format!("should not have been decided: {line}"));
        }
        for state in commit.customers.iter().chain(&commit.judged).filter(|s| expected.judged.contains(&s.customer)) {
            let ours = self.members.get(&state.customer).cloned().unwrap_or_default();
            if *state.segments != ours && self.today(state.customer) == state.customer {
                self.wrong(now, &format!("{} is in {:?}, should be in {ours:?}", state.customer, state.segments));
            }
        }
    }

    pub(crate) fn today(&self, mut customer: CustomerId) -> CustomerId {
        while let Some((_, survivor)) = self.merges.iter().find(|(absorbed, _)| *absorbed == customer) {
            customer = *survivor;
        }
        customer
    }

    fn lives(&self, customer: CustomerId) -> bool {
        self.today(customer) == customer
    }

    pub(crate) fn events_of(&self, customer: CustomerId) -> Vec<&Event> {
        self.events.iter().map(|(_, event)| event).filter(|event| event.customer == Some(customer)).collect()
    }

    fn person(&self, customer: CustomerId, now: Timestamp) -> Person {
        Person::of(&self.events_of(customer), now, &self.zone)
    }

    /// Answers the segments anew. `before`: what counts as the answer before, where none was given; nobody is woken where
    /// there is none.
    fn judge(
        &mut self,
        customer: CustomerId,
        before: Option<bool>,
        cause: Option<&Event>,
        now: Timestamp,
        expected: &mut Expected,
    ) -> bool {
        let segments = segments_of(&self.person(customer, now));
        let earlier = self.members.insert(customer, segments.clone()).unwrap_or_default();
        expected.judged.insert(customer);
        let mut changed = false;
        for (name, is) in segments {
            let was = earlier.get(&name).copied().or(before);
            changed |= earlier.get(&name) != Some(&is);
            if was.is_some_and(|was| was != is) {
                let transition = if is { Transition::Entered } else { Transition::Left };
                expected.signals.push(Signal::new(customer, &name, transition, now, cause.map(|event| event.id)));
            }
        }
        changed
    }

    /// All rules that wait for the signals of this commit.
    fn wake_by_signals(&mut self, now: Timestamp, expected: &mut Expected, actual: &[String]) {
        for signal in expected.signals.clone() {
            let occasion = Occasion { name: format!("signal:{}", signal.id), at: signal.at };
            let waits = |rule: &&Rule| match (&rule.trigger, signal.transition) {
                (Trigger::Entering(segment), Transition::Entered) | (Trigger::Leaving(segment), Transition::Left) => {
                    *segment == signal.segment
                }
                _ => false,
            };
            let lives = self.lives(signal.customer);
            for rule in RULES.iter().filter(waits).filter(|_| lives) {
                self.ask(rule, signal.customer, &occasion, now, expected, actual);
            }
        }
    }

    /// Asks one rule about one customer and notes what should come of it.
    fn ask(
        &mut self,
        rule: &Rule,
        customer: CustomerId,
        occasion: &Occasion,
        now: Timestamp,
        expected: &mut Expected,
        actual: &[String],
    ) {
        let member = |name| self.members.get(&customer).is_some_and(|m| m.get(name) == Some(&true));
        if rule.audience.is_some_and(|name| !member(name)) {
            return;
        }
        let own = self.fired.iter().filter(|(id, who, ..)| id == rule.id && self.today(*who) == customer);
        let (mut resting, mut done) = (false, false);
        for (_, _, name, at) in own {
            resting |= rule.cooldown_hours.is_some_and(|hours| at.plus(SignedDuration::from_hours(hours)) > now);
            done |= *name == occasion.name;
        }
        let person = self.person(customer, now);
        if resting || done || !(rule.matches)(&person) {
            return;
        }
        let expires_at = occasion.at.plus(SignedDuration::from_hours(rule.lateness_hours));
        let (id, name) = (customer.to_string(), &occasion.name);
        let mut contacts = self.sending.contacts(|who| self.today(who) == customer);
        contacts.extend(expected.contacts.iter().filter(|(who, _)| self.today(*who) == customer).map(|(_, at)| *at));
        let mut admitted = Vec::new();
        let mut to_leave = Vec::new();
        for (n, kind) in (0..).zip(rule.steps) {
            let mut line = match person.verdict(*kind, expires_at, &contacts, self.world.orders.cap, now) {
                Verdict::Yes => step(rule.id, &id, name, n, &format!("due {now} -")),
                Verdict::Wait(until, why) => step(rule.id, &id, name, n, &format!("held {until} {why}")),
                Verdict::Refused(why) => step(rule.id, &id, name, n, &format!("refused {why}")),
            };
            let free = person.verdict(*kind, expires_at, &[], self.world.orders.cap, now) == Verdict::Yes;
            let marketing = matches!(kind, Some((MessageClass::Marketing, _)));
            if self.world.side_by_side && free && marketing {
                // Deliveries end while this is decided, so what counted against the cap is as the pipeline says.
                let prefix = step(rule.id, &id, name, n, "");
                line = actual.iter().find(|line| line.starts_with(&prefix)).cloned().unwrap_or(line);
            }
            if line.contains(" refused ") {
                expected.lines.push(line);
                continue;
            }
            if marketing {
                let leaves = if let Verdict::Wait(until, _) =
                    person.verdict(*kind, expires_at, &contacts, self.world.orders.cap, now)
                {
                    until
                } else {
                    now
                };
                contacts.push(leaves);
                to_leave.push((customer, leaves));
            }
            admitted.push(line);
        }
        if admitted.is_empty() {
            return;
        }
        let held_out = held_out(rule.id, customer, rule.holdout);
        expected.lines.push(fired(rule.id, &id, name, held_out));
        // Within one commit the next question must know already.
        self.fired.push((rule.id.to_owned(), customer, occasion.name.clone(), now));
        if !held_out {
            expected.lines.extend(admitted);
            expected.contacts.extend(to_leave);
        }
    }
}
