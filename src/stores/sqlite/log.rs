//! `log.db`: the inbox.

use async_trait::async_trait;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use super::many::Many;
use super::{SqliteLog, begin, bytes, from_json, hex, hexes, json, sql, timestamp};
use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::domain::id::digest;
use crate::domain::quarantine::Quarantined;
use crate::stores::{Append, Log, LogRecord, QuarantineFilter, QuarantineStore, StoreResult};

// Fewer go through a list in JSON, which is taken apart by `SQLite`: no statement has to be compiled for every number of
// facts that can gather.
static INBOX: Many = Many::new("INSERT OR FAIL INTO inbox (fact)", 1, 128, "");

async fn append_facts(tx: &mut Transaction<'_, Sqlite>, facts: &[Fact]) -> StoreResult<()> {
    let whole = facts.chunks_exact(INBOX.n_rows);
    let rest = whole.remainder();
    for some in whole {
        INBOX.write(tx, some.iter().map(json).collect(), sqlx::query::Query::bind).await?;
    }
    if !rest.is_empty() {
        append_few(tx, rest).await?;
    }
    Ok(())
}

async fn append_few(connection: &mut SqliteConnection, facts: &[Fact]) -> StoreResult<()> {
    sqlx::query(sql!("append_facts")).bind(json(facts)).execute(connection).await?;
    Ok(())
}

/// Records cut off by one statement: some milliseconds, which is how long an acknowledgement may wait for it.
const TRIMMED_PER_STATEMENT: i64 = 1_000;

#[async_trait]
impl Log for SqliteLog {
    async fn append(&self, append: &Append) -> StoreResult<()> {
        let mut writer = self.writer.lock().await?;
        let Append { facts, quarantined, cursors } = append;
        if quarantined.is_empty() && cursors.is_empty() && (1..INBOX.n_rows).contains(&facts.len()) {
            // One statement is a transaction of its own, and synced like any other: two trips to the connection less.
            return append_few(&mut writer, facts).await;
        }
        let mut tx = begin(&mut writer).await?;
        write(&mut tx, append).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn read_after(&self, position: i64, max: usize) -> StoreResult<Vec<LogRecord>> {
        let rows = sqlx::query("SELECT position, fact FROM inbox WHERE position > $1 ORDER BY position LIMIT $2")
            .bind(position)
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok(LogRecord { position: row.try_get("position")?, fact: from_json(row, "fact")? }))
            .collect()
    }

    async fn end(&self) -> StoreResult<i64> {
        // The sequence table remembers positions that were cut off already.
        let end = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'")
            .fetch_optional(&self.readers)
            .await?;
        Ok(end.unwrap_or(0))
    }

    async fn cursor(&self, source: &str) -> StoreResult<Option<String>> {
        let query = sqlx::query_scalar("SELECT cursor FROM cursors WHERE source = $1");
        Ok(query.bind(source).fetch_optional(&self.readers).await?)
    }

    async fn trim(&self, position: i64, before: Timestamp) -> StoreResult<u64> {
        // Arrival times rise with positions, so the first record that is too young ends the cut.
        let young = "SELECT position FROM inbox WHERE fact ->> 'received_at' >= $1 ORDER BY position LIMIT 1";
        let young = sqlx::query_scalar(young).bind(before.as_micros()).fetch_optional(&self.readers).await?;
        let end = young.map_or(position, |young: i64| position.min(young - 1));
        let mut n_removed = 0;
        loop {
            // The writer is handed on after each piece, first come, first served: an append waits for one piece at most.
            let piece = sqlx::query(sql!("trim")).bind(end).bind(TRIMMED_PER_STATEMENT);
            let piece = piece.execute(&mut *self.writer.lock().await?).await?;
            n_removed += piece.rows_affected();
            if piece.rows_affected() < TRIMMED_PER_STATEMENT.unsigned_abs() {
                return Ok(n_removed);
            }
        }
    }

    async fn quarantine_counts(&self) -> StoreResult<Vec<(String, String, u64)>> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT source, reason, count(*) FROM quarantine GROUP BY source, reason ORDER BY source, reason",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(|(source, reason, n)| (source, reason, n.cast_unsigned())).collect())
    }
}

async fn write(tx: &mut Transaction<'_, Sqlite>, append: &Append) -> StoreResult<()> {
    append_facts(tx, &append.facts).await?;
    if !append.quarantined.is_empty() {
        let rows: Vec<_> = append
            .quarantined
            .iter()
            .map(|q| {
                let key = digest(&[q.source.as_bytes(), q.reason.as_bytes(), q.record.as_bytes()]);
                (hex(&key[..16]), &q.source, &q.locator, &q.reason, &q.message, &q.record, q.at)
            })
            .collect();
        sqlx::query(sql!("append_quarantined")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    for (source, cursor, at) in &append.cursors {
        sqlx::query(sql!("move_cursor")).bind(source).bind(cursor).bind(at.as_micros()).execute(&mut **tx).await?;
    }
    Ok(())
}

#[async_trait]
impl QuarantineStore for SqliteLog {
    async fn list_quarantined(&self, filter: &QuarantineFilter) -> StoreResult<Vec<([u8; 16], Quarantined)>> {
        let (at, key) = filter.after.map_or((i64::MAX, vec![0xff; 16]), |(at, key)| (at.as_micros(), key.to_vec()));
        let query = sqlx::query(sql!("list_quarantined")).bind(&filter.source).bind(&filter.reason);
        let query = query.bind(json(&filter.keys)).bind(at).bind(key).bind(filter.max);
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let quarantined = Quarantined {
                    source: row.try_get("source")?,
                    locator: row.try_get("locator")?,
                    reason: row.try_get("reason")?,
                    message: row.try_get("message")?,
                    record: row.try_get("record")?,
                    at: timestamp(row, "at")?,
                };
                Ok((bytes(row, "key")?, quarantined))
            })
            .collect()
    }

    async fn release(&self, keys: &[[u8; 16]], append: &Append) -> StoreResult<()> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        let statement = "DELETE FROM quarantine WHERE key IN (SELECT unhex(value) FROM json_each($1))";
        sqlx::query(statement).bind(hexes(keys)).execute(&mut *tx).await?;
        write(&mut tx, append).await?;
        tx.commit().await?;
        Ok(())
    }
}
