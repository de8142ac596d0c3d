//! Deliver: the only verb that acts on the world. Claim under a lease, ask once more whether it may go, hand it to its
//! channel, settle what came of it.
//!
//! Every durable step of every delivery (the intent before the irreversible byte, the outcome after it) goes through one
//! [`Desk`], which writes whatever gathered in one commit: sixteen connections then share a sync instead of paying for one
//! each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::SignedDuration;
use tokio::sync::{Notify, mpsc, oneshot};

use super::evaluate::ledger_since;
use super::score::subject;
use super::{DecisionContext, Pipeline, PipelineError};
use crate::channels::{Channel, CommitPoint, Dispatch};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::consent::{Admission, AdmitRequest, MessageClass, Refusal, admit};
use crate::domain::delivery::{Delivery, DeliveryState, Doubt, Outcome, next_attempt};
use crate::domain::id::{CustomerId, DeliveryId};
use crate::domain::unsubscribe::Unsubscribe;
use crate::stores::{CustomerState, LedgerView, Move, Store};
use crate::telemetry::Stopwatch;

/// How long a worker may hold a delivery. Longer than any channel's own limits, so a lease only runs out for the dead.
const LEASE: SignedDuration = SignedDuration::from_mins(15);

/// While receivers are slow: how soon what has fallen due meanwhile is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

struct Request {
    step: Move,
    answer: oneshot::Sender<Result<bool, String>>,
}

/// Writes moves, many to a commit.
#[derive(Clone)]
pub struct Desk {
    sender: mpsc::UnboundedSender<Request>,
}

impl Desk {
    /// The desk, and its work, to be run by whoever owns the tasks.
    pub fn open(store: Arc<dyn Store>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Request>();
        let work = async move {
            while let Some(first) = receiver.recv().await {
                let mut requests = vec![first];
                while let Ok(more) = receiver.try_recv() {
                    requests.push(more);
                }
                let (moves, answers): (Vec<Move>, Vec<_>) = requests.into_iter().map(|r| (r.step, r.answer)).unzip();
                match store.apply_moves(&moves).await {
                    Ok(made) => {
                        for (answer, made) in answers.into_iter().zip(made) {
                            drop(answer.send(Ok(made)));
                        }
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "the ledger could not be written");
                        for answer in answers {
                            drop(answer.send(Err(error.to_string())));
                        }
                    }
                }
            }
        };
        (Desk { sender }, work)
    }

    /// Durable on return; `false` when the delivery is no longer ours to move.
    async fn apply(&self, step: Move) -> Result<bool, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the daemon is shutting down".to_owned();
        self.sender.send(Request { step, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
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
        let abandoned = self.store.abandoned_deliveries(None).await?;
        let now = self.clock.now();
        let moves: Vec<Move> = abandoned
            .iter()
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
        if !moves.is_empty() {
            self.store.apply_moves(&moves).await?;
            tracing::info!(n_deliveries = moves.len(), "deliveries under way at the last stop were sorted out");
        }
        Ok(moves.len())
    }

    /// Carries out everything that may leave through `channel` by now; returns when nothing of it is left.
    pub async fn deliver_due(&self, channel: &dyn Channel, desk: &Desk) -> Result<u64, PipelineError> {
        self.deliver_while(channel, desk, None).await
    }

    /// The same, but what is `decided` or falls due meanwhile leaves beside a receiver that takes its time.
    pub async fn deliver_beside(
        &self,
        channel: &dyn Channel,
        desk: &Desk,
        decided: &Notify,
    ) -> Result<u64, PipelineError> {
        self.deliver_while(channel, desk, Some(decided)).await
    }

    async fn deliver_while(
        &self,
        channel: &dyn Channel,
        desk: &Desk,
        decided: Option<&Notify>,
    ) -> Result<u64, PipelineError> {
        let mut under_way = FuturesUnordered::new();
        let mut n = 0;
        // Nothing has come back for a while, so a claim is not too many for what it finds.
        let mut is_slow = false;
        loop {
            let free = channel.concurrency().max(1).saturating_sub(under_way.len());
            let now = self.clock.now();
            // Claims are made in strides: a claim for each freed place would be a sync for each mail.
            let claimed = if free * 2 > channel.concurrency() || under_way.is_empty() || (is_slow && free > 0) {
                self.store.claim_deliveries(channel.name(), now, now.plus(LEASE), free).await?
            } else {
                Vec::new()
            };
            let (states, ledger) = self.read_about(&claimed).await?;
            for delivery in claimed {
                let state = states.get(&delivery.customer).cloned();
                let view = ledger.get(&delivery.customer).cloned().unwrap_or_default();
                under_way.push(self.deliver_one(channel, desk, delivery, state, view));
            }
            let has_room = under_way.len() < channel.concurrency().max(1);
            tokio::select! {
                biased;
                done = under_way.next() => {
                    is_slow = false;
                    match done {
                        Some(()) => n += 1,
                        None => return Ok(n),
                    }
                }
                () = more(decided), if has_room => is_slow = true,
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

    async fn deliver_one(
        &self,
        channel: &dyn Channel,
        desk: &Desk,
        delivery: Delivery,
        state: Option<CustomerState>,
        ledger: LedgerView,
    ) {
        let now = self.clock.now();
        let context = self.context();
        let _in_flight = self.metrics.in_flight(channel.name());
        let step = match state {
            None => {
                let reason = Some("the customer is no longer known".to_owned());
                settle(&delivery, DeliveryState::Dropped, None, reason, None, false, now)
            }
            Some(state) => match last_admission(&delivery, &state, &ledger, &context, now) {
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
        // On failure the row stays as it is; the next start, or the lease's end, sorts it out.
        if let Err(error) = desk.apply(step).await {
            tracing::error!(delivery.id = %delivery.id, error = %error, "an outcome could not be recorded");
        }
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

/// Until there may be more to claim; for ever where nobody decides meanwhile.
async fn more(decided: Option<&Notify>) {
    match decided {
        None => std::future::pending().await,
        Some(decided) => drop(tokio::time::timeout(LOOK_AGAIN, decided.notified()).await),
    }
}

/// Consent may have been withdrawn, and the night may have come, since it was decided.
fn last_admission(
    delivery: &Delivery,
    state: &CustomerState,
    ledger: &LedgerView,
    context: &DecisionContext,
    now: Timestamp,
) -> Admission {
    // The cap counts what left, or leaves, before this one.
    let own = ledger.contacts.iter().position(|(_, id)| *id == delivery.id);
    let before = &ledger.contacts[..own.unwrap_or(ledger.contacts.len())];
    let contacts: Vec<Timestamp> = before.iter().map(|(at, _)| *at).collect();
    let request = AdmitRequest {
        profile: &state.profile,
        channel: delivery.action.channel(),
        class: delivery.class,
        topic: delivery.topic.as_deref(),
        decided_at: delivery.decided_at,
        expires_at: delivery.expires_at,
        contacts: &contacts,
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
