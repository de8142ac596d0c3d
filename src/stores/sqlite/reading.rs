//! Looking: what listings, `why` and `rebuild` read.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ledger::delivery;
use super::{SqliteStore, bytes, from_json, optional_bytes, sql, timestamp};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Delivery, DeliveryState, Firing};
use crate::domain::event::Event;
use crate::domain::id::{CustomerId, DeliveryId, EventId, FiringId, SignalId};
use crate::domain::segment::{Signal, Transition};
use crate::stores::{Attempt, DeliveryFilter, LedgerCount, ReadStore, StoreResult, Task};

#[async_trait]
impl ReadStore for SqliteStore {
    async fn delivery(&self, id: DeliveryId) -> StoreResult<Option<Delivery>> {
        let query = sqlx::query("SELECT * FROM deliveries WHERE id = $1").bind(&id.as_bytes()[..]);
        query.fetch_optional(&self.readers).await?.as_ref().map(delivery).transpose()
    }

    async fn attempts_of(&self, id: DeliveryId) -> StoreResult<Vec<Attempt>> {
        let query = sqlx::query("SELECT n, at, outcome, detail FROM attempts WHERE delivery = $1 ORDER BY n");
        let rows = query.bind(&id.as_bytes()[..]).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(Attempt {
                    n: row.try_get("n")?,
                    at: timestamp(row, "at")?,
                    outcome: row.try_get("outcome")?,
                    detail: row.try_get("detail")?,
                })
            })
            .collect()
    }

    async fn firing(&self, id: FiringId) -> StoreResult<Option<Firing>> {
        let query = sqlx::query("SELECT * FROM firings WHERE id = $1").bind(&id.as_bytes()[..]);
        query.fetch_optional(&self.readers).await?.as_ref().map(firing).transpose()
    }

    async fn list_deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<Delivery>> {
        let rows = sqlx::query(sql!("list_deliveries"))
            .bind(filter.state.map(DeliveryState::as_str))
            .bind(&filter.rule)
            .bind(filter.customer.map(|c| c.as_bytes().to_vec()))
            .bind(&filter.channel)
            .bind(filter.since.map(Timestamp::as_micros))
            .bind(filter.until.map(Timestamp::as_micros))
            .bind(filter.after.map(|d| d.as_bytes().to_vec()))
            .bind(filter.limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(delivery).collect()
    }

    async fn refusals_of(&self, customer: CustomerId) -> StoreResult<Vec<(String, u32, String, u64, Timestamp)>> {
        let query = sqlx::query(
            "SELECT rule, step, reason, sum(n) AS n, max(last_at) AS last_at FROM refusals WHERE customer = $1 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        );
        let rows = query.bind(&customer.as_bytes()[..]).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let n: i64 = row.try_get("n")?;
                let (rule, step, reason) = (row.try_get("rule")?, row.try_get("step")?, row.try_get("reason")?);
                Ok((rule, step, reason, n.cast_unsigned(), timestamp(row, "last_at")?))
            })
            .collect()
    }

    async fn signals_of(&self, customer: CustomerId) -> StoreResult<Vec<Signal>> {
        let query = sqlx::query("SELECT * FROM signals WHERE customer = $1 ORDER BY at DESC, id DESC LIMIT 100");
        query.bind(&customer.as_bytes()[..]).fetch_all(&self.readers).await?.iter().map(signal).collect()
    }

    async fn events_of(&self, customer: CustomerId, until: Timestamp, max: u32) -> StoreResult<Vec<Event>> {
        let query = sqlx::query(sql!("events_of")).bind(&customer.as_bytes()[..]).bind(until.as_micros()).bind(max);
        query.fetch_all(&self.readers).await?.iter().map(|row| Ok(event(row)?.1)).collect()
    }

    async fn scan_events(&self, after: i64, max: usize) -> StoreResult<Vec<(i64, Event)>> {
        let query = sqlx::query(sql!("scan_events")).bind(after).bind(i64::try_from(max).unwrap_or(i64::MAX));
        query.fetch_all(&self.readers).await?.iter().map(event).collect()
    }

    async fn ledger_counts(&self) -> StoreResult<Vec<LedgerCount>> {
        let rows: Vec<(String, String, String, i64)> =
            sqlx::query_as(sql!("ledger_counts")).fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|(rule, channel, what, n)| (rule, channel, what, n.cast_unsigned())).collect())
    }

    async fn waiting_deliveries(&self) -> StoreResult<Vec<(String, String, u64)>> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as(sql!("waiting_deliveries")).fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|(channel, state, n)| (channel, state, n.cast_unsigned())).collect())
    }

    async fn open_tasks(&self, max: u32) -> StoreResult<Vec<Task>> {
        let query =
            sqlx::query("SELECT * FROM tasks WHERE done_at IS NULL ORDER BY created_at DESC, delivery LIMIT $1");
        let rows = query.bind(max).fetch_all(&self.readers).await?;
        rows.iter().map(task).collect()
    }

    async fn event_counts(&self) -> StoreResult<BTreeMap<String, u64>> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, count(*) FROM events GROUP BY name").fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(|(name, n)| (name, n.cast_unsigned())).collect())
    }
}

pub(super) fn event(row: &SqliteRow) -> StoreResult<(i64, Event)> {
    let id = EventId::from_bytes(bytes(row, "id")?);
    let customer = optional_bytes(row, "customer")?.map(CustomerId::from_bytes);
    Ok((row.try_get("position")?, Event { id, customer, fact: from_json(row, "fact")? }))
}

pub(super) fn signal(row: &SqliteRow) -> StoreResult<Signal> {
    let entered = row.try_get::<&str, _>("transition")? == Transition::Entered.as_str();
    Ok(Signal {
        id: SignalId::from_bytes(bytes(row, "id")?),
        customer: CustomerId::from_bytes(bytes(row, "customer")?),
        segment: row.try_get("segment")?,
        transition: if entered { Transition::Entered } else { Transition::Left },
        at: timestamp(row, "at")?,
        cause: optional_bytes(row, "cause")?.map(EventId::from_bytes),
    })
}

pub(super) fn firing(row: &SqliteRow) -> StoreResult<Firing> {
    Ok(Firing {
        id: FiringId::from_bytes(bytes(row, "id")?),
        rule: row.try_get("rule")?,
        rule_version: row.try_get("rule_version")?,
        customer: CustomerId::from_bytes(bytes(row, "customer")?),
        occasion: row.try_get("occasion")?,
        at: timestamp(row, "at")?,
        held_out: row.try_get("held_out")?,
        trace: from_json(row, "trace")?,
    })
}

pub(super) fn task(row: &SqliteRow) -> StoreResult<Task> {
    Ok(Task {
        delivery: DeliveryId::from_bytes(bytes(row, "delivery")?),
        customer: CustomerId::from_bytes(bytes(row, "customer")?),
        rule: row.try_get("rule")?,
        title: row.try_get("title")?,
        details: from_json(row, "details")?,
        created_at: timestamp(row, "created_at")?,
    })
}
