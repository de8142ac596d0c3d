//! Delivering: leases and moves. Every move names the states it may start from, so a worker that lost its lease changes
//! nothing.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteStore, begin, bytes, from_json, json, sql, timestamp};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::id::{CustomerId, DeliveryId, FiringId};
use crate::stores::{LedgerStore, Move, StoreError, StoreResult};

#[async_trait]
impl LedgerStore for SqliteStore {
    async fn claim_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        lease_until: Timestamp,
        max: usize,
    ) -> StoreResult<Vec<Delivery>> {
        // Mostly there is nothing: whoever only looks must not queue for the writer.
        if self.next_due(Some(channel)).await?.is_none_or(|next| next > now) {
            return Ok(Vec::new());
        }
        let mut tx = begin(&self.writer).await?;
        let rows = sqlx::query(sql!("claim_deliveries"))
            .bind(channel)
            .bind(now.as_micros())
            .bind(lease_until.as_micros())
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        let mut claimed: Vec<Delivery> = rows.iter().map(delivery).collect::<StoreResult<_>>()?;
        tx.commit().await?;
        // RETURNING keeps no order.
        claimed.sort_by_key(|d| (d.due_at, d.id));
        Ok(claimed)
    }

    async fn apply_moves(&self, moves: &[Move]) -> StoreResult<Vec<bool>> {
        let mut tx = begin(&self.writer).await?;
        let mut made = Vec::with_capacity(moves.len());
        for one in moves {
            made.push(apply(&mut tx, one).await?);
        }
        tx.commit().await?;
        Ok(made)
    }

    async fn abandoned_deliveries(&self, now: Option<Timestamp>) -> StoreResult<Vec<Delivery>> {
        let query = sqlx::query(sql!("abandoned_deliveries")).bind(now.map(Timestamp::as_micros));
        query.fetch_all(&self.readers).await?.iter().map(delivery).collect()
    }

    async fn next_due(&self, channel: Option<&str>) -> StoreResult<Option<Timestamp>> {
        let query = sqlx::query_scalar(sql!("next_due")).bind(channel);
        let next: Option<i64> = query.fetch_one(&self.readers).await?;
        Ok(next.map(Timestamp::from_micros))
    }
}

async fn apply(tx: &mut Transaction<'_, Sqlite>, one: &Move) -> StoreResult<bool> {
    let changed = match one {
        Move::Commit { delivery, at: _ } => {
            sqlx::query(sql!("commit_delivery")).bind(&delivery.as_bytes()[..]).execute(&mut **tx).await?
        }
        Move::Settle { delivery, state, due_at, reason, receipt, attempt, at } => {
            let id = delivery.as_bytes().to_vec();
            let changed = sqlx::query(sql!("settle_delivery"))
                .bind(&id)
                .bind(state.as_str())
                .bind(due_at.map(Timestamp::as_micros))
                .bind(reason)
                .bind(receipt)
                .bind(i32::from(*attempt))
                .bind(at.as_micros())
                .execute(&mut **tx)
                .await?;
            if *attempt && changed.rows_affected() == 1 {
                let detail = receipt.as_deref().or(reason.as_deref()).unwrap_or_default();
                let query = sqlx::query(sql!("insert_attempt")).bind(&id).bind(at.as_micros());
                query.bind(state.as_str()).bind(detail).execute(&mut **tx).await?;
            }
            changed
        }
        Move::OpenTask { delivery, at } => {
            let Action::Task { title, details } = &delivery.action else {
                return Err(StoreError::Corrupt(format!("{} is not a task", delivery.id)));
            };
            let done = Move::Settle {
                delivery: delivery.id,
                state: DeliveryState::Sent,
                due_at: None,
                reason: None,
                receipt: Some("on the task list".to_owned()),
                attempt: true,
                at: *at,
            };
            if !Box::pin(apply(tx, &done)).await? {
                return Ok(false);
            }
            sqlx::query(sql!("open_task"))
                .bind(&delivery.id.as_bytes()[..])
                .bind(&delivery.customer.as_bytes()[..])
                .bind(&delivery.rule)
                .bind(title)
                .bind(json(details))
                .bind(at.as_micros())
                .execute(&mut **tx)
                .await?
        }
    };
    Ok(changed.rows_affected() == 1)
}

pub(super) fn delivery(row: &SqliteRow) -> StoreResult<Delivery> {
    let class: Option<String> = row.try_get("class")?;
    let class = match class.as_deref() {
        None => None,
        Some("marketing") => Some(MessageClass::Marketing),
        Some("transactional") => Some(MessageClass::Transactional),
        Some("service") => Some(MessageClass::Service),
        Some(other) => return Err(StoreError::Corrupt(format!("message class `{other}`"))),
    };
    let settled_at: Option<i64> = row.try_get("settled_at")?;
    Ok(Delivery {
        id: DeliveryId::from_bytes(bytes(row, "id")?),
        firing: FiringId::from_bytes(bytes(row, "firing")?),
        rule: row.try_get("rule")?,
        customer: CustomerId::from_bytes(bytes(row, "customer")?),
        step: row.try_get("step")?,
        action: from_json(row, "action")?,
        class,
        topic: row.try_get("topic")?,
        state: row.try_get::<&str, _>("state")?.parse().map_err(StoreError::Corrupt)?,
        decided_at: timestamp(row, "decided_at")?,
        due_at: timestamp(row, "due_at")?,
        expires_at: timestamp(row, "expires_at")?,
        n_attempts: row.try_get("n_attempts")?,
        settled_at: settled_at.map(Timestamp::from_micros),
        reason: row.try_get("reason")?,
        receipt: row.try_get("receipt")?,
    })
}
