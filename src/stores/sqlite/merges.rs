//! Merging: what belongs to an absorbed customer follows to the survivor.

use std::collections::HashMap;

use sqlx::{Sqlite, Transaction};

use super::{hex, json};
use crate::domain::id::CustomerId;
use crate::stores::StoreResult;

/// `$1`: JSON array of [absorbed, survivor].
const ABSORB: &str = "UPDATE customers SET merged_into = unhex(m.value ->> 1), profile = NULL
     FROM json_each($1) AS m WHERE customers.id = unhex(m.value ->> 0)";
/// What goes, and what follows. `$1`: JSON array of [absorbed, last survivor].
const FOLLOWING: [&str; 9] = [
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
    // The only table where both may hold a row under one key; the absorbed one's counts on.
    "UPDATE OR REPLACE refusals SET customer = unhex(m.value ->> 1)
     FROM json_each($1) AS m WHERE refusals.customer = unhex(m.value ->> 0)",
];

/// `merges` in the order in which they happened; a survivor may be absorbed by a later one.
pub(super) async fn write(tx: &mut Transaction<'_, Sqlite>, merges: &[(CustomerId, CustomerId)]) -> StoreResult<()> {
    if merges.is_empty() {
        return Ok(());
    }
    let next: HashMap<CustomerId, CustomerId> = merges.iter().copied().collect();
    let last = |mut id: CustomerId| {
        while let Some(&survivor) = next.get(&id) {
            id = survivor;
        }
        id
    };
    let pair = |(a, b): (CustomerId, CustomerId)| (hex(a.as_bytes()), hex(b.as_bytes()));
    let steps = json(&merges.iter().copied().map(pair).collect::<Vec<_>>());
    sqlx::query(ABSORB).bind(steps).execute(&mut **tx).await?;
    let ends = json(&merges.iter().map(|&(absorbed, _)| pair((absorbed, last(absorbed)))).collect::<Vec<_>>());
    for statement in FOLLOWING {
        sqlx::query(statement).bind(&ends).execute(&mut **tx).await?;
    }
    Ok(())
}
