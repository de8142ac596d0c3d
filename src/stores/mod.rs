//! The kinds of memory. Two contracts: the [`Log`], where events are acknowledged, and the [`Store`] behind it, where they
//! are unified, judged and decided about. They are two files on purpose: a commit of one never waits for a commit of the
//! other, and never spans both.
//!
//! Methods are intents, each one transaction. Everything that must hold together is one [`Commit`]. A behaviour exists when
//! the conformance suite (`tests/it/store_conformance/`) says so.
#![warn(missing_docs)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::clock::Timestamp;
use crate::domain::customer::Identity;
use crate::domain::delivery::{Delivery, DeliveryState, Firing};
use crate::domain::event::{Event, Fact};
use crate::domain::id::{CustomerId, DeliveryId, FiringId};
use crate::domain::profile::Profile;
use crate::domain::quarantine::Quarantined;
use crate::domain::score::Scores;
use crate::domain::segment::Signal;

mod keeping;
pub mod listing;
pub mod sqlite;

pub use keeping::{ListedMerge, Merge, OperatorStore, QuarantineFilter, QuarantineStore, Separation, Split};

/// The key in [`ModelStore::meta`] that a restore leaves: why what is decided next may have been sent already.
pub const RESTORED: &str = "restored";

/// Why memory failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or written now (locked, disk full); what was asked did not happen.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// There is no room to write; what was asked did not happen.
    #[error("the disk takes nothing more: {0}")]
    Full(String),
    /// What was read is not what was written, or was written by another version.
    #[error("the store holds something unexpected: {0}")]
    Corrupt(String),
    /// It cannot be opened as asked.
    #[error("{0}")]
    Open(String),
}

/// The result of every method here.
pub type StoreResult<T> = Result<T, StoreError>;

/// What is appended to the log in one commit.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// In the order in which they are to be derived from.
    pub facts: Vec<Fact>,
    /// Put aside with them.
    pub quarantined: Vec<Quarantined>,
    /// Of each connector whose facts these are: its name, its new cursor, and when it was moved.
    pub cursors: Vec<(String, String, Timestamp)>,
}

/// An acknowledged fact and where it stands.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Strictly increasing, never used twice.
    pub position: i64,
    /// What was acknowledged.
    pub fact: Fact,
}

/// The inbox. One writer, one reader.
#[async_trait]
pub trait Log: Send + Sync {
    /// Durable on return.
    async fn append(&self, append: &Append) -> StoreResult<()>;
    /// Up to `max` records after `position`, in order.
    async fn read_after(&self, position: i64, max: usize) -> StoreResult<Vec<LogRecord>>;
    /// The position of the last record ever appended; 0 before the first.
    async fn end(&self) -> StoreResult<i64>;
    /// How far a connector has come.
    async fn cursor(&self, source: &str) -> StoreResult<Option<String>>;
    /// Removes records up to `position` that were received before `before`; says how many. Not one transaction but many
    /// small ones, between which others append: what was removed before a failure stays removed.
    async fn trim(&self, position: i64, before: Timestamp) -> StoreResult<u64>;
    /// Records put aside, by source and reason.
    async fn quarantine_counts(&self) -> StoreResult<Vec<(String, String, u64)>>;
}

/// One customer as last derived.
#[derive(Clone, Debug)]
pub struct CustomerState {
    /// Who.
    pub customer: CustomerId,
    /// When the customer came to be known.
    pub created_at: Timestamp,
    /// Folded from all events.
    pub profile: Arc<Profile>,
    /// As last scored.
    pub scores: Arc<Scores>,
    /// Segment → member or not; a segment that is absent was never asked about this customer.
    pub segments: Arc<BTreeMap<String, bool>>,
}

/// What a scan reads of each customer. What it does not read is left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// The profile alone: all that a model is fitted on.
    Profile,
    /// Profile, scores and segments: all that a rule may see.
    All,
}

/// What the ledger knows of one customer, for admission and cooldowns.
#[derive(Clone, Debug, Default)]
pub struct LedgerView {
    /// Rule → instant of the last firing.
    pub last_firing: HashMap<String, Timestamp>,
    /// Rule and occasion of every firing since the instant asked for.
    pub occasions: BTreeSet<(String, String)>,
    /// Marketing messages, oldest first.
    pub contacts: Vec<Contact>,
}

/// A marketing message that left, is leaving, or waits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// When it left, or is to leave.
    pub at: Timestamp,
    /// Which.
    pub delivery: DeliveryId,
    /// `due` or `held`: it will be asked again before it leaves.
    pub waits: bool,
    /// `leased`: in the hands of a worker, who may not have begun it.
    pub leased: bool,
}

/// A decision that did not become a firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which rule.
    pub rule: String,
    /// For whom.
    pub customer: CustomerId,
    /// Which of its actions.
    pub step: u32,
    /// [`crate::domain::consent::Refusal::as_str`].
    pub reason: &'static str,
    /// Which time.
    pub occasion: String,
    /// When.
    pub at: Timestamp,
}

/// How far a sweep has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickProgress {
    /// Rule id, or `@rescore`.
    pub schedule: String,
    /// The tick.
    pub at: Timestamp,
    /// The last customer done; `None` before the first chunk.
    pub position: Option<CustomerId>,
    /// Set when everybody was asked.
    pub done_at: Option<Timestamp>,
}

/// Everything that one batch changes: it is written whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// New events with their positions, free of duplicates.
    pub events: Vec<(i64, Event)>,
    /// The log is derived from up to here.
    pub position: Option<i64>,
    /// Handles that now lead to these customers.
    pub identities: Vec<(Identity, CustomerId)>,
    /// In the order in which they happened; events, handles and ledger rows of the absorbed follow.
    pub merges: Vec<Merge>,
    /// A merge is taken back: written before everything else.
    pub split: Option<Split>,
    /// Who is not to be joined from here on.
    pub separations: Vec<Separation>,
    /// New customers, and those whose profile changed.
    pub customers: Vec<CustomerState>,
    /// Customers of whom only scores and segments changed.
    pub judged: Vec<CustomerState>,
    /// What was noted.
    pub signals: Vec<Signal>,
    /// What was decided, with its occasions.
    pub firings: Vec<Firing>,
    /// What is to be done about it.
    pub deliveries: Vec<Delivery>,
    /// What was decided and not let through.
    pub refusals: Vec<Refused>,
    /// How far the sweep has come.
    pub tick: Option<TickProgress>,
}

/// One step of a delivery that must be durable. Many are written in one commit.
#[derive(Clone, Debug)]
pub enum Move {
    /// `leased` → `committing`: the irreversible byte is about to leave.
    Commit {
        /// Which delivery.
        delivery: DeliveryId,
        /// When.
        at: Timestamp,
    },
    /// To wherever an attempt, or the last admission, led.
    Settle {
        /// Which delivery.
        delivery: DeliveryId,
        /// Its new state.
        state: DeliveryState,
        /// When to ask again, for `due` and `held`.
        due_at: Option<Timestamp>,
        /// Hold, refusal or the receiver's words.
        reason: Option<String>,
        /// What the receiver calls it.
        receipt: Option<String>,
        /// Whether a try was made, to be kept in `attempts`.
        attempt: bool,
        /// When.
        at: Timestamp,
    },
    /// A task for a person is on the list; the delivery is settled as sent in the same commit.
    OpenTask {
        /// The delivery that asks for it.
        delivery: Box<Delivery>,
        /// When.
        at: Timestamp,
    },
}

/// A fit as it is kept.
#[derive(Clone, Debug)]
pub struct StoredModel {
    /// [`crate::domain::score::ScoreKind::as_str`].
    pub kind: String,
    /// When it was fitted.
    pub fitted_at: Timestamp,
    /// Its name in scores.
    pub version: String,
    /// For [`crate::models::Model::load`].
    pub fitted: Value,
    /// For people.
    pub card: Value,
}

/// Narrows `deliveries list`.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only for this customer.
    pub customer: Option<CustomerId>,
    /// Only on this channel.
    pub channel: Option<String>,
    /// Only what was decided at or after this instant.
    pub since: Option<Timestamp>,
    /// Only what was decided before this instant.
    pub until: Option<Timestamp>,
    /// Only what comes after this one.
    pub after: Option<DeliveryId>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// One try of a delivery.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub n: u32,
    /// When it ended.
    pub at: Timestamp,
    /// The state it led to.
    pub outcome: String,
    /// The receiver's words.
    pub detail: String,
}

/// A task for a person.
#[derive(Clone, Debug)]
pub struct Task {
    /// The delivery that opened it.
    pub delivery: DeliveryId,
    /// About whom.
    pub customer: CustomerId,
    /// Which rule asked.
    pub rule: String,
    /// What to do.
    pub title: String,
    /// What helps.
    pub details: Value,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// How a ledger adds up: `(rule, channel, state or refusal, n)`.
pub type LedgerCount = (String, String, String, u64);

/// Deriving: what ingest's followers read and write.
#[async_trait]
pub trait ProfileStore: Send + Sync {
    /// How far the log is derived from.
    async fn position(&self) -> StoreResult<i64>;
    /// Which of these dedupe keys are known, with the hash of the body that was kept.
    async fn known_keys(&self, keys: &[[u8; 16]]) -> StoreResult<HashMap<[u8; 16], [u8; 16]>>;
    /// Whose these handles are, merges followed.
    async fn find_identities(&self, identities: &[Identity]) -> StoreResult<HashMap<Identity, CustomerId>>;
    /// These customers, merges followed: the key is the id asked for.
    async fn load_customers(&self, ids: &[CustomerId]) -> StoreResult<HashMap<CustomerId, CustomerState>>;
    /// These columns of up to `max` customers after `after`, in the order of their ids, of one segment or all: sweeps and
    /// models read everybody this way.
    async fn scan_customers(
        &self,
        columns: Columns,
        segment: Option<&str>,
        after: Option<CustomerId>,
        max: usize,
    ) -> StoreResult<Vec<CustomerState>>;
    /// What the ledger knows of these customers; occasions and contacts since `since`. To name a customer twice is to name
    /// them once.
    async fn ledger_of(&self, ids: &[CustomerId], since: Timestamp) -> StoreResult<HashMap<CustomerId, LedgerView>>;
    /// Writes all of it or nothing. A firing or delivery whose key exists is left as it was.
    async fn commit_batch(&self, commit: &Commit) -> StoreResult<()>;
}

/// Schedules: which tick was swept, and how far.
#[async_trait]
pub trait TickStore: Send + Sync {
    /// The newest tick of each of these schedules that was begun (absent: none was), and all ticks of any schedule that
    /// were begun and not finished.
    async fn ticks_of(&self, schedules: &[&str]) -> StoreResult<(HashMap<String, Timestamp>, Vec<TickProgress>)>;
    /// Notes ticks as begun (or, with `done_at`, as not to be swept).
    async fn begin_ticks(&self, ticks: &[TickProgress]) -> StoreResult<()>;
}

/// Models, and what the installation knows of itself.
#[async_trait]
pub trait ModelStore: Send + Sync {
    /// A value of the installation itself (its secret, what it last saw).
    async fn meta(&self, key: &str) -> StoreResult<Option<String>>;
    /// Sets one.
    async fn set_meta(&self, key: &str, value: &str) -> StoreResult<()>;
    /// Keeps fits.
    async fn save_models(&self, models: &[StoredModel]) -> StoreResult<()>;
    /// The newest fit of each kind that was made by `at`: the ones that decided then.
    async fn models_at(&self, at: Timestamp) -> StoreResult<Vec<StoredModel>>;
}

/// Delivering: the only way a delivery changes its state.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Leases up to `max` deliveries of `channel` that may leave at `now`.
    async fn claim_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        lease_until: Timestamp,
        max: usize,
    ) -> StoreResult<Vec<Delivery>>;
    /// Durable on return. A move whose delivery is no longer leased (or committing) by us changes nothing; the answer
    /// says for each whether it was made.
    async fn apply_moves(&self, moves: &[Move]) -> StoreResult<Vec<bool>>;
    /// Deliveries left `leased` or `committing` by a process that is gone, or past `now` by one that hangs.
    async fn abandoned_deliveries(&self, now: Option<Timestamp>) -> StoreResult<Vec<Delivery>>;
    /// When the next waiting delivery may leave, of one channel or of all.
    async fn next_due(&self, channel: Option<&str>) -> StoreResult<Option<Timestamp>>;
}

/// Looking: what listings, `why` and `rebuild` read.
#[async_trait]
pub trait ReadStore: Send + Sync {
    /// One delivery with its firing's occasion.
    async fn delivery(&self, id: DeliveryId) -> StoreResult<Option<Delivery>>;
    /// Its tries.
    async fn attempts_of(&self, id: DeliveryId) -> StoreResult<Vec<Attempt>>;
    /// One firing.
    async fn firing(&self, id: FiringId) -> StoreResult<Option<Firing>>;
    /// Newest first.
    async fn list_deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<Delivery>>;
    /// Refusals of one customer: rule, step, reason, how often, last time.
    async fn refusals_of(&self, customer: CustomerId) -> StoreResult<Vec<(String, u32, String, u64, Timestamp)>>;
    /// Signals of one customer, newest first.
    async fn signals_of(&self, customer: CustomerId) -> StoreResult<Vec<Signal>>;
    /// The last `max` events of a customer known by `until`, newest first.
    async fn events_of(&self, customer: CustomerId, until: Timestamp, max: u32) -> StoreResult<Vec<Event>>;
    /// Every event from the beginning, `max` after `position`: what a rebuild reads.
    async fn scan_events(&self, after: i64, max: usize) -> StoreResult<Vec<(i64, Event)>>;
    /// Deliveries by rule, channel and state; refusals by rule and reason under the channel `refused`; control groups
    /// under `held out`.
    async fn ledger_counts(&self) -> StoreResult<Vec<LedgerCount>>;
    /// How many deliveries are due, held, under way or unknown, by channel and state. Costs as little as there are.
    async fn waiting_deliveries(&self) -> StoreResult<Vec<(String, String, u64)>>;
    /// Tasks for people, newest first.
    async fn open_tasks(&self, max: u32) -> StoreResult<Vec<Task>>;
    /// How many events of each name there are, whoever's they are.
    async fn event_counts(&self) -> StoreResult<BTreeMap<String, u64>>;
}

/// The memory behind the log. One writer at a time; readers beside it.
pub trait Store: ProfileStore + TickStore + ModelStore + LedgerStore + ReadStore + OperatorStore {}
