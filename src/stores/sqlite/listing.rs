//! Listings: filters, pages and counts.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::profiles::state;
use super::reading::{event, firing, signal, task};
use super::{SqliteLog, SqliteStore, bytes, optional_bytes, sql, timestamp};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Firing;
use crate::domain::id::{CustomerId, DeliveryId, EventId, FiringId};
use crate::domain::segment::Signal;
use crate::stores::listing::{
    CursorMoved, CustomerFilter, EventFilter, FiledEvent, FiringFilter, ListLog, ListStore, SignalFilter, SourceCount,
    TaskFilter,
};
use crate::stores::{CustomerState, StoreResult, Task};

#[async_trait]
impl ListStore for SqliteStore {
    async fn list_customers(&self, filter: &CustomerFilter) -> StoreResult<Vec<CustomerState>> {
        let query = sqlx::query(sql!("list_customers"))
            .bind(&filter.text)
            .bind(&filter.segment)
            .bind(filter.after.map(|id| id.as_bytes().to_vec()))
            .bind(filter.limit);
        query.fetch_all(&self.readers).await?.iter().map(state).collect()
    }

    async fn list_events(&self, filter: &EventFilter) -> StoreResult<Vec<FiledEvent>> {
        let query = sqlx::query(sql!("list_events"))
            .bind(filter.customer.map(|id| id.as_bytes().to_vec()))
            .bind(&filter.name)
            .bind(&filter.source)
            .bind(filter.since.map(Timestamp::as_micros))
            .bind(filter.until.map(Timestamp::as_micros))
            .bind(filter.after.map(|id| id.as_bytes().to_vec()))
            .bind(filter.limit);
        query.fetch_all(&self.readers).await?.iter().map(filed).collect()
    }

    async fn event(&self, id: EventId) -> StoreResult<Option<FiledEvent>> {
        let query = sqlx::query("SELECT position, id, customer, arrived_as, fact FROM events WHERE id = $1");
        let row = query.bind(&id.as_bytes()[..]).fetch_optional(&self.readers).await?;
        row.as_ref().map(filed).transpose()
    }

    async fn list_firings(&self, filter: &FiringFilter) -> StoreResult<Vec<Firing>> {
        let query = sqlx::query(sql!("list_firings"))
            .bind(&filter.rule)
            .bind(filter.customer.map(|id| id.as_bytes().to_vec()))
            .bind(&filter.occasion)
            .bind(filter.limit);
        query.fetch_all(&self.readers).await?.iter().map(firing).collect()
    }

    async fn deliveries_of(&self, firing: FiringId) -> StoreResult<Vec<DeliveryId>> {
        let query = sqlx::query("SELECT id FROM deliveries WHERE firing = $1 ORDER BY step");
        let rows = query.bind(&firing.as_bytes()[..]).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok(DeliveryId::from_bytes(bytes(row, "id")?))).collect()
    }

    async fn list_signals(&self, filter: &SignalFilter) -> StoreResult<Vec<Signal>> {
        let query = sqlx::query(sql!("list_signals"))
            .bind(&filter.segment)
            .bind(filter.customer.map(|id| id.as_bytes().to_vec()))
            .bind(filter.cause.map(|id| id.as_bytes().to_vec()))
            .bind(filter.after.map(|id| id.as_bytes().to_vec()))
            .bind(filter.limit);
        query.fetch_all(&self.readers).await?.iter().map(signal).collect()
    }

    async fn list_tasks(&self, filter: &TaskFilter) -> StoreResult<Vec<Task>> {
        let query = sqlx::query(sql!("list_tasks"))
            .bind(&filter.rule)
            .bind(filter.customer.map(|id| id.as_bytes().to_vec()))
            .bind(filter.after.map(|id| id.as_bytes().to_vec()))
            .bind(filter.limit);
        query.fetch_all(&self.readers).await?.iter().map(task).collect()
    }

    async fn segment_sizes(&self) -> StoreResult<Vec<(String, u64)>> {
        let statement = "SELECT segment, count(*) FROM members GROUP BY segment ORDER BY segment";
        let rows: Vec<(String, i64)> = sqlx::query_as(statement).fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|(name, n)| (name, n.cast_unsigned())).collect())
    }

    async fn source_counts(&self) -> StoreResult<Vec<SourceCount>> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql!("source_counts")).fetch_all(&self.readers).await?;
        let count = |(source, n, last): (String, i64, i64)| SourceCount {
            source,
            n_events: n.cast_unsigned(),
            last_received_at: Timestamp::from_micros(last),
        };
        Ok(rows.into_iter().map(count).collect())
    }

    async fn merged_into(&self, id: CustomerId) -> StoreResult<Option<CustomerId>> {
        let query = sqlx::query("SELECT merged_into FROM customers WHERE id = $1").bind(&id.as_bytes()[..]);
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
        Ok(optional_bytes(&row, "merged_into")?.map(CustomerId::from_bytes))
    }
}

#[async_trait]
impl ListLog for SqliteLog {
    async fn cursors(&self) -> StoreResult<Vec<CursorMoved>> {
        let rows = sqlx::query("SELECT source, cursor, moved_at FROM cursors ORDER BY source")
            .fetch_all(&self.readers)
            .await?;
        let moved = |row: &SqliteRow| {
            let moved_at = timestamp(row, "moved_at")?;
            Ok(CursorMoved { place: row.try_get("source")?, cursor: row.try_get("cursor")?, moved_at })
        };
        rows.iter().map(moved).collect()
    }
}

fn filed(row: &SqliteRow) -> StoreResult<FiledEvent> {
    let (position, event) = event(row)?;
    Ok(FiledEvent { position, event, arrived_as: optional_bytes(row, "arrived_as")?.map(CustomerId::from_bytes) })
}
