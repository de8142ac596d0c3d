//! Merging: what belongs to an absorbed customer follows to the survivor, and goes back when the merge is undone.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteStore, begin, bytes, from_json, hex, hexes, json, sql, timestamp};
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::Event;
use crate::domain::id::{CustomerId, DeliveryId, EventId};
use crate::stores::{ListedMerge, Merge, OperatorStore, Separation, Split, StoreError, StoreResult};

/// `$1`: JSON array of [absorbed, survivor, position].
const ABSORB: [&str; 2] = [
    "UPDATE customers SET merged_into = unhex(m.value ->> 1), profile = NULL
     FROM json_each($1) AS m WHERE customers.id = unhex(m.value ->> 0)",
    "INSERT OR REPLACE INTO merges (absorbed, survivor, position)
     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1)",
];
/// What goes, and what follows. `$1`: JSON array of [absorbed, last survivor].
const FOLLOWING: [&str; 11] = [
    "DELETE FROM judgements WHERE customer IN (SELECT unhex(value ->> 0) FROM json_each($1))",
    "DELETE FROM members WHERE customer IN (SELECT unhex(value ->> 0) FROM json_each($1))",
    "UPDATE events SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE events.customer = unhex(m.value ->> 0)",
    "UPDATE identities SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE identities.customer = unhex(m.value ->> 0)",
    "UPDATE firings SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE firings.customer = unhex(m.value ->> 0)",
    "UPDATE deliveries SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE deliveries.customer = unhex(m.value ->> 0)",
    "UPDATE signals SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE signals.customer = unhex(m.value ->> 0)",
    "UPDATE tasks SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE tasks.customer = unhex(m.value ->> 0)",
    "UPDATE refusals SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE refusals.customer = unhex(m.value ->> 0)",
    "UPDATE separations SET first_today = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE separations.first_today = unhex(m.value ->> 0)",
    "UPDATE separations SET second_today = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE separations.second_today = unhex(m.value ->> 0)",
];
/// What goes back. `$1`: JSON array of [member, absorbed into or null, leads to], `$2`: the joined customer. Everything that
/// keeps whose it was at first goes where that customer leads to now.
const RETURNING: [&str; 13] = [
    "UPDATE customers SET merged_into = unhex(m.value ->> 1),
            profile = CASE WHEN m.value ->> 1 IS NULL THEN profile END
     FROM json_each($1) AS m WHERE customers.id = unhex(m.value ->> 0)",
    "DELETE FROM merges WHERE absorbed IN (SELECT unhex(value ->> 0) FROM json_each($1))",
    "DELETE FROM judgements WHERE customer IN
         (SELECT unhex(value ->> 0) FROM json_each($1) WHERE value ->> 1 IS NOT NULL)",
    "DELETE FROM members WHERE customer IN
         (SELECT unhex(value ->> 0) FROM json_each($1) WHERE value ->> 1 IS NOT NULL)",
    "UPDATE events SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE events.customer = $2 AND events.arrived_as = unhex(m.value ->> 0)",
    "UPDATE identities SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE identities.customer = $2 AND unhex(m.value ->> 0) = $2",
    "UPDATE tasks SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m JOIN deliveries AS d ON d.subject = unhex(m.value ->> 0)
     WHERE d.customer = $2 AND tasks.delivery = d.id",
    "UPDATE firings SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE firings.customer = $2 AND firings.subject = unhex(m.value ->> 0)",
    "UPDATE deliveries SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE deliveries.customer = $2 AND deliveries.subject = unhex(m.value ->> 0)",
    "UPDATE signals SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE signals.customer = $2 AND signals.subject = unhex(m.value ->> 0)",
    "UPDATE refusals SET customer = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE refusals.customer = $2 AND refusals.subject = unhex(m.value ->> 0)",
    "UPDATE separations SET first_today = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE separations.first_today = $2 AND separations.first = unhex(m.value ->> 0)",
    "UPDATE separations SET second_today = unhex(m.value ->> 2)
     FROM json_each($1) AS m WHERE separations.second_today = $2 AND separations.second = unhex(m.value ->> 0)",
];
/// `$1`: JSON array of [position, whose].
const REFILE: &str = "UPDATE events SET arrived_as = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE events.position = m.value ->> 0";
const INSERT: &str = "INSERT INTO merges (absorbed, survivor, position)
     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1)";
/// One that was joined by a later word and is stated again holds from when it held first.
const SEPARATE: &str = "INSERT OR IGNORE INTO separations (first, second, first_today, second_today, position)
     SELECT unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), unhex(value ->> 3), value ->> 4
     FROM json_each($1)";

fn rows(merges: &[Merge]) -> String {
    let row = |m: &Merge| (hex(m.absorbed.as_bytes()), hex(m.survivor.as_bytes()), m.position);
    json(&merges.iter().map(row).collect::<Vec<_>>())
}

/// `merges` in the order in which they happened; a survivor may be absorbed by a later one.
pub(super) async fn write(tx: &mut Transaction<'_, Sqlite>, merges: &[Merge]) -> StoreResult<()> {
    if merges.is_empty() {
        return Ok(());
    }
    let next: HashMap<CustomerId, CustomerId> = merges.iter().map(|m| (m.absorbed, m.survivor)).collect();
    let last = |mut id: CustomerId| {
        while let Some(&survivor) = next.get(&id) {
            id = survivor;
        }
        id
    };
    for statement in ABSORB {
        sqlx::query(statement).bind(rows(merges)).execute(&mut **tx).await?;
    }
    let end = |m: &Merge| (hex(m.absorbed.as_bytes()), hex(last(m.absorbed).as_bytes()));
    let ends = json(&merges.iter().map(end).collect::<Vec<_>>());
    for statement in FOLLOWING {
        sqlx::query(statement).bind(&ends).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Before the customers themselves are written.
pub(super) async fn split(tx: &mut Transaction<'_, Sqlite>, split: &Split) -> StoreResult<()> {
    let arrived: Vec<_> = split.arrived.iter().map(|(position, whose)| (position, hex(whose.as_bytes()))).collect();
    sqlx::query(REFILE).bind(json(&arrived)).execute(&mut **tx).await?;
    let member = |(id, into, today): &(CustomerId, Option<CustomerId>, CustomerId)| {
        (hex(id.as_bytes()), into.map(|id| hex(id.as_bytes())), hex(today.as_bytes()))
    };
    let members = json(&split.members.iter().map(member).collect::<Vec<_>>());
    for statement in RETURNING {
        let query = sqlx::query(statement).bind(&members);
        let query = if statement.contains("$2") { query.bind(split.joined.as_bytes().to_vec()) } else { query };
        query.execute(&mut **tx).await?;
    }
    sqlx::query(INSERT).bind(rows(&split.merges)).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn separate(tx: &mut Transaction<'_, Sqlite>, separations: &[Separation]) -> StoreResult<()> {
    if separations.is_empty() {
        return Ok(());
    }
    let row = |s: &Separation| {
        let id = |id: CustomerId| hex(id.as_bytes());
        (id(s.stated.0), id(s.stated.1), id(s.today.0), id(s.today.1), s.position)
    };
    let rows = json(&separations.iter().map(row).collect::<Vec<_>>());
    sqlx::query(SEPARATE).bind(rows).execute(&mut **tx).await?;
    Ok(())
}

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn list_merges(
        &self,
        living: Option<CustomerId>,
        after: Option<(i64, CustomerId)>,
        max: u32,
    ) -> StoreResult<Vec<ListedMerge>> {
        let (position, absorbed) = after.map_or((i64::MAX, vec![0xff; 16]), |(p, id)| (p, id.as_bytes().to_vec()));
        let query = sqlx::query(sql!("list_merges")).bind(position).bind(absorbed);
        let query = query.bind(living.map(|id| id.as_bytes().to_vec())).bind(max);
        let row = |row: &SqliteRow| {
            Ok(ListedMerge {
                merge: merge(row)?,
                living: CustomerId::from_bytes(bytes(row, "living")?),
                event: EventId::from_bytes(bytes(row, "event")?),
                name: row.try_get("name")?,
                source: row.try_get("source")?,
                at: timestamp(row, "received_at")?,
            })
        };
        query.fetch_all(&self.readers).await?.iter().map(row).collect()
    }

    async fn merge_of(&self, absorbed: CustomerId) -> StoreResult<Option<Merge>> {
        let query = sqlx::query("SELECT absorbed, survivor, position FROM merges WHERE absorbed = $1");
        query.bind(&absorbed.as_bytes()[..]).fetch_optional(&self.readers).await?.as_ref().map(merge).transpose()
    }

    async fn merges_into(&self, living: CustomerId) -> StoreResult<Vec<Merge>> {
        let query = sqlx::query(sql!("merges_into")).bind(&living.as_bytes()[..]);
        query.fetch_all(&self.readers).await?.iter().map(merge).collect()
    }

    async fn separations_of(&self, living: &[CustomerId]) -> StoreResult<Vec<Separation>> {
        if self.cache.none_separated() {
            return Ok(Vec::new());
        }
        let any: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM separations)").fetch_one(&self.readers).await?;
        self.cache.note_separated(Some(!any));
        let query = sqlx::query(sql!("separations_of")).bind(hexes(living.iter().map(CustomerId::as_bytes)));
        let row = |row: &SqliteRow| {
            let id = |column| bytes(row, column).map(CustomerId::from_bytes);
            let (stated, today) = ((id("first")?, id("second")?), (id("first_today")?, id("second_today")?));
            Ok(Separation { stated, today, position: row.try_get("position")? })
        };
        query.fetch_all(&self.readers).await?.iter().map(row).collect()
    }

    async fn events_filed(
        &self,
        customer: CustomerId,
        position: i64,
        max: usize,
    ) -> StoreResult<Vec<(i64, CustomerId, Event)>> {
        let query = sqlx::query(sql!("events_filed")).bind(&customer.as_bytes()[..]).bind(position);
        let query = query.bind(i64::try_from(max).unwrap_or(i64::MAX));
        let row = |row: &SqliteRow| {
            let id = EventId::from_bytes(bytes(row, "id")?);
            let event = Event { id, customer: Some(customer), fact: from_json(row, "fact")? };
            Ok((row.try_get("position")?, CustomerId::from_bytes(bytes(row, "arrived_as")?), event))
        };
        query.fetch_all(&self.readers).await?.iter().map(row).collect()
    }

    async fn known_since(&self, ids: &[CustomerId]) -> StoreResult<Vec<(CustomerId, Timestamp)>> {
        let query = sqlx::query(
            "SELECT c.id, c.created_at FROM json_each($1) AS j JOIN customers AS c ON c.id = unhex(j.value)",
        );
        let rows = query.bind(hexes(ids.iter().map(CustomerId::as_bytes))).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((CustomerId::from_bytes(bytes(row, "id")?), timestamp(row, "created_at")?))).collect()
    }

    async fn handles_of(&self, customer: CustomerId) -> StoreResult<Vec<Identity>> {
        let query = sqlx::query("SELECT kind, value FROM identities WHERE customer = $1 ORDER BY kind, value");
        let row = |row: &SqliteRow| {
            let kind: IdentityKind = row.try_get::<&str, _>("kind")?.parse().map_err(StoreError::Corrupt)?;
            Ok(Identity { kind, value: row.try_get("value")? })
        };
        query.bind(&customer.as_bytes()[..]).fetch_all(&self.readers).await?.iter().map(row).collect()
    }

    async fn ledger_size(&self, customer: CustomerId) -> StoreResult<(u64, u64, u64)> {
        let (firings, deliveries, refusals): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM firings WHERE customer = $1),
                    (SELECT count(*) FROM deliveries WHERE customer = $1),
                    (SELECT coalesce(sum(n), 0) FROM refusals WHERE customer = $1)",
        )
        .bind(&customer.as_bytes()[..])
        .fetch_one(&self.readers)
        .await?;
        Ok((firings.cast_unsigned(), deliveries.cast_unsigned(), refusals.cast_unsigned()))
    }

    async fn settle_task(&self, delivery: DeliveryId, done_at: Option<Timestamp>) -> StoreResult<bool> {
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        let statement = "UPDATE tasks SET done_at = $2 WHERE delivery = $1 AND (done_at IS NULL) = ($2 IS NOT NULL)";
        let query = sqlx::query(statement).bind(delivery.as_bytes().to_vec()).bind(done_at.map(Timestamp::as_micros));
        let done = query.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

fn merge(row: &SqliteRow) -> StoreResult<Merge> {
    Ok(Merge {
        absorbed: CustomerId::from_bytes(bytes(row, "absorbed")?),
        survivor: CustomerId::from_bytes(bytes(row, "survivor")?),
        position: row.try_get("position")?,
    })
}
