//! Schedules and models.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteStore, begin, from_json, json, optional_bytes, sql, timestamp};
use crate::domain::clock::Timestamp;
use crate::domain::id::CustomerId;
use crate::stores::{ModelStore, StoreResult, StoredModel, TickProgress, TickStore};

#[async_trait]
impl TickStore for SqliteStore {
    async fn ticks_of(&self, schedules: &[&str]) -> StoreResult<(HashMap<String, Timestamp>, Vec<TickProgress>)> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as(sql!("newest_ticks")).bind(json(schedules)).fetch_all(&self.readers).await?;
        let newest = rows.into_iter().map(|(schedule, at)| (schedule, Timestamp::from_micros(at))).collect();
        let rows = sqlx::query("SELECT schedule, at, position FROM ticks WHERE done_at IS NULL ORDER BY at")
            .fetch_all(&self.readers)
            .await?;
        let open = rows
            .iter()
            .map(|row| {
                Ok(TickProgress {
                    schedule: row.try_get("schedule")?,
                    at: timestamp(row, "at")?,
                    position: optional_bytes(row, "position")?.map(CustomerId::from_bytes),
                    done_at: None,
                })
            })
            .collect::<StoreResult<_>>()?;
        Ok((newest, open))
    }

    async fn begin_ticks(&self, ticks: &[TickProgress]) -> StoreResult<()> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        for tick in ticks {
            save(&mut tx, sql!("begin_tick"), tick).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

pub(super) async fn save(
    tx: &mut Transaction<'_, Sqlite>,
    statement: &'static str,
    tick: &TickProgress,
) -> StoreResult<()> {
    sqlx::query(statement)
        .bind(&tick.schedule)
        .bind(tick.at.as_micros())
        .bind(tick.position.map(|id| id.as_bytes().to_vec()))
        .bind(tick.done_at.map(Timestamp::as_micros))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[async_trait]
impl ModelStore for SqliteStore {
    async fn meta(&self, key: &str) -> StoreResult<Option<String>> {
        let query = sqlx::query_scalar("SELECT value FROM meta WHERE key = $1");
        Ok(query.bind(key).fetch_optional(&self.readers).await?)
    }

    async fn set_meta(&self, key: &str, value: &str) -> StoreResult<()> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        super::profiles::set_meta(&mut tx, key, value).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn save_models(&self, models: &[StoredModel]) -> StoreResult<()> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        for model in models {
            sqlx::query(
                "INSERT OR REPLACE INTO models (kind, fitted_at, version, fitted, card) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&model.kind)
            .bind(model.fitted_at.as_micros())
            .bind(&model.version)
            .bind(json(&model.fitted))
            .bind(json(&model.card))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn models_at(&self, at: Timestamp) -> StoreResult<Vec<StoredModel>> {
        let rows = sqlx::query(sql!("models_at")).bind(at.as_micros()).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(StoredModel {
                    kind: row.try_get("kind")?,
                    fitted_at: timestamp(row, "fitted_at")?,
                    version: row.try_get("version")?,
                    fitted: from_json(row, "fitted")?,
                    card: from_json(row, "card")?,
                })
            })
            .collect()
    }
}
