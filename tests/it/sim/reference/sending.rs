//! What happened to every delivery, and whether it was allowed to: promises 4 to 6, consent, quiet hours and cap.

use std::collections::BTreeMap;

use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::delivery::{Delivery, DeliveryState};
use rekindle::domain::id::{CustomerId, DeliveryId};
use rekindle::stores::Move;

use super::Reference;
use super::person::Verdict;
use crate::sim::scene::{RULES, Step};

#[derive(Default)]
pub(crate) struct Sending {
    pub(crate) deliveries: BTreeMap<DeliveryId, Fate>,
    /// Crashes and failed calls so far.
    pub(crate) n_troubles: u32,
}

pub(crate) struct Fate {
    pub(crate) delivery: Delivery,
    /// When the receiver accepted it; it may not have been able to say so.
    accepted: Vec<Timestamp>,
    /// What would have been said to it when it was claimed.
    at_claim: Verdict,
    /// The receiver has not answered.
    unanswered: bool,
    troubles_at_intent: u32,
}

impl Sending {
    pub(super) fn decided(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let (accepted, at_claim) = (Vec::new(), Verdict::Yes);
            let fate =
                Fate { delivery: delivery.clone(), accepted, at_claim, unanswered: false, troubles_at_intent: 0 };
            self.deliveries.entry(delivery.id).or_insert(fate);
        }
    }

    /// When marketing reached these customers, or is to.
    pub(super) fn contacts(&self, whose: impl Fn(CustomerId) -> bool) -> Vec<Timestamp> {
        let counts = |d: &Delivery| {
            let gone = [DeliveryState::Failed, DeliveryState::Expired, DeliveryState::Dropped].contains(&d.state);
            d.class == Some(MessageClass::Marketing) && !gone && whose(d.customer)
        };
        let all = self.deliveries.values().map(|fate| &fate.delivery).filter(|d| counts(d));
        all.map(|d| d.settled_at.unwrap_or(d.due_at.max(d.decided_at))).collect()
    }
}

impl Reference<'_> {
    /// What is to be said to this delivery now. For the cap, only what a receiver accepted counts.
    fn may_leave(&self, id: DeliveryId, now: Timestamp) -> Verdict {
        let own = &self.sending.deliveries[&id].delivery;
        let customer = self.today(own.customer);
        let rule = RULES.iter().find(|rule| rule.id == own.rule).unwrap();
        let kind: Step = rule.steps[own.step as usize];
        let others = self.sending.deliveries.values().filter(|fate| fate.delivery.id != id);
        let marketing = others.filter(|fate| fate.delivery.class == Some(MessageClass::Marketing));
        let reached = marketing.filter(|fate| self.today(fate.delivery.customer) == customer);
        let reached: Vec<Timestamp> = reached.filter_map(|fate| fate.accepted.last().copied()).collect();
        self.person(customer, now).verdict(kind, own.expires_at, &reached, self.world.orders.cap, now)
    }

    pub(super) fn claimed(&mut self, deliveries: &[Delivery], now: Timestamp) {
        for delivery in deliveries {
            let at_claim = self.may_leave(delivery.id, now);
            let fate = self.sending.deliveries.get_mut(&delivery.id).unwrap();
            let waited = matches!(fate.delivery.state, DeliveryState::Due | DeliveryState::Held);
            fate.at_claim = at_claim;
            fate.delivery.state = DeliveryState::Leased;
            if !waited {
                self.wrong(now, &format!("{} is claimed and was not waiting", delivery.id));
            }
        }
    }

    pub(super) fn left(&mut self, id: DeliveryId, accepted: bool, answer: &str, now: Timestamp) {
        let (verdict, side_by_side) = (self.may_leave(id, now), self.world.side_by_side);
        let fate = self.sending.deliveries.get_mut(&id).unwrap();
        fate.unanswered = answer == "none";
        if accepted {
            fate.accepted.push(now);
        }
        let d = &fate.delivery;
        let mut wrong = Vec::new();
        // What changed between claim and sending is the event's bad luck, not ours. The cap only changes by what we send
        // ourselves, or when two customers become one meanwhile.
        let capped = matches!(verdict, Verdict::Wait(_, "frequency cap") | Verdict::Refused("frequency_cap"));
        if capped && !side_by_side || verdict != Verdict::Yes && fate.at_claim != Verdict::Yes {
            wrong.push(format!("{id} of {} leaves although: {verdict:?}", d.rule));
        }
        if d.state != DeliveryState::Committing {
            wrong.push(format!("{id} of {} leaves while it is {}", d.rule, d.state));
        }
        if d.class.is_some() && fate.accepted.len() > 1 {
            wrong.push(format!("{id} of {} reaches the person twice", d.rule));
        }
        for what in &wrong {
            self.wrong(now, what);
        }
    }

    pub(super) fn moved(&mut self, one: &Move, now: Timestamp) {
        let n_troubles = self.sending.n_troubles;
        match one {
            Move::Commit { delivery, .. } => {
                let fate = self.fate(*delivery);
                fate.troubles_at_intent = n_troubles;
                fate.delivery.state = DeliveryState::Committing;
            }
            Move::OpenTask { delivery, at } => {
                let fate = self.fate(delivery.id);
                fate.delivery.state = DeliveryState::Sent;
                fate.delivery.settled_at = Some(*at);
            }
            Move::Settle { delivery, state, due_at, reason, at, .. } => {
                let fate = self.fate(*delivery);
                let (before, at_claim) = (fate.delivery.state, fate.at_claim.clone());
                let hidden = fate.unanswered || fate.troubles_at_intent < n_troubles;
                fate.delivery.state = *state;
                fate.delivery.due_at = due_at.unwrap_or(fate.delivery.due_at);
                let waits = matches!(state, DeliveryState::Due | DeliveryState::Held);
                fate.delivery.settled_at = (!waits).then_some(*at);
                let was_accepted = !fate.accepted.is_empty();
                if *state == DeliveryState::Unknown && (before != DeliveryState::Committing || !hidden) {
                    self.wrong(now, &format!("{delivery} is unknown, and nothing has hidden its end"));
                }
                if *state == DeliveryState::Sent && !was_accepted && self.to_the_outside(*delivery) {
                    self.wrong(now, &format!("{delivery} is sent, and no receiver has it"));
                }
                if *state == DeliveryState::Dropped {
                    let refused = |v: &Verdict| matches!(v, Verdict::Refused(why) if Some(*why) == reason.as_deref());
                    // The cap counts what is under way as well; a place that stays free is nobody's loss.
                    let capped = reason.as_deref() == Some("frequency_cap");
                    if !capped && !refused(&at_claim) && !refused(&self.may_leave(*delivery, now)) {
                        self.wrong(now, &format!("{delivery} is dropped ({reason:?}) without need"));
                    }
                }
            }
        }
    }

    fn fate(&mut self, id: DeliveryId) -> &mut Fate {
        self.sending.deliveries.get_mut(&id).unwrap()
    }

    fn to_the_outside(&self, id: DeliveryId) -> bool {
        ["email", "webhook"].contains(&self.sending.deliveries[&id].delivery.action.channel())
    }
}
