//! Ingest: facts are appended to the log and synced; only then is anybody told that we have them.
//!
//! One task owns the log. Whatever was handed in while its last commit was under way goes into the next one, so a single
//! sync acknowledges many requests and an idle log acknowledges at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::connectors::{Connector, ConnectorError, Counts};
use crate::domain::clock::Clock;
use crate::domain::event::Fact;
use crate::domain::quarantine::Quarantined;
use crate::stores::{Append, Log, StoreError};
use crate::telemetry::{Metrics, Stopwatch};

/// Facts that may wait for the log. Past this, senders are told to come back.
const MAX_WAITING: usize = 100_000;
/// Facts in one commit: bounds how long the first of them waits.
const MAX_PER_COMMIT: usize = 10_000;

/// How much of a record quarantine keeps.
const RECORD_BYTES: usize = 64 * 1_024;

/// Why facts were not taken in. The sender still has them and should try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// More is waiting to be written than may be; nothing was kept.
    #[error("too much is waiting to be written; try again in {retry_after_seconds} s")]
    Busy {
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is shutting down")]
    Draining,
    /// The log could not be written (a full disk, a locked file).
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
    /// There is no room to keep them.
    #[error("the disk is full")]
    Full,
}

impl IntakeError {
    /// To count by: `busy`, `draining`, `full`, `unavailable`.
    pub fn as_str(&self) -> &'static str {
        match self {
            IntakeError::Busy { .. } => "busy",
            IntakeError::Draining => "draining",
            IntakeError::Unavailable(_) => "unavailable",
            IntakeError::Full => "full",
        }
    }
}

/// Where doors hand facts in.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Appends `facts` and `quarantined` to the log in one commit. Durable on return.
    async fn submit(&self, facts: Vec<Fact>, quarantined: Vec<Quarantined>) -> Result<(), IntakeError>;
}

struct Submission {
    append: Append,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// The way into the log.
pub struct Inbox {
    sender: mpsc::UnboundedSender<Submission>,
    n_waiting: Arc<AtomicUsize>,
    draining: AtomicBool,
    metrics: Arc<Metrics>,
    trouble: Trouble,
}

/// Why the last commit of the log failed.
type Trouble = Arc<Mutex<Option<StoreError>>>;

impl Inbox {
    /// The inbox, and the work of writing it, to be run by whoever owns the tasks. `arrived` is notified after every
    /// commit. The work ends when the inbox is dropped.
    pub fn open(
        log: Arc<dyn Log>,
        metrics: Arc<Metrics>,
        arrived: Arc<Notify>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let n_waiting = Arc::new(AtomicUsize::new(0));
        let trouble = Trouble::default();
        let work = write(receiver, log, metrics.clone(), arrived, n_waiting.clone(), trouble.clone());
        (Arc::new(Inbox { sender, n_waiting, draining: AtomicBool::new(false), metrics, trouble }), work)
    }

    /// Takes nothing more in; what was taken is still written.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Why nothing can be taken in: the last commit failed. `None` as long as it goes well.
    pub fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the last commit found no room. Whoever asks deals with it: the trouble counts as over until the next
    /// commit fails.
    pub fn take_full(&self) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.take_if(|error| matches!(error, StoreError::Full(_))).is_some()
    }

    /// Appends in one commit, durable on return; what no store can keep goes into quarantine. An empty append finds out
    /// whether the log can be written.
    pub async fn append(&self, append: Append) -> Result<(), IntakeError> {
        let taken = self.append_now(append).await;
        if let Err(refusal) = &taken {
            self.metrics.intake_refused(refusal.as_str());
        }
        taken
    }

    async fn append_now(&self, mut append: Append) -> Result<(), IntakeError> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(IntakeError::Draining);
        }
        put_aside_unfit(&mut append);
        let n = append.facts.len() + append.quarantined.len();
        if self.n_waiting.fetch_add(n, Ordering::SeqCst) > MAX_WAITING {
            self.n_waiting.fetch_sub(n, Ordering::SeqCst);
            return Err(IntakeError::Busy { retry_after_seconds: 2 });
        }
        let (answer, answered) = oneshot::channel();
        if self.sender.send(Submission { append, answer }).is_err() {
            return Err(IntakeError::Draining);
        }
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StoreError::Full(_))) => Err(IntakeError::Full),
            Ok(Err(error)) => Err(IntakeError::Unavailable(error.to_string())),
            Err(_) => Err(IntakeError::Draining),
        }
    }
}

/// The one place that every door passes: whatever [`Fact::check`] refuses is put aside instead of stored. Says how many.
fn put_aside_unfit(append: &mut Append) -> u64 {
    let mut unfit = Vec::new();
    append.facts.retain(|fact| match fact.check() {
        Ok(()) => true,
        Err(why) => {
            let record = serde_json::to_string(fact).unwrap_or_default();
            unfit.push(Quarantined {
                source: fact.source.clone(),
                locator: fact.message_id.clone(),
                reason: why.reason.to_owned(),
                message: why.message,
                record: record[..record.floor_char_boundary(RECORD_BYTES)].to_owned(),
                at: fact.received_at,
            });
            false
        }
    });
    let n = unfit.len() as u64;
    append.quarantined.extend(unfit);
    for aside in &mut append.quarantined {
        for text in [&mut aside.locator, &mut aside.message, &mut aside.record] {
            if text.contains('\0') {
                // The picture of a NUL, which every store can keep.
                *text = text.replace('\0', "\u{2400}");
            }
        }
    }
    n
}

#[async_trait]
impl Intake for Inbox {
    async fn submit(&self, facts: Vec<Fact>, quarantined: Vec<Quarantined>) -> Result<(), IntakeError> {
        self.append(Append { facts, quarantined, cursors: Vec::new() }).await
    }
}

async fn write(
    mut receiver: mpsc::UnboundedReceiver<Submission>,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    arrived: Arc<Notify>,
    n_waiting: Arc<AtomicUsize>,
    trouble: Trouble,
) {
    while let Some(first) = receiver.recv().await {
        let mut together = Append::default();
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(Submission { append, answer }) = next {
            together.facts.extend(append.facts);
            together.quarantined.extend(append.quarantined);
            together.cursors.extend(append.cursors);
            answers.push(answer);
            let full = together.facts.len() >= MAX_PER_COMMIT;
            next = if full { None } else { receiver.try_recv().ok() };
        }
        let since = Stopwatch::start();
        let written = log.append(&together).await;
        let n = together.facts.len() + together.quarantined.len();
        let n_left = n_waiting.fetch_sub(n, Ordering::SeqCst) - n;
        if written.is_ok() {
            metrics.log_appended(since, together.facts.len(), n_left);
            together.quarantined.iter().for_each(|q| metrics.events_quarantined(&q.reason, 1));
        }
        note(&trouble, written.clone().err());
        for answer in answers {
            // A sender that went away will ask again; dedupe knows what it sent.
            drop(answer.send(written.clone()));
        }
        arrived.notify_one();
    }
}

/// Says once that the log cannot be written, and once that it can again: whoever is turned away asks again and again.
fn note(trouble: &Trouble, now: Option<StoreError>) {
    let mut slot = trouble.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*slot, &now) {
        (None, Some(error)) => {
            tracing::error!(error = %error, "the log cannot be written; senders are told to try again until it can");
        }
        (Some(_), None) => tracing::info!("the log can be written again"),
        _ => {}
    }
    *slot = now;
}

/// What an import came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Of all batches.
    pub counts: Counts,
}

/// Pulls a connector until it has nothing more for now. Each batch and its cursor are one commit, so an import that is
/// killed goes on where it stopped. `place` names what is read (a source may be read from several files, each with a
/// cursor of its own); `from_start` forgets how far it was read.
pub async fn import(
    connector: &mut dyn Connector,
    place: &str,
    from_start: bool,
    log: &dyn Log,
    inbox: &Inbox,
    clock: &dyn Clock,
    mut progress: impl FnMut(&Counts, Option<(u64, u64)>),
) -> Result<Imported, ImportError> {
    let place = format!("{}@{place}", connector.source());
    let mut cursor = if from_start { None } else { log.cursor(&place).await? };
    let mut imported = Imported::default();
    loop {
        let now = clock.now();
        let batch = connector.pull(cursor.as_deref(), now).await?;
        let counts = &mut imported.counts;
        counts.n_records += batch.counts.n_records;
        counts.n_duplicate_records += batch.counts.n_duplicate_records;
        counts.n_facts += batch.counts.n_facts;
        counts.n_quarantined += batch.counts.n_quarantined;
        counts.n_skipped += batch.counts.n_skipped;
        let mut append = Append { facts: batch.facts, quarantined: batch.quarantined, cursors: Vec::new() };
        let n_unfit = put_aside_unfit(&mut append);
        counts.n_facts -= n_unfit;
        counts.n_quarantined += n_unfit;
        let moved = cursor.as_deref() != Some(&batch.cursor);
        if moved || !append.facts.is_empty() || !append.quarantined.is_empty() {
            append.cursors.push((place.clone(), batch.cursor.clone(), now));
            inbox.append(append).await?;
        }
        cursor = Some(batch.cursor);
        progress(&imported.counts, batch.progress);
        if batch.done {
            return Ok(imported);
        }
    }
}

/// Why an import stopped. What was committed stays; the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// The log cannot be written.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
