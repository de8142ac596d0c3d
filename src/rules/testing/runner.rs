//! Living through a test: events are folded as they come, segments follow each of them and every night, the rule is asked
//! as its trigger says and leaves the customer alone as its cooldown says.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::{Rule, RuleBook};
use super::Outcome;
use super::file::{Customer, Expected, Happening, Test, segment_names};
use crate::domain::action::Action;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Event, Fact, names};
use crate::domain::id::{CustomerId, EventId};
use crate::domain::profile::{Profile, Trait};
use crate::domain::rule::{Evaluation, Seen, Trigger};
use crate::domain::score::{Score, ScoreKind, Scores};
use crate::domain::subject::Subject;
use crate::schedule::Schedule;

/// When segments follow what time alone changed, as in the daemon's default.
const RESCORE: &str = "0 3 * * *";

/// More ticks than this in one test are a slip in `until`.
const MOST_TICKS: usize = 50_000;

enum Moment<'a> {
    Happens(&'a Happening),
    Rescore,
    Tick,
}

struct World<'a> {
    book: &'a RuleBook,
    rule: &'a Rule,
    business: Arc<Business>,
    customer: CustomerId,
    profile: Profile,
    scores: Scores,
    stated_segments: Option<BTreeSet<String>>,
    members: BTreeSet<String>,
    n_events: u64,
    quiet_until: Option<Timestamp>,
    got: Vec<(Timestamp, Action)>,
    last: Option<(Timestamp, Vec<Seen>)>,
    error: Option<String>,
}

/// Runs one test.
pub(super) fn run(book: &RuleBook, rule: &Rule, test: &Test, business: &Business) -> Outcome {
    let mut world = World {
        book,
        rule,
        business: Arc::new(business.clone()),
        customer: CustomerId::derive(test.starts, &[b"test"]),
        profile: Profile::default(),
        scores: Scores::new(),
        stated_segments: None,
        members: BTreeSet::new(),
        n_events: 0,
        quiet_until: None,
        got: Vec::new(),
        last: None,
        error: None,
    };
    world.state(&test.customer, Timestamp::EPOCH);
    for past in test.happens.iter().filter(|one| one.at < test.starts) {
        world.happen(past);
    }
    world.members = world.membership(test.starts);
    match moments(rule, test, business) {
        Ok(moments) => moments.into_iter().for_each(|(at, moment)| world.live(at, &moment)),
        Err(error) => world.error = Some(error),
    }
    world.judge(test)
}

/// Everything from the start to the end, in order of time; at one instant, what happens comes before what looks at it.
fn moments<'a>(rule: &Rule, test: &'a Test, business: &Business) -> Result<Vec<(Timestamp, Moment<'a>)>, String> {
    let future = test.happens.iter().filter(|one| one.at >= test.starts && one.at <= test.ends);
    let mut moments: Vec<(Timestamp, Moment)> = future.map(|one| (one.at, Moment::Happens(one))).collect();
    moments.extend(ticks(RESCORE, test, business)?.into_iter().map(|at| (at, Moment::Rescore)));
    if let Trigger::Schedule { cron } = &rule.card.trigger {
        moments.extend(ticks(cron, test, business)?.into_iter().map(|at| (at, Moment::Tick)));
    }
    moments.sort_by_key(|(at, moment)| {
        let rank = match moment {
            Moment::Happens(_) => 0,
            Moment::Rescore => 1,
            Moment::Tick => 2,
        };
        (*at, rank)
    });
    Ok(moments)
}

fn ticks(cron: &str, test: &Test, business: &Business) -> Result<Vec<Timestamp>, String> {
    let schedule = Schedule::parse(cron, business.zone.clone())?;
    let mut ticks = Vec::new();
    // A tick at the very start counts.
    let mut at = test.starts.minus(jiff::SignedDuration::from_micros(1));
    while let Some(next) = schedule.next_after(at).filter(|next| *next <= test.ends) {
        if ticks.len() == MOST_TICKS {
            return Err(format!("`{cron}` ticks more than {MOST_TICKS} times before the test ends"));
        }
        ticks.push(next);
        at = next;
    }
    Ok(ticks)
}

impl World<'_> {
    fn live(&mut self, at: Timestamp, moment: &Moment<'_>) {
        let event = match moment {
            Moment::Happens(happening) => self.happen(happening),
            Moment::Rescore | Moment::Tick => None,
        };
        // A tick of the rule looks at membership as the last event or night left it, as in the daemon.
        let (entered, left) = if matches!(moment, Moment::Tick) { Default::default() } else { self.follow(at) };
        let asks = match (&self.rule.card.trigger, moment) {
            (Trigger::Schedule { .. }, Moment::Tick) => true,
            (Trigger::On { event: name }, Moment::Happens(_)) => event.as_ref().is_some_and(|fact| fact.name == *name),
            (Trigger::Entering { segment }, _) => entered.contains(segment),
            (Trigger::Leaving { segment }, _) => left.contains(segment),
            _ => false,
        };
        if asks && self.error.is_none() {
            let event = event.filter(|_| matches!(self.rule.card.trigger, Trigger::On { .. }));
            self.ask(at, event);
        }
    }

    fn subject(&self, now: Timestamp, event: Option<Arc<Fact>>) -> Subject {
        Subject {
            customer: self.customer,
            profile: Arc::new(self.profile.clone()),
            scores: Arc::new(self.scores.clone()),
            segments: Arc::new(self.members.iter().map(|name| (name.clone(), true)).collect()),
            event,
            now,
            business: Arc::clone(&self.business),
        }
    }

    fn membership(&mut self, now: Timestamp) -> BTreeSet<String> {
        if let Some(stated) = &self.stated_segments {
            return stated.clone();
        }
        let (members, failures) = self.book.segments_of(&self.subject(now, None));
        if let Some(failure) = failures.first() {
            self.error = Some(failure.to_string());
        }
        members.iter().filter(|(_, is)| **is).map(|(name, _)| name.clone()).collect()
    }

    /// Brings membership up to date; gives back what was entered and what was left.
    fn follow(&mut self, now: Timestamp) -> (BTreeSet<String>, BTreeSet<String>) {
        let members = self.membership(now);
        let before = std::mem::replace(&mut self.members, members);
        let entered = self.members.difference(&before).cloned().collect();
        (entered, before.difference(&self.members).cloned().collect())
    }

    fn ask(&mut self, now: Timestamp, event: Option<Arc<Fact>>) {
        let subject = self.subject(now, event);
        if !self.rule.addresses(&subject) || self.quiet_until.is_some_and(|until| now < until) {
            return;
        }
        let Evaluation { matched, actions, trace, error, .. } = self.rule.evaluate(&subject);
        self.last = Some((now, trace));
        self.error = error;
        if !matched {
            return;
        }
        self.quiet_until = self.rule.card.cooldown.map(|cooldown| now.plus(cooldown));
        for action in actions {
            if let Action::SetTrait { name, value } = &action {
                let traits = Map::from_iter([(name.clone(), value.clone())]);
                self.fold(names::TRAIT_SET, now, Map::new(), traits);
            }
            self.got.push((now, action));
        }
    }

    fn happen(&mut self, happening: &Happening) -> Option<Arc<Fact>> {
        self.state(&happening.customer, happening.at);
        let name = happening.event.as_ref()?;
        Some(self.fold(name, happening.at, happening.properties.clone(), Map::new()))
    }

    fn fold(
        &mut self,
        name: &str,
        at: Timestamp,
        properties: Map<String, Value>,
        traits: Map<String, Value>,
    ) -> Arc<Fact> {
        self.n_events += 1;
        let fact = Fact {
            source: "test".to_owned(),
            message_id: self.n_events.to_string(),
            name: name.to_owned(),
            occurred_at: at,
            received_at: at,
            known_at: at,
            imported: false,
            identities: Identity::new(IdentityKind::UserId, "test").into_iter().collect(),
            traits,
            properties,
            context: Map::new(),
        };
        let event = Event { id: Event::id_of(&fact), customer: Some(self.customer), fact };
        self.profile.apply(&event, &self.business);
        Arc::new(event.fact)
    }

    /// Takes over what the test states of the customer.
    fn state(&mut self, customer: &Customer, at: Timestamp) {
        for (name, value) in customer {
            match name.as_str() {
                "churn_risk" => self.score(ScoreKind::ChurnRisk, |score| score.value = value.as_f64()),
                "churn_band" => self.score(ScoreKind::ChurnRisk, |score| score.band = text(value)),
                "lifetime_value" => self.score(ScoreKind::LifetimeValue, |score| score.value = value.as_f64()),
                "tier" => self.score(ScoreKind::Tier, |score| score.band = text(value)),
                "rfm" => self.score(ScoreKind::Rfm, |score| score.band = text(value)),
                "segments" => self.stated_segments = (!value.is_null()).then(|| segment_names(value)),
                _ => {
                    let stamp = (at, EventId::derive(at, &[name.as_bytes()]));
                    self.profile.traits.insert(name.clone(), Trait { value: value.clone(), stamp });
                }
            }
        }
    }

    fn score(&mut self, kind: ScoreKind, change: impl FnOnce(&mut Score)) {
        let unknown = || Score {
            value: None,
            band: None,
            interval: None,
            n: None,
            reasons: Vec::new(),
            model: "stated by the test".to_owned(),
        };
        change(self.scores.entry(kind).or_insert_with(unknown));
    }

    fn judge(self, test: &Test) -> Outcome {
        let fits = self.error.is_none()
            && self.got.len() == test.expect.len()
            && self.got.iter().zip(&test.expect).all(|((at, action), expected)| {
                expected.at.as_ref().is_none_or(|offset| offset.holds(test.starts, *at, &self.business))
                    && meets(action, expected)
            });
        if fits {
            return Outcome::Passed;
        }
        let zone = &self.business.zone;
        let day = |at: Timestamp| at.day(zone) - test.starts.day(zone);
        let (asked_at, seen) = self.last.map_or((None, Vec::new()), |(at, seen)| {
            let local = at.in_zone(zone).strftime("%Y-%m-%d %H:%M").to_string();
            (Some(format!("{}d, {local}", day(at))), seen)
        });
        Outcome::Failed {
            expected: test.expect.iter().map(expected_line).collect(),
            got: self.got.iter().map(|(at, action)| got_line(day(*at), test.starts, *at, action)).collect(),
            because: self.error,
            asked_at,
            seen,
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn meets(action: &Action, expected: &Expected) -> bool {
    let details = details(action);
    action.channel() == expected.channel
        && action.subject() == expected.subject
        && expected.vars.iter().all(|(key, wanted)| details.get(key).is_some_and(|got| same(got, wanted)))
        && expected.value.as_ref().is_none_or(|wanted| details.get("value").is_some_and(|got| same(got, wanted)))
}

/// As data, with `10` and `10.0` the same.
fn same(got: &Value, wanted: &Value) -> bool {
    match (got.as_f64(), wanted.as_f64()) {
        (Some(got), Some(wanted)) => (got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
        _ => got == wanted,
    }
}

fn details(action: &Action) -> Map<String, Value> {
    match action {
        Action::Email { vars, .. } => vars.clone(),
        Action::Webhook { data, .. } => data.clone(),
        Action::Task { details, .. } => details.clone(),
        Action::SetTrait { value, .. } => Map::from_iter([("value".to_owned(), value.clone())]),
    }
}

fn expected_line(expected: &Expected) -> String {
    let at = expected.at.as_ref().map_or("at any time", |offset| offset.text.as_str());
    let mut vars = expected.vars.clone();
    vars.extend(expected.value.clone().map(|value| ("value".to_owned(), value)));
    line(at, expected.channel, &expected.subject, vars)
}

fn got_line(day: i32, starts: Timestamp, at: Timestamp, action: &Action) -> String {
    let minutes = at.since(starts).as_mins();
    let at = if day == 0 { format!("{day}d ({minutes}m)") } else { format!("{day}d") };
    line(&at, action.channel(), action.subject(), details(action))
}

fn line(at: &str, channel: &str, subject: &str, vars: Map<String, Value>) -> String {
    let vars = if vars.is_empty() { String::new() } else { format!(" {}", Value::Object(vars)) };
    format!("{at}  {channel} \"{subject}\"{vars}")
}
