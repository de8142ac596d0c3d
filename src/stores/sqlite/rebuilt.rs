//! What was derived again beside what is stored: the differences, and taking the former over.
//!
//! Ground state (events, ledger) is never replaced. Of an event only whose it is, and of the ledger only whose a row is
//! today, follow from merges and are compared and corrected.

use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::{SqliteFiles, bytes, optional_bytes, sql, timestamp};
use crate::domain::id::{CustomerId, DeliveryId, EventId, FiringId, SignalId};
use crate::stores::{StoreError, StoreResult};

/// Fields named of one customer; a profile that differs in more is named with these.
const FIELDS_NAMED: usize = 20;

/// One field that is stored otherwise than it is derived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what: `customer cus_…`, `handle email ana@example.com`, `event evt_…`, `merge cus_…`, `delivery dlv_…`.
    pub of: String,
    /// Which field: `profile.traits.city.value`, `belongs to`.
    pub field: String,
    /// As it is stored; empty when it is missing.
    pub stored: String,
    /// As it was derived; empty when it is missing.
    pub derived: String,
}

/// Which customer everybody is today, by the rebuilt store; who is absent is itself.
const TODAY: &str = "CREATE TEMP TABLE today AS
    WITH RECURSIVE chain (asked, id, merged_into) AS (
        SELECT id, id, merged_into FROM fresh.customers WHERE merged_into IS NOT NULL
        UNION ALL
        SELECT chain.asked, c.id, c.merged_into FROM chain JOIN fresh.customers AS c ON c.id = chain.merged_into
    )
    SELECT asked AS id, id AS living FROM chain WHERE merged_into IS NULL";

/// One transaction, on the stored file alone: the rebuilt one is only read.
const TAKE_OVER: [&str; 20] = [
    "CREATE TEMP TABLE changed AS
     SELECT f.id FROM fresh.customers AS f LEFT JOIN main.customers AS o ON o.id = f.id
     WHERE f.merged_into IS NULL AND o.profile IS NOT f.profile",
    "DELETE FROM main.judgements WHERE customer IN (SELECT id FROM temp.changed)
        OR customer NOT IN (SELECT id FROM fresh.customers WHERE merged_into IS NULL)",
    "DELETE FROM main.members WHERE customer IN (SELECT id FROM temp.changed)
        OR customer NOT IN (SELECT id FROM fresh.customers WHERE merged_into IS NULL)",
    "DELETE FROM main.customers",
    "INSERT INTO main.customers (id, created_at, merged_into, profile)
     SELECT id, created_at, merged_into, profile FROM fresh.customers",
    "DELETE FROM main.identities",
    "INSERT INTO main.identities (kind, value, customer) SELECT kind, value, customer FROM fresh.identities",
    "DELETE FROM main.merges",
    "INSERT INTO main.merges (absorbed, survivor, position) SELECT absorbed, survivor, position FROM fresh.merges",
    "DELETE FROM main.separations",
    "INSERT INTO main.separations (first, second, first_today, second_today, position)
     SELECT first, second, first_today, second_today, position FROM fresh.separations",
    "UPDATE main.events SET customer = f.customer, arrived_as = f.arrived_as FROM fresh.events AS f
     WHERE f.position = main.events.position
       AND (main.events.customer IS NOT f.customer OR main.events.arrived_as IS NOT f.arrived_as)",
    "UPDATE main.firings SET customer = coalesce((SELECT living FROM temp.today WHERE id = subject), subject)",
    "UPDATE main.deliveries SET customer = coalesce((SELECT living FROM temp.today WHERE id = subject), subject)",
    "UPDATE main.signals SET customer = coalesce((SELECT living FROM temp.today WHERE id = subject), subject)",
    "UPDATE main.refusals SET customer = coalesce((SELECT living FROM temp.today WHERE id = subject), subject)",
    "UPDATE main.tasks SET customer = d.customer FROM main.deliveries AS d WHERE d.id = main.tasks.delivery",
    "DELETE FROM main.meta WHERE key = 'position'",
    "INSERT INTO main.meta (key, value) SELECT key, value FROM fresh.meta WHERE key = 'position'",
    "DROP TABLE temp.changed",
];

async fn beside(stored: &Path, fresh: &Path) -> StoreResult<SqliteConnection> {
    let mut connection = SqliteConnectOptions::new().filename(stored).connect().await?;
    attach(&mut connection, fresh).await?;
    Ok(connection)
}

async fn attach(connection: &mut SqliteConnection, fresh: &Path) -> StoreResult<()> {
    let path = fresh.to_str().ok_or_else(|| StoreError::Open(format!("{} is not text", fresh.display())))?;
    sqlx::query("ATTACH DATABASE $1 AS fresh").bind(path).execute(&mut *connection).await?;
    sqlx::query(TODAY).execute(&mut *connection).await?;
    sqlx::query("CREATE INDEX temp.today_by_id ON today (id)").execute(&mut *connection).await?;
    Ok(())
}

/// Tells `found` every field in which the store file `stored` differs from the rebuilt `fresh`. Changes neither.
pub async fn compare(stored: &Path, fresh: &Path, mut found: impl FnMut(Difference)) -> StoreResult<()> {
    let mut connection = beside(stored, fresh).await?;
    let mut rows = sqlx::query(sql!("differing_customers")).fetch(&mut connection);
    while let Some(row) = rows.try_next().await? {
        customer(&row)?.into_iter().for_each(&mut found);
    }
    drop(rows);
    let mut rows = sqlx::query(sql!("differing_owners")).fetch(&mut connection);
    while let Some(row) = rows.try_next().await? {
        found(owner(&row)?);
    }
    drop(rows);
    connection.close().await?;
    Ok(())
}

/// Takes what was derived again over into `files`, whole or not at all. Scores and segments of customers whose profile was
/// different are forgotten, and are settled at the next rescoring; everything else that was decided or sent stays.
pub async fn take_over(files: &SqliteFiles, fresh: &Path) -> StoreResult<()> {
    let mut connection = files.store.writer.lock().await?;
    attach(&mut connection, fresh).await?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for statement in TAKE_OVER {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    sqlx::query("DROP TABLE temp.today").execute(&mut *connection).await?;
    sqlx::query("DETACH DATABASE fresh").execute(&mut *connection).await?;
    files.store.cache.forget_all();
    Ok(())
}

fn customer(row: &SqliteRow) -> StoreResult<Vec<Difference>> {
    let of = format!("customer {}", CustomerId::from_bytes(bytes(row, "id")?));
    let one = |field: &str, stored: String, derived: String| {
        let field = field.to_owned();
        Difference { of: of.clone(), field, stored, derived }
    };
    let (in_store, in_fresh): (bool, bool) = (row.try_get("in_store")?, row.try_get("in_fresh")?);
    if !in_store || !in_fresh {
        let there = |is: bool| if is { "known" } else { "" }.to_owned();
        return Ok(vec![one("", there(in_store), there(in_fresh))]);
    }
    let mut found = Vec::new();
    let into = |column| Ok::<_, StoreError>(optional_bytes(row, column)?.map(CustomerId::from_bytes));
    let (stored, derived) = (into("stored_into")?, into("derived_into")?);
    if stored != derived {
        let text = |id: Option<CustomerId>| id.map_or_else(String::new, |id| id.to_string());
        found.push(one("merged into", text(stored), text(derived)));
    }
    let (stored, derived) = (timestamp(row, "stored_since")?, timestamp(row, "derived_since")?);
    if stored != derived {
        found.push(one("known since", stored.to_string(), derived.to_string()));
    }
    let profile = |column| -> StoreResult<Value> {
        let text: Option<&str> = row.try_get(column)?;
        let corrupt = |e| StoreError::Corrupt(format!("column `{column}`: {e}"));
        text.map_or(Ok(Value::Null), |text| serde_json::from_str(text).map_err(corrupt))
    };
    let mut fields = Vec::new();
    differing_fields("profile", &profile("stored")?, &profile("derived")?, &mut fields);
    found.extend(fields.into_iter().map(|(field, stored, derived)| one(&field, stored, derived)));
    Ok(found)
}

/// Every leaf in which two values differ, up to [`FIELDS_NAMED`].
fn differing_fields(path: &str, stored: &Value, derived: &Value, found: &mut Vec<(String, String, String)>) {
    if stored == derived || found.len() >= FIELDS_NAMED {
        return;
    }
    let (Value::Object(a), Value::Object(b)) = (stored, derived) else {
        let text = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
        found.push((path.to_owned(), text(stored), text(derived)));
        return;
    };
    let null = Value::Null;
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let path = format!("{path}.{key}");
        differing_fields(&path, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), found);
    }
}

fn owner(row: &SqliteRow) -> StoreResult<Difference> {
    let kind: &str = row.try_get("kind")?;
    let of = match kind {
        "handle" => format!("handle {}", row.try_get::<&str, _>("name")?),
        "event" => format!("event {}", EventId::from_bytes(bytes(row, "id")?)),
        "merge" => format!("merge of {}", CustomerId::from_bytes(bytes(row, "id")?)),
        "separation" => format!("separation of {}", CustomerId::from_bytes(bytes(row, "id")?)),
        "firing" => format!("firing {}", FiringId::from_bytes(bytes(row, "id")?)),
        "delivery" => format!("delivery {}", DeliveryId::from_bytes(bytes(row, "id")?)),
        "signal" => format!("signal {}", SignalId::from_bytes(bytes(row, "id")?)),
        other => format!("{other} of {}", CustomerId::from_bytes(bytes(row, "id")?)),
    };
    let whom = |column| -> StoreResult<String> {
        Ok(optional_bytes(row, column)?.map_or_else(String::new, |id| CustomerId::from_bytes(id).to_string()))
    };
    let field = if kind == "handle" { "belongs to" } else { row.try_get("name")? };
    Ok(Difference { of, field: field.to_owned(), stored: whom("stored")?, derived: whom("derived")? })
}
