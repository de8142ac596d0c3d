//! The verbs: ingest → unify → score → evaluate → deliver, and sweep. They fetch, ask the pure parts, and commit; they know
//! contracts, never a concrete kind.
//!
//! ```text
//!  doors ──▶ ingest ──▶ log ──▶ derive: unify ▶ score ▶ evaluate ──▶ one commit ──▶ deliver ──▶ channels
//!            (synced, then answered)              ▲                      │
//!                                   sweep ────────┘ (ticks, rescoring)   └──▶ store: profiles, ledger
//! ```

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::SignedDuration;

use crate::channels::Channel;
use crate::domain::clock::{Business, Clock, Timestamp};
use crate::domain::consent::ContactPolicy;
use crate::domain::template::TemplateCards;
use crate::domain::unsubscribe::UnsubscribeSigner;
use crate::models::{Fitted, Model};
use crate::rules::RuleBook;
use crate::schedule::{CatchUp, Schedule};
use crate::stores::{Log, Store, StoreError};
use crate::telemetry::Metrics;

mod ahead;
pub mod deliver;
pub mod derive;
mod desk;
pub mod evaluate;
pub mod ingest;
pub mod inside;
pub mod rebuild;
mod restored;
pub mod score;
pub mod split;
pub mod sweep;
pub mod texts;
mod unify;

/// Everything that deciding needs besides the customer: one immutable snapshot, replaced whole, used for a whole batch.
#[derive(Clone)]
pub struct DecisionContext {
    /// Rules and segments.
    pub book: Arc<RuleBook>,
    /// Classes and topics of templates.
    pub templates: TemplateCards,
    /// The fits in use.
    pub models: Vec<Arc<dyn Fitted>>,
    /// Standing orders about contact.
    pub policy: ContactPolicy,
    /// Whose days and whose money.
    pub business: Arc<Business>,
    /// Scheduled rules and the rescoring: name, calendar, and how late a tick may be swept.
    pub schedules: Vec<(String, Schedule, Option<SignedDuration>)>,
    /// What becomes of ticks that fell into a time when nobody ran.
    pub catch_up: CatchUp,
    /// What is decided now may have been decided and sent before, by a daemon whose ledger is lost: it becomes `unknown`,
    /// for this reason, and is not sent.
    pub doubt: Option<Arc<str>>,
}

/// How much is done at once. Every stride ends with a commit, so they also bound what a crash undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    /// Records derived from in one batch: bounds memory, of which a record takes some kilobytes in each of the three batches
    /// that are read, decided and written at once, and how long a commit holds the store's writer. The fewer batches, the
    /// less often a customer's profile is written.
    pub batch: usize,
    /// Customers in one commit of a sweep.
    pub chunk: usize,
}

impl Default for Strides {
    fn default() -> Self {
        Strides { batch: 4_000, chunk: 500 }
    }
}

/// The verbs' hands: memory, ways out, and what to decide by.
pub struct Pipeline {
    /// The inbox.
    pub log: Arc<dyn Log>,
    /// Everything behind it.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The ways out.
    pub channels: Vec<Arc<dyn Channel>>,
    /// The ways to judge.
    pub models: Vec<Box<dyn Model>>,
    /// Signs unsubscribe links.
    pub unsubscribe: UnsubscribeSigner,
    /// Where such links lead: `https://mail.example.com`.
    pub public_url: String,
    /// How much is done at once.
    pub strides: Strides,
    context: RwLock<Arc<DecisionContext>>,
    /// No tick is due before this instant, as long as the context is this one.
    quiet_until: Mutex<Option<(Arc<DecisionContext>, Timestamp)>>,
    /// Everybody was asked about the segments of this book.
    settled_book: Mutex<Option<Arc<RuleBook>>>,
}

/// What a pipeline is made of; see [`Pipeline`].
pub struct PipelineParts {
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub log: Arc<dyn Log>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub store: Arc<dyn Store>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub clock: Arc<dyn Clock>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub metrics: Arc<Metrics>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub channels: Vec<Arc<dyn Channel>>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub models: Vec<Box<dyn Model>>,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub unsubscribe: UnsubscribeSigner,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub public_url: String,
    #[expect(missing_docs, reason = "the same fields as Pipeline's")]
    pub strides: Strides,
}

impl Pipeline {
    /// With what to decide by.
    pub fn new(parts: PipelineParts, context: DecisionContext) -> Self {
        let PipelineParts { log, store, clock, metrics, channels, models, unsubscribe, public_url, strides } = parts;
        let context = RwLock::new(Arc::new(context));
        let (quiet_until, settled_book) = Default::default();
        Pipeline {
            log,
            store,
            clock,
            metrics,
            channels,
            models,
            unsubscribe,
            public_url,
            strides,
            context,
            quiet_until,
            settled_book,
        }
    }

    /// What to decide by just now.
    pub fn context(&self) -> Arc<DecisionContext> {
        self.context.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it whole; batches under way finish with what they began with.
    pub fn replace_context(&self, change: impl FnOnce(&mut DecisionContext)) {
        let mut slot = self.context.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = DecisionContext::clone(&slot);
        change(&mut next);
        *slot = Arc::new(next);
    }
}

/// Why a verb stopped. Nothing of what it was doing was committed; it is done again.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Memory failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
