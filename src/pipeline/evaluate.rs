//! Evaluate: should this rule do something for this customer on this occasion, and may it? Pure: the same rule version,
//! subject, occasion and ledger give the same decision, whether live, in a test or a year later.

use std::sync::Arc;

use jiff::SignedDuration;

use super::DecisionContext;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::consent::{Admission, AdmitRequest, MessageClass, Refusal, admit, held_out};
use crate::domain::delivery::{Delivery, DeliveryState, Firing};
use crate::domain::subject::Subject;
use crate::rules::Rule;
use crate::stores::{Contact, LedgerView, Refused};

/// Which time this is, and since when it is true.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// `tick:…`, `event:…` or `signal:…`.
    pub name: String,
    /// The instant that lateness counts from: the tick, or when the event happened.
    pub at: Timestamp,
}

/// What was decided.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Set when something is to happen, or would have but for the control group.
    pub firing: Option<Firing>,
    /// What is to happen.
    pub deliveries: Vec<Delivery>,
    /// What was not let through.
    pub refusals: Vec<Refused>,
    /// The script failed, at this place.
    pub failed_at: Option<String>,
    /// Why it came to nothing before anybody asked whether it may go.
    pub stopped: Option<Stopped>,
}

/// Why a rule did nothing for a customer, where it was not [`admit`] that said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The customer is not in the rule's audience.
    Audience,
    /// The rule fired for this customer at `last`, and leaves them alone until `until`.
    Cooldown {
        /// When it fired.
        last: Timestamp,
        /// When it may be asked again.
        until: Timestamp,
    },
    /// It has fired on this occasion.
    Fired,
    /// `when` said no.
    Condition,
    /// The script failed: [`Decision::failed_at`] says where.
    Failed,
    /// `then` wants nothing done.
    NothingWanted,
}

/// Whether the rule may be asked at all: audience, cooldown, and once per occasion. Cheap, before any script runs.
fn stopped(rule: &Rule, subject: &Subject, occasion: &str, ledger: &LedgerView) -> Option<Stopped> {
    if !rule.addresses(subject) {
        return Some(Stopped::Audience);
    }
    if let (Some(cooldown), Some(&last)) = (rule.card.cooldown, ledger.last_firing.get(&rule.id)) {
        let until = last.plus(cooldown);
        if until > subject.now {
            return Some(Stopped::Cooldown { last, until });
        }
    }
    ledger.occasions.contains(&(rule.id.clone(), occasion.to_owned())).then_some(Stopped::Fired)
}

/// Asks the rule and puts what it wants through [`admit`].
///
/// Refusals are counted and start no cooldown: a customer who consents tomorrow can be written to tomorrow. The control
/// group is drawn among those who would have been admitted, so that both groups are alike.
pub fn decide(
    rule: &Rule,
    subject: &Subject,
    occasion: &Occasion,
    ledger: &mut LedgerView,
    context: &DecisionContext,
) -> Decision {
    let mut decision = Decision { stopped: stopped(rule, subject, &occasion.name, ledger), ..Decision::default() };
    if decision.stopped.is_some() {
        return decision;
    }
    if rule.surely_not(subject) {
        decision.stopped = Some(Stopped::Condition);
        return decision;
    }
    let evaluation = rule.evaluate(subject);
    decision.stopped = match (&evaluation.failed_at, evaluation.matched) {
        (Some(_), _) => Some(Stopped::Failed),
        (None, false) => Some(Stopped::Condition),
        (None, true) => evaluation.actions.is_empty().then_some(Stopped::NothingWanted),
    };
    decision.failed_at = evaluation.failed_at;
    if decision.stopped.is_some() {
        return decision;
    }
    let now = subject.now;
    // What may have gone out at its time is noted, however late it is by now: cooldown and cap count from it.
    let since = if context.doubt.is_some() { now } else { occasion.at };
    let expires_at = since.plus(rule.card.max_lateness);
    let firing = Firing {
        id: Firing::id_of(&rule.id, subject.customer, &occasion.name, now),
        rule: rule.id.clone(),
        rule_version: rule.version.clone(),
        customer: subject.customer,
        occasion: occasion.name.clone(),
        at: now,
        held_out: held_out(&rule.id, subject.customer, rule.card.holdout),
        trace: evaluation.trace,
    };
    let mut contacts: Vec<Timestamp> = ledger.contacts.iter().map(|contact| contact.at).collect();
    for (step, action) in (0..).zip(evaluation.actions) {
        let (class, topic) = class_of(&action, context);
        let request = AdmitRequest {
            profile: &subject.profile,
            channel: action.channel(),
            class,
            topic: topic.as_deref(),
            decided_at: now,
            expires_at,
            contacts: &contacts,
        };
        let (state, due_at, reason) = match admit(&request, &context.policy, now) {
            Admission::Send => (DeliveryState::Due, now, None),
            Admission::Hold { until, why } => (DeliveryState::Held, until, Some(why.to_string())),
            Admission::Refuse(refusal) => {
                decision.refusals.push(refused(&firing, step, refusal));
                continue;
            }
        };
        let (state, reason) = match &context.doubt {
            None => (state, reason),
            Some(doubt) => (DeliveryState::Unknown, Some(doubt.to_string())),
        };
        if class == Some(MessageClass::Marketing) {
            contacts.push(due_at);
            contacts.sort_unstable();
        }
        decision.deliveries.push(Delivery {
            id: Delivery::id_of(firing.id, step, now),
            firing: firing.id,
            rule: firing.rule.clone(),
            customer: firing.customer,
            step,
            action,
            class,
            topic,
            state,
            decided_at: now,
            due_at,
            expires_at,
            n_attempts: 0,
            settled_at: None,
            reason,
            receipt: None,
        });
    }
    if decision.deliveries.is_empty() {
        return decision;
    }
    ledger.last_firing.insert(firing.rule.clone(), now);
    ledger.occasions.insert((firing.rule.clone(), firing.occasion.clone()));
    if firing.held_out {
        decision.deliveries.clear();
    }
    let marketing = decision.deliveries.iter().filter(|d| d.class == Some(MessageClass::Marketing));
    ledger.contacts.extend(marketing.map(|d| Contact { at: d.due_at, delivery: d.id, waits: true, leased: false }));
    ledger.contacts.sort_unstable();
    decision.firing = Some(firing);
    decision
}

/// What kind of message an action is. A template that is gone counts as marketing: the strictest class.
pub fn class_of(action: &Action, context: &DecisionContext) -> (Option<MessageClass>, Option<String>) {
    match action {
        Action::Email { template, .. } => match context.templates.get(template) {
            Some(card) => (Some(card.class), card.topic.clone()),
            None => (Some(MessageClass::Marketing), None),
        },
        _ => (None, None),
    }
}

fn refused(firing: &Firing, step: u32, refusal: Refusal) -> Refused {
    Refused {
        rule: firing.rule.clone(),
        customer: firing.customer,
        step,
        reason: refusal.as_str(),
        occasion: firing.occasion.clone(),
        at: firing.at,
    }
}

/// How far back the ledger must be read: the cap's window, and two days for occasions that are asked about twice.
pub fn ledger_since(context: &DecisionContext, now: Timestamp) -> Timestamp {
    let window = context.policy.cap.map_or(SignedDuration::ZERO, |cap| cap.window);
    now.minus(window.max(SignedDuration::from_hours(48)))
}

/// The rules that an event of this name wakes.
pub fn woken_by_event<'a>(context: &'a DecisionContext, name: &str) -> impl Iterator<Item = &'a Arc<Rule>> {
    let wakes = move |rule: &&Arc<Rule>| matches!(&rule.card.trigger, crate::domain::rule::Trigger::On { event } if event == name);
    context.book.rules().filter(wakes)
}
