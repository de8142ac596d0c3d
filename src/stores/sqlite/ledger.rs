//! Delivering: leases and moves. Every move names the states it may start from, so a worker that lost its lease changes
//! nothing.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteStore, begin, bytes, from_json, hex, json, sql, timestamp};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::id::{CustomerId, DeliveryId, FiringId};
use crate::stores::{LedgerStore, Move, StoreError, StoreResult};

/// The receipt of a task.
const ON_THE_LIST: &str = "on the task list";

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
        // One statement is a transaction of its own.
        let mut writer = self.writer.lock().await?;
        let rows = sqlx::query(sql!("claim_deliveries"))
            .bind(channel)
            .bind(now.as_micros())
            .bind(lease_until.as_micros())
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&mut *writer)
            .await?;
        drop(writer);
        let mut claimed: Vec<Delivery> = rows.iter().map(delivery).collect::<StoreResult<_>>()?;
        // RETURNING keeps no order.
        claimed.sort_by_key(|d| (d.due_at, d.id));
        Ok(claimed)
    }

    async fn apply_moves(&self, moves: &[Move]) -> StoreResult<Vec<bool>> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        let mut seen = HashSet::new();
        let made = if moves.iter().all(|one| seen.insert(whose(one))) {
            apply_together(&mut tx, moves).await?
        } else {
            // Of one delivery's moves each begins where the one before it ended.
            let mut made = Vec::with_capacity(moves.len());
            for one in moves {
                made.extend(apply_together(&mut tx, std::slice::from_ref(one)).await?);
            }
            made
        };
        tx.commit().await?;
        Ok(made)
    }

    async fn abandoned_deliveries(&self, now: Option<Timestamp>) -> StoreResult<Vec<Delivery>> {
        let query = sqlx::query(sql!("abandoned_deliveries")).bind(now.map(Timestamp::as_micros));
        query.fetch_all(&self.readers).await?.iter().map(delivery).collect()
    }

    async fn next_due(&self, channel: Option<&str>) -> StoreResult<Option<Timestamp>> {
        let query = match channel {
            Some(channel) => sqlx::query_scalar(sql!("next_due_by")).bind(channel),
            None => sqlx::query_scalar(sql!("next_due")),
        };
        let next: Option<i64> = query.fetch_one(&self.readers).await?;
        Ok(next.map(Timestamp::from_micros))
    }
}

fn whose(one: &Move) -> DeliveryId {
    match one {
        Move::Commit { delivery, .. } | Move::Settle { delivery, .. } => *delivery,
        Move::OpenTask { delivery, .. } => delivery.id,
    }
}

/// Moves of as many deliveries, by as many statements as there are kinds of moves.
async fn apply_together(tx: &mut Transaction<'_, Sqlite>, moves: &[Move]) -> StoreResult<Vec<bool>> {
    let (mut intents, mut outcomes, mut attempts, mut tasks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in moves {
        match one {
            Move::Commit { delivery, at: _ } => intents.push(hex(delivery.as_bytes())),
            Move::Settle { delivery, state, due_at, reason, receipt, attempt, at } => {
                let (id, attempt) = (hex(delivery.as_bytes()), u8::from(*attempt));
                if attempt == 1 {
                    let detail = receipt.as_deref().or(reason.as_deref()).unwrap_or_default();
                    attempts.push((*delivery, (id.clone(), at, state.as_str(), detail)));
                }
                outcomes.push((id, state.as_str(), due_at, reason.as_deref(), receipt.as_deref(), attempt, at));
            }
            Move::OpenTask { delivery, at } => {
                let Action::Task { title, details } = &delivery.action else {
                    return Err(StoreError::Corrupt(format!("{} is not a task", delivery.id)));
                };
                let (id, customer) = (hex(delivery.id.as_bytes()), hex(delivery.customer.as_bytes()));
                let state = DeliveryState::Sent.as_str();
                attempts.push((delivery.id, (id.clone(), at, state, ON_THE_LIST)));
                outcomes.push((id.clone(), state, &None, None, Some(ON_THE_LIST), 1, at));
                tasks.push((delivery.id, (id, customer, &delivery.rule, title, json(details), at)));
            }
        }
    }
    let mut made = HashSet::new();
    if !intents.is_empty() {
        made.extend(changed(tx, sql!("commit_deliveries"), json(&intents)).await?);
    }
    if !outcomes.is_empty() {
        made.extend(changed(tx, sql!("settle_deliveries"), json(&outcomes)).await?);
    }
    let attempts: Vec<_> = attempts.iter().filter(|(id, _)| made.contains(id)).map(|(_, row)| row).collect();
    if !attempts.is_empty() {
        sqlx::query(sql!("insert_attempts")).bind(json(&attempts)).execute(&mut **tx).await?;
    }
    let tasks: Vec<_> = tasks.iter().filter(|(id, _)| made.contains(id)).map(|(_, row)| row).collect();
    if !tasks.is_empty() {
        sqlx::query(sql!("open_tasks")).bind(json(&tasks)).execute(&mut **tx).await?;
    }
    Ok(moves.iter().map(|one| made.contains(&whose(one))).collect())
}

/// Which deliveries a statement changed.
async fn changed(
    tx: &mut Transaction<'_, Sqlite>,
    statement: &'static str,
    rows: String,
) -> StoreResult<Vec<DeliveryId>> {
    let changed = sqlx::query(statement).bind(rows).fetch_all(&mut **tx).await?;
    changed.iter().map(|row| Ok(DeliveryId::from_bytes(bytes(row, "id")?))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sqlite::{Access, SqliteFiles};

    /// The end of the quiet hours makes a whole campaign due in one instant.
    #[tokio::test]
    async fn to_claim_a_few_only_a_few_are_read_however_many_wait() {
        let dir = tempfile::tempdir().unwrap();
        let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
        for (statement, by) in [
            (sql!("claim_deliveries"), "SEARCH deliveries USING INDEX deliveries_waiting (channel=? AND due_at<?)"),
            (sql!("next_due_by"), "SEARCH deliveries USING INDEX deliveries_waiting (channel=?)"),
            (sql!("next_due"), "SEARCH d USING INDEX deliveries_waiting (channel=?)"),
        ] {
            let question = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = sqlx::query(question).fetch_all(&files.store.readers).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().any(|step| step.contains(by)), "{plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE") || step.contains("SCAN d")), "{plan:#?}");
        }
    }
}
