//! What operators change: who was joined into whom by which event, who is not to be joined again, which tasks are done.

use async_trait::async_trait;

use super::{Append, StoreResult};
use crate::domain::clock::Timestamp;
use crate::domain::customer::Identity;
use crate::domain::event::Event;
use crate::domain::id::{CustomerId, DeliveryId, EventId};
use crate::domain::quarantine::Quarantined;

/// One customer was joined into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Who is no customer of its own any more; its events, handles and ledger rows follow.
    pub absorbed: CustomerId,
    /// Into whom, as it was then.
    pub survivor: CustomerId,
    /// Where the event that joined them stands in the log.
    pub position: i64,
}

/// Two customers that are not one person, by an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separation {
    /// The two, as stated.
    pub stated: (CustomerId, CustomerId),
    /// The two as they are today. The same customer twice: a later word has joined them after all.
    pub today: (CustomerId, CustomerId),
    /// It holds from this position of the log on.
    pub position: i64,
}

/// A joined customer is several again: everything that is filed anew because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Whose events they all are until now.
    pub joined: CustomerId,
    /// Every customer that was ever joined into it, and itself: into whom it is absorbed now (`None`: it lives), and whom
    /// it leads to.
    pub members: Vec<(CustomerId, Option<CustomerId>, CustomerId)>,
    /// Events that came after the merge and would have been somebody else's without it: position and whose.
    pub arrived: Vec<(i64, CustomerId)>,
    /// The merges among the members as they are now.
    pub merges: Vec<Merge>,
}

/// A merge, to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMerge {
    /// Who was joined into whom, and where.
    pub merge: Merge,
    /// The customer that all of them are today.
    pub living: CustomerId,
    /// The event that joined them.
    pub event: EventId,
    /// What that event is called; `Customers Merged` when it was stated.
    pub name: String,
    /// Through which source it came.
    pub source: String,
    /// When it came.
    pub at: Timestamp,
}

/// Which records that were put aside.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only of this source.
    pub source: Option<String>,
    /// Only for this reason.
    pub reason: Option<String>,
    /// Only those whose key begins so, in hexadecimal; empty for all.
    pub keys: Vec<String>,
    /// Behind this one: when it was put aside, and its key.
    pub after: Option<(Timestamp, [u8; 16])>,
    /// At most so many.
    pub max: u32,
}

/// Records that were put aside: to look at, to give back, to drop.
#[async_trait]
pub trait QuarantineStore: Send + Sync {
    /// Newest first, each with its key.
    async fn list_quarantined(&self, filter: &QuarantineFilter) -> StoreResult<Vec<([u8; 16], Quarantined)>>;
    /// Takes these out, and appends what became of them, in one commit.
    async fn release(&self, keys: &[[u8; 16]], append: &Append) -> StoreResult<()>;
}

/// What an operator's commands read and change beside everything else.
#[async_trait]
pub trait OperatorStore: Send + Sync {
    /// Newest first, up to `max` after `after` (position and absorbed of the last one seen), of one living customer or all.
    async fn list_merges(
        &self,
        living: Option<CustomerId>,
        after: Option<(i64, CustomerId)>,
        max: u32,
    ) -> StoreResult<Vec<ListedMerge>>;
    /// How this customer came to be absorbed, if it is.
    async fn merge_of(&self, absorbed: CustomerId) -> StoreResult<Option<Merge>>;
    /// Everybody who was absorbed into this living customer, directly or on the way, in the order in which it happened.
    async fn merges_into(&self, living: CustomerId) -> StoreResult<Vec<Merge>>;
    /// The separations that concern these living customers.
    async fn separations_of(&self, living: &[CustomerId]) -> StoreResult<Vec<Separation>>;
    /// Up to `max` events of a customer after `position`, in the order of the log, each with its position and the customer
    /// it was filed under when it came.
    async fn events_filed(
        &self,
        customer: CustomerId,
        position: i64,
        max: usize,
    ) -> StoreResult<Vec<(i64, CustomerId, Event)>>;
    /// When these customers came to be known, absorbed ones too.
    async fn known_since(&self, ids: &[CustomerId]) -> StoreResult<Vec<(CustomerId, Timestamp)>>;
    /// All handles that lead to this customer.
    async fn handles_of(&self, customer: CustomerId) -> StoreResult<Vec<Identity>>;
    /// How many rows of the ledger belong to this customer: firings, deliveries, and refusals as they were counted.
    async fn ledger_size(&self, customer: CustomerId) -> StoreResult<(u64, u64, u64)>;
    /// Takes a task off the list, or (with `None`) puts it back; `false` when there is no such task, or it is so already.
    async fn settle_task(&self, delivery: DeliveryId, done_at: Option<Timestamp>) -> StoreResult<bool>;
}
