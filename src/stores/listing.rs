//! What only people look at: listings with filters and pages, and the counts beside them. Apart from [`super::Store`],
//! because nothing that decides or delivers may come to need it.
//!
//! Every listing is newest first. `after` is the last row of the page before; an id that is not there gives an empty page.

use async_trait::async_trait;

use super::{CustomerState, StoreResult, Task};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Firing;
use crate::domain::event::Event;
use crate::domain::id::{CustomerId, DeliveryId, EventId, FiringId, SignalId};
use crate::domain::segment::Signal;

/// Narrows `customers list`.
#[derive(Clone, Debug, Default)]
pub struct CustomerFilter {
    /// Only those with this in a name or handle.
    pub text: Option<String>,
    /// Only members of this segment.
    pub segment: Option<String>,
    /// Only what comes after this one.
    pub after: Option<CustomerId>,
    /// At most so many.
    pub limit: u32,
}

/// Narrows `events list`.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only of this customer.
    pub customer: Option<CustomerId>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only from this source.
    pub source: Option<String>,
    /// Only what happened at or after this instant.
    pub since: Option<Timestamp>,
    /// Only what happened before this instant.
    pub until: Option<Timestamp>,
    /// Only what comes after this one.
    pub after: Option<EventId>,
    /// At most so many, the last that arrived first.
    pub limit: u32,
}

/// Narrows firings.
#[derive(Clone, Debug, Default)]
pub struct FiringFilter {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only for this customer.
    pub customer: Option<CustomerId>,
    /// Only on this occasion.
    pub occasion: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Narrows signals.
#[derive(Clone, Debug, Default)]
pub struct SignalFilter {
    /// Only of this segment.
    pub segment: Option<String>,
    /// Only of this customer.
    pub customer: Option<CustomerId>,
    /// Only those that this event caused.
    pub cause: Option<EventId>,
    /// Only what comes after this one.
    pub after: Option<SignalId>,
    /// At most so many.
    pub limit: u32,
}

/// Narrows `tasks list`.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only about this customer.
    pub customer: Option<CustomerId>,
    /// Only what comes after this one.
    pub after: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

/// One event with its place.
#[derive(Clone, Debug)]
pub struct FiledEvent {
    /// Where it stood in the log.
    pub position: i64,
    /// The event, under the customer whose it is today.
    pub event: Event,
    /// Whose it was when it came, before any merge.
    pub arrived_as: Option<CustomerId>,
}

/// What came from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCount {
    /// Its name.
    pub source: String,
    /// Events, free of duplicates.
    pub n_events: u64,
    /// When the last of them came.
    pub last_received_at: Timestamp,
}

/// How far one connector has read one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMoved {
    /// `source@place`.
    pub place: String,
    /// Opaque to everybody but the connector.
    pub cursor: String,
    /// When it was moved last.
    pub moved_at: Timestamp,
}

/// Listings of the store.
#[async_trait]
pub trait ListStore: Send + Sync {
    /// Customers.
    async fn list_customers(&self, filter: &CustomerFilter) -> StoreResult<Vec<CustomerState>>;
    /// Events, the last that arrived first.
    async fn list_events(&self, filter: &EventFilter) -> StoreResult<Vec<FiledEvent>>;
    /// One event.
    async fn event(&self, id: EventId) -> StoreResult<Option<FiledEvent>>;
    /// Firings, control groups among them.
    async fn list_firings(&self, filter: &FiringFilter) -> StoreResult<Vec<Firing>>;
    /// Ids of deliveries that came of a firing, in the order of its actions.
    async fn deliveries_of(&self, firing: FiringId) -> StoreResult<Vec<DeliveryId>>;
    /// Who entered and left segments.
    async fn list_signals(&self, filter: &SignalFilter) -> StoreResult<Vec<Signal>>;
    /// Open tasks.
    async fn list_tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<Task>>;
    /// Segment → how many are in it; a segment without anybody is absent.
    async fn segment_sizes(&self) -> StoreResult<Vec<(String, u64)>>;
    /// What came from each source, by name.
    async fn source_counts(&self) -> StoreResult<Vec<SourceCount>>;
    /// Whom this customer was joined to, if it was.
    async fn merged_into(&self, id: CustomerId) -> StoreResult<Option<CustomerId>>;
}

/// Listings of the log.
#[async_trait]
pub trait ListLog: Send + Sync {
    /// How far each connector has come, by place.
    async fn cursors(&self) -> StoreResult<Vec<CursorMoved>>;
}
