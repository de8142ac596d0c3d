//! Deliver: the only verb that acts on the world. Claim under a lease, ask once more whether it may go, hand it to its
//! channel, settle what came of it.
//!
//! Every durable step of every delivery (the intent before the irreversible byte, the outcome after it) goes through one
//! [`Desk`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::SignedDuration;

use super::desk::Settling;
pub use super::desk::{Desk, Wait, by_the_clock};
use super::evaluate::ledger_since;
use super::score::subject;
use super::{DecisionContext, Pipeline, PipelineError};
use crate::channels::{Channel, CommitPoint, Dispatch};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::consent::{Admission, AdmitRequest, MessageClass, Refusal, admit};
use crate::domain::delivery::{Delivery, DeliveryState, Doubt, Outcome, next_attempt};
use crate::domain::id::{CustomerId, DeliveryId};
use crate::domain::unsubscribe::Unsubscribe;
use crate::stores::{Contact, CustomerState, LedgerView, Move};
use crate::telemetry::Stopwatch;

/// How long a worker may hold a delivery. Longer than any channel's own limits, so a lease only runs out for the dead.
const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// What was read of a customer longer ago than this is read again before anything leaves.
const FRESH: SignedDuration = SignedDuration::from_secs(1);
/// As many times as there are places.
const CLAIMED_AHEAD: usize = 4;
/// While something is under way that takes long: how soon a retry is noticed that has fallen due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What must be known of a delivery's customer just before it leaves.
struct About {
    state: Option<CustomerState>,
    /// When marketing reached the customer, or is just about to, oldest first.
    contacts: Vec<Timestamp>,
    read_at: Timestamp,
}

struct Intent<'a> {
    desk: &'a Desk,
    delivery: DeliveryId,
    clock: &'a dyn Clock,
}

#[async_trait]
impl CommitPoint for Intent<'_> {
    async fn commit(&self) -> Result<(), String> {
        let step = Move::Commit { delivery: self.delivery, at: self.clock.now() };
        let ours = self.desk.apply(step).await?;
        if ours { Ok(()) } else { Err("the lease on this delivery was lost".to_owned()) }
    }
}

impl Pipeline {
    /// At the start: what a process that is gone left under way. Without an intent it reached nobody and is due again;
    /// with one, the channel says what doubt means.
    pub async fn recover_deliveries(&self) -> Result<usize, PipelineError> {
        let moves = self.recoveries(|_| true).await?;
        if !moves.is_empty() {
            self.store.apply_moves(&moves).await?;
            tracing::info!(n_deliveries = moves.len(), "deliveries under way at the last stop were sorted out");
        }
        Ok(moves.len())
    }

    /// After a worker of `channel` failed: what the store says is under way there and nobody has in hand (a commit whose
    /// answer was lost, a worker that panicked) is sorted out as at a start.
    pub async fn recover_orphans(&self, channel: &dyn Channel, desk: &Desk) -> Result<usize, PipelineError> {
        let in_hand = desk.under_way();
        let ours = |d: &Delivery| d.action.channel() == channel.name() && !in_hand.contains_key(&d.id);
        let moves = self.recoveries(ours).await?;
        if !moves.is_empty() {
            self.store.apply_moves(&moves).await?;
            tracing::warn!(n_deliveries = moves.len(), "deliveries that nobody had in hand any more were sorted out");
        }
        Ok(moves.len())
    }

    async fn recoveries(&self, wanted: impl Fn(&Delivery) -> bool) -> Result<Vec<Move>, PipelineError> {
        let abandoned = self.store.abandoned_deliveries(None).await?;
        let now = self.clock.now();
        let moves = abandoned
            .iter()
            .filter(|delivery| wanted(delivery))
            .map(|delivery| {
                let doubt = self.channel(delivery).map_or(Doubt::Hold, |channel| channel.doubt());
                let known = delivery.state == DeliveryState::Leased || doubt == Doubt::Resend;
                let (state, reason) = if known {
                    (DeliveryState::Due, "taken up again after a restart")
                } else {
                    (DeliveryState::Unknown, "the daemon stopped between sending and the receiver's answer")
                };
                let due_at = known.then_some(now);
                settle(delivery, state, due_at, Some(reason.to_owned()), None, !known, now)
            })
            .collect();
        Ok(moves)
    }

    /// Carries out everything that may leave through `channel` by now; returns when nothing of it is left, or the desk is
    /// closing. What has begun is always finished: to drop a mail between its content and the answer would make its fate
    /// unknown for no reason. Meanwhile what falls due is begun too, as far as there are places, so a receiver that hangs
    /// holds up its own place and nobody else.
    pub async fn deliver_due(&self, channel: &dyn Channel, desk: &Desk) -> Result<u64, PipelineError> {
        let limit = channel.concurrency().max(1);
        let (mut under_way, mut settling) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut waiting = VecDeque::new();
        let mut claiming = None;
        let mut failure = None;
        let (mut n, mut asked, mut more) = (0, 0, true);
        let news = desk.more();
        tokio::pin!(news);
        loop {
            // Unless outcomes cannot be written just now: they are kept, and must not become many.
            while under_way.len() < limit && settling.len() < limit && !desk.is_closing() {
                let Some((delivery, about)) = waiting.pop_front() else { break };
                under_way.push(self.deliver_one(channel, desk, delivery, about));
            }
            // Claims are made in strides and ahead: a claim for each freed place would be a sync for each mail, and places
            // would be empty until it is there.
            let room = (CLAIMED_AHEAD * limit).saturating_sub(under_way.len() + waiting.len());
            let may_claim = more && failure.is_none() && !desk.is_closing();
            if may_claim && claiming.is_none() && room > limit {
                claiming = Some(Box::pin(self.claim(channel, desk, self.clock.now(), room)));
                (asked, more) = (room, false);
            }
            if desk.is_closing() {
                for (delivery, _) in waiting.drain(..) {
                    let back = settle(&delivery, DeliveryState::Due, None, None, None, false, self.clock.now());
                    settling.push(desk.settle(delivery.id, back, None));
                }
            }
            // Biased: what happens in one order is carried out in one order, and a simulated world can be lived again.
            tokio::select! {
                biased;
                claimed = async { claiming.as_mut().expect("asked for only if there is one").await }, if claiming.is_some() => {
                    claiming = None;
                    match claimed {
                        Ok(claimed) => {
                            more |= claimed.len() == asked;
                            waiting.extend(claimed);
                        }
                        Err(error) => {
                            let channel = channel.name();
                            tracing::warn!(
                                channel,
                                error = %error,
                                "nothing new is begun by {channel} until what is under way has ended"
                            );
                            failure = Some(error);
                        }
                    }
                }
                // The outcome is in front of whatever the freed place will want to write, so it need not be waited for.
                Some(outcome) = under_way.next(), if !under_way.is_empty() => {
                    n += 1;
                    more = true;
                    settling.push(outcome);
                }
                Some(()) = settling.next(), if !settling.is_empty() => {}
                // One that hangs must not keep those waiting that were decided meanwhile.
                () = &mut news, if !under_way.is_empty() => {
                    more = true;
                    news.set(desk.more());
                }
                () = desk.wait(LOOK_AGAIN), if !under_way.is_empty() => more = true,
                else => return failure.map_or(Ok(n), Err),
            }
        }
    }

    /// Leases up to `free` deliveries and reads what must be known about their customers. A lease that cannot be used is
    /// given back.
    async fn claim(
        &self,
        channel: &dyn Channel,
        desk: &Desk,
        now: Timestamp,
        free: usize,
    ) -> Result<Vec<(Delivery, About)>, PipelineError> {
        let claimed = self.store.claim_deliveries(channel.name(), now, now.plus(LEASE), free).await?;
        match self.read_about(&claimed).await {
            Ok((states, ledger)) => {
                let ids: Vec<DeliveryId> = claimed.iter().map(|delivery| delivery.id).collect();
                let about = |(n, delivery): (usize, Delivery)| {
                    // The cap counts what left and what is leaving; of those claimed together, the ones before this one.
                    // What waits is asked when its turn comes.
                    let ahead = |contact: &Contact| !contact.waits && !ids[n..].contains(&contact.delivery);
                    let contacts = counted(ledger.get(&delivery.customer), ahead);
                    let about = About { state: states.get(&delivery.customer).cloned(), contacts, read_at: now };
                    (delivery, about)
                };
                Ok(claimed.into_iter().enumerate().map(about).collect())
            }
            Err(error) => {
                for delivery in claimed {
                    let reason = Some("the customer could not be read".to_owned());
                    let back = settle(&delivery, DeliveryState::Due, None, reason, None, false, now);
                    desk.settle(delivery.id, back, None).await;
                }
                Err(error)
            }
        }
    }

    async fn read_about(
        &self,
        deliveries: &[Delivery],
    ) -> Result<(HashMap<CustomerId, CustomerState>, HashMap<CustomerId, LedgerView>), PipelineError> {
        if deliveries.is_empty() {
            return Ok(Default::default());
        }
        let ids: Vec<CustomerId> = deliveries.iter().map(|d| d.customer).collect();
        let since = ledger_since(&self.context(), self.clock.now());
        Ok((self.store.load_customers(&ids).await?, self.store.ledger_of(&ids, since).await?))
    }

    /// Carries one out; the outcome is handed to the desk on return, and stands when what is returned has ended.
    async fn deliver_one(&self, channel: &dyn Channel, desk: &Desk, delivery: Delivery, about: About) -> Settling {
        let begun = desk.begin(delivery.id, channel.name());
        let now = self.clock.now();
        let about = if now.since(about.read_at) > FRESH { self.read_again(&delivery, desk).await } else { Ok(about) };
        let Ok(About { state, contacts, .. }) = about else {
            let reason = Some("the customer could not be read".to_owned());
            let back = settle(&delivery, DeliveryState::Due, None, reason, None, false, now);
            return desk.settle(delivery.id, back, Some(begun));
        };
        let context = self.context();
        let _in_flight = self.metrics.in_flight(channel.name());
        let step = match state {
            None => {
                let reason = Some("the customer is no longer known".to_owned());
                settle(&delivery, DeliveryState::Dropped, None, reason, None, false, now)
            }
            Some(state) => match last_admission(&delivery, &state, &contacts, &context, now) {
                Admission::Send => {
                    let dispatch = self.dispatch(&delivery, &state, &context, now);
                    let intent = Intent { desk, delivery: delivery.id, clock: &*self.clock };
                    let since = Stopwatch::start();
                    let outcome = channel.deliver(&dispatch, &intent).await;
                    self.metrics.attempted(channel.name(), since);
                    after_attempt(&delivery, outcome, self.clock.now())
                }
                Admission::Hold { until, why } => {
                    settle(&delivery, DeliveryState::Held, Some(until), Some(why.to_string()), None, false, now)
                }
                Admission::Refuse(refusal) => {
                    self.metrics.refusals(refusal.as_str(), 1);
                    let late = matches!(refusal, Refusal::TooLate);
                    let state = if late { DeliveryState::Expired } else { DeliveryState::Dropped };
                    settle(&delivery, state, None, Some(refusal.as_str().to_owned()), None, false, now)
                }
            },
        };
        if let Move::Settle { state, .. } = &step {
            self.metrics.deliveries(channel.name(), state.as_str(), 1);
        }
        desk.settle(delivery.id, step, Some(begun))
    }

    async fn read_again(&self, delivery: &Delivery, desk: &Desk) -> Result<About, PipelineError> {
        // They are begun in the order in which they were claimed: what is leased and has not begun comes later.
        let begun = desk.under_way();
        let (mut states, ledger) = self.read_about(std::slice::from_ref(delivery)).await?;
        let ahead = |contact: &Contact| {
            let leaving = !contact.leased || begun.contains_key(&contact.delivery);
            !contact.waits && leaving && contact.delivery != delivery.id
        };
        let contacts = counted(ledger.values().next(), ahead);
        Ok(About { state: states.remove(&delivery.customer), contacts, read_at: self.clock.now() })
    }

    fn dispatch(
        &self,
        delivery: &Delivery,
        state: &CustomerState,
        context: &DecisionContext,
        now: Timestamp,
    ) -> Dispatch {
        let link = |topic: &Option<String>| {
            let leave = Unsubscribe { customer: delivery.customer, delivery: delivery.id, topic: topic.clone() };
            format!("{}/u/{}", self.public_url, self.unsubscribe.sign(&leave))
        };
        Dispatch {
            delivery: delivery.clone(),
            email: state.profile.email(),
            customer: subject(state, None, now, context).template_view(),
            unsubscribe_url: (delivery.class == Some(MessageClass::Marketing)).then(|| link(&delivery.topic)),
            now,
        }
    }

    fn channel(&self, delivery: &Delivery) -> Option<&Arc<dyn Channel>> {
        self.channels.iter().find(|channel| channel.name() == delivery.action.channel())
    }
}

fn counted(view: Option<&LedgerView>, counts: impl Fn(&Contact) -> bool) -> Vec<Timestamp> {
    let contacts = view.map_or(&[][..], |view| &view.contacts);
    contacts.iter().filter(|contact| counts(contact)).map(|contact| contact.at).collect()
}

/// Consent may have been withdrawn, and the night may have come, since it was decided.
fn last_admission(
    delivery: &Delivery,
    state: &CustomerState,
    contacts: &[Timestamp],
    context: &DecisionContext,
    now: Timestamp,
) -> Admission {
    let request = AdmitRequest {
        profile: &state.profile,
        channel: delivery.action.channel(),
        class: delivery.class,
        topic: delivery.topic.as_deref(),
        decided_at: delivery.decided_at,
        expires_at: delivery.expires_at,
        contacts,
    };
    admit(&request, &context.policy, now)
}

/// Where an attempt leads. A retry that would come too late is the end.
fn after_attempt(delivery: &Delivery, outcome: Outcome, now: Timestamp) -> Move {
    let n_attempts = delivery.n_attempts + 1;
    match outcome {
        Outcome::Sent { receipt } => settle(delivery, DeliveryState::Sent, None, None, Some(receipt), true, now),
        Outcome::Failed { why } => settle(delivery, DeliveryState::Failed, None, Some(why), None, true, now),
        Outcome::Unknown { why } => settle(delivery, DeliveryState::Unknown, None, Some(why), None, true, now),
        Outcome::Retry { after, why } => {
            let next = next_attempt(delivery.id, n_attempts, after, now);
            match next {
                Some(at) if at <= delivery.expires_at => {
                    settle(delivery, DeliveryState::Due, Some(at), Some(why), None, true, now)
                }
                Some(_) => settle(delivery, DeliveryState::Expired, None, Some(why), None, true, now),
                None => settle(delivery, DeliveryState::Failed, None, Some(why), None, true, now),
            }
        }
    }
}

fn settle(
    delivery: &Delivery,
    state: DeliveryState,
    due_at: Option<Timestamp>,
    reason: Option<String>,
    receipt: Option<String>,
    attempt: bool,
    at: Timestamp,
) -> Move {
    Move::Settle { delivery: delivery.id, state, due_at, reason, receipt, attempt, at }
}
