//! The desk: writes the durable steps of deliveries, whatever gathered in one commit, so sixteen connections share a sync
//! instead of paying for one each.
//!
//! An intent that cannot be written is refused, and nothing leaves. An outcome that cannot be written (a full disk, a
//! locked file) is known only here and is kept and written again until it stands: otherwise a mail that arrived would be
//! `unknown`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::domain::id::DeliveryId;
use crate::stores::{Move, Store, StoreError};

/// Before an outcome is written again; doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

struct Request {
    step: Move,
    answer: oneshot::Sender<Result<bool, String>>,
}

/// Writes moves, many to a commit.
#[derive(Clone)]
pub struct Desk {
    sender: mpsc::UnboundedSender<Request>,
    closing: Arc<AtomicBool>,
    more: Arc<Notify>,
    under_way: UnderWay,
}

type UnderWay = Arc<Mutex<BTreeMap<DeliveryId, &'static str>>>;

impl Desk {
    /// The desk, and its work, to be run by whoever owns the tasks. The work ends when the desk is dropped.
    pub fn open(store: Arc<dyn Store>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (closing, more, under_way) = Default::default();
        (Desk { sender, closing, more, under_way }, write(receiver, store))
    }

    /// Lets nothing new begin; what is under way is finished.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.more.notify_waiters();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Tells whoever is delivering that more was decided.
    pub fn wake(&self) {
        self.more.notify_waiters();
    }

    /// Ends when more was decided after this call.
    pub(super) fn more(&self) -> Notified<'_> {
        self.more.notified()
    }

    /// Deliveries that have begun and are not settled, with their channel.
    pub fn under_way(&self) -> BTreeMap<DeliveryId, &'static str> {
        lock(&self.under_way).clone()
    }

    /// Notes that a delivery has begun; until the answer is dropped.
    pub(super) fn begin(&self, delivery: DeliveryId, channel: &'static str) -> Begun {
        lock(&self.under_way).insert(delivery, channel);
        Begun { all: self.under_way.clone(), delivery }
    }

    /// Durable on return; `false` when the delivery is no longer ours to move.
    pub(super) async fn apply(&self, step: Move) -> Result<bool, String> {
        answer_to(self.hand_in(step)).await
    }

    /// Hands an outcome in, in front of whatever is handed in later; written when the answer has ended. When that is
    /// impossible the row stays as it is, and the next start sorts it out. `begun` is over then.
    pub(super) fn settle(&self, delivery: DeliveryId, step: Move, begun: Option<Begun>) -> Settling {
        let answer = self.hand_in(step);
        Box::pin(async move {
            if let Err(error) = answer_to(answer).await {
                tracing::error!(delivery.id = %delivery, error = %error, "an outcome could not be recorded");
            }
            drop(begun);
        })
    }

    fn hand_in(&self, step: Move) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(Request { step, answer }).ok()?;
        Some(answered)
    }
}

/// An outcome on its way to the disk.
pub(super) type Settling = Pin<Box<dyn Future<Output = ()> + Send>>;

type Answer = oneshot::Receiver<Result<bool, String>>;

async fn answer_to(request: Option<Answer>) -> Result<bool, String> {
    let gone = || "the daemon is shutting down".to_owned();
    request.ok_or_else(gone)?.await.map_err(|_| gone())?
}

/// A delivery under way.
pub(super) struct Begun {
    all: UnderWay,
    delivery: DeliveryId,
}

impl Drop for Begun {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.delivery);
    }
}

fn lock(under_way: &UnderWay) -> MutexGuard<'_, BTreeMap<DeliveryId, &'static str>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut receiver: mpsc::UnboundedReceiver<Request>, store: Arc<dyn Store>) {
    let mut kept: Vec<Request> = Vec::new();
    let mut pause = FIRST_PAUSE;
    loop {
        if kept.is_empty() {
            let Some(first) = receiver.recv().await else { return };
            kept.push(first);
        }
        while let Ok(more) = receiver.try_recv() {
            kept.push(more);
        }
        let moves: Vec<Move> = kept.iter().map(|request| request.step.clone()).collect();
        let error = match store.apply_moves(&moves).await {
            Ok(made) => {
                for (request, made) in kept.drain(..).zip(made) {
                    drop(request.answer.send(Ok(made)));
                }
                if pause > FIRST_PAUSE {
                    tracing::info!("the ledger can be written again");
                }
                pause = FIRST_PAUSE;
                continue;
            }
            Err(error) => error,
        };
        if pause == FIRST_PAUSE {
            tracing::error!(error = %error, "the ledger cannot be written; nothing leaves until it can");
        }
        // Nobody will ask again after the last sender is gone, and what is not to be understood stays so.
        let passes = matches!(error, StoreError::Unavailable(_) | StoreError::Full(_)) && !receiver.is_closed();
        let (known, refused) = kept.into_iter().partition(|request| passes && is_outcome(&request.step));
        kept = known;
        let refused: Vec<Request> = refused;
        for request in refused {
            drop(request.answer.send(Err(error.to_string())));
        }
        if !kept.is_empty() {
            tokio::time::sleep(pause).await;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_outcome(step: &Move) -> bool {
    matches!(step, Move::Settle { .. })
}
