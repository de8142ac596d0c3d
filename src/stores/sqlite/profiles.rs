//! Deriving: what a batch reads before it decides, and the one commit that writes what it decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::cache::Before;
use super::many::Many;
use super::{SqliteStore, begin, bytes, from_json, hex, hexes, json, sql, timestamp, unhex};
use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::Event;
use crate::domain::id::{CustomerId, DeliveryId};
use crate::stores::{Columns, Commit, Contact, CustomerState, LedgerView, ProfileStore, StoreError, StoreResult};

/// To take so many customers apart takes milliseconds, for which the next batch should not wait.
const MANY: usize = 500;

#[async_trait]
impl ProfileStore for SqliteStore {
    async fn position(&self) -> StoreResult<i64> {
        let value: Option<String> =
            sqlx::query_scalar("SELECT value FROM meta WHERE key = 'position'").fetch_optional(&self.readers).await?;
        let parse = |text: String| text.parse().map_err(|e| StoreError::Corrupt(format!("position `{text}`: {e}")));
        value.map_or(Ok(0), parse)
    }

    async fn known_keys(&self, keys: &[[u8; 16]]) -> StoreResult<HashMap<[u8; 16], [u8; 16]>> {
        let rows = sqlx::query(sql!("known_keys")).bind(hexes(keys)).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((bytes(row, "key")?, bytes(row, "body_hash")?))).collect()
    }

    async fn find_identities(&self, identities: &[Identity]) -> StoreResult<HashMap<Identity, CustomerId>> {
        let asked: Vec<_> = identities
            .iter()
            .filter(|i| i.kind != IdentityKind::CustomerId)
            .map(|i| (i.kind.as_str(), &i.value))
            .collect();
        let rows = sqlx::query(sql!("find_identities")).bind(json(&asked)).fetch_all(&self.readers).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let kind: IdentityKind = row.try_get::<&str, _>("kind")?.parse().map_err(StoreError::Corrupt)?;
            let identity = Identity { kind, value: row.try_get("value")? };
            found.insert(identity, CustomerId::from_bytes(bytes(row, "customer")?));
        }
        // Our own ids name a customer directly; the customer may have been merged into another since.
        let own = identities.iter().filter(|i| i.kind == IdentityKind::CustomerId);
        let own: Vec<(CustomerId, &Identity)> = own.filter_map(|i| Some((i.value.parse().ok()?, i))).collect();
        if !own.is_empty() {
            let today = self.follow_merges(own.iter().map(|(id, _)| id)).await?;
            found.extend(own.iter().filter_map(|(id, identity)| Some(((*identity).clone(), *today.get(id)?))));
        }
        Ok(found)
    }

    async fn load_customers(&self, ids: &[CustomerId]) -> StoreResult<HashMap<CustomerId, CustomerState>> {
        let mut found = self.read_customers(ids, Columns::All).await?;
        let merged: Vec<CustomerId> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        if !merged.is_empty() {
            let today = self.follow_merges(&merged).await?;
            let survivors: Vec<CustomerId> = today.values().copied().collect();
            let states = self.read_customers(&survivors, Columns::All).await?;
            found.extend(today.iter().filter_map(|(asked, id)| Some((*asked, states.get(id)?.clone()))));
        }
        Ok(found)
    }

    async fn scan_customers(
        &self,
        columns: Columns,
        segment: Option<&str>,
        after: Option<CustomerId>,
        max: usize,
    ) -> StoreResult<Vec<CustomerState>> {
        let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        let statement = if segment.is_some() { sql!("scan_members") } else { sql!("scan_customers") };
        let query = sqlx::query_scalar(statement).bind(after).bind(i64::try_from(max).unwrap_or(i64::MAX));
        let query = if segment.is_some() { query.bind(segment) } else { query };
        let text: String = query.fetch_one(&self.readers).await?;
        let ids: Vec<CustomerId> = unhex(&text)?.into_iter().map(CustomerId::from_bytes).collect();
        let mut states = self.read_customers(&ids, columns).await?;
        Ok(ids.iter().filter_map(|id| states.remove(id)).collect())
    }

    async fn ledger_of(&self, ids: &[CustomerId], since: Timestamp) -> StoreResult<HashMap<CustomerId, LedgerView>> {
        // A customer who is asked for twice would have had every message twice.
        let ids: BTreeSet<&CustomerId> = ids.iter().collect();
        let ids = hexes(ids.into_iter().map(CustomerId::as_bytes));
        let since = since.as_micros();
        let mut views: HashMap<CustomerId, LedgerView> = HashMap::new();
        for row in &sqlx::query(sql!("last_firings")).bind(&ids).fetch_all(&self.readers).await? {
            let view = views.entry(CustomerId::from_bytes(bytes(row, "customer")?)).or_default();
            view.last_firing.insert(row.try_get("rule")?, timestamp(row, "at")?);
        }
        for row in &sqlx::query(sql!("recent_occasions")).bind(&ids).bind(since).fetch_all(&self.readers).await? {
            let view = views.entry(CustomerId::from_bytes(bytes(row, "customer")?)).or_default();
            view.occasions.insert((row.try_get("rule")?, row.try_get("occasion")?));
        }
        for row in &sqlx::query(sql!("recent_contacts")).bind(&ids).bind(since).fetch_all(&self.readers).await? {
            let view = views.entry(CustomerId::from_bytes(bytes(row, "customer")?)).or_default();
            let (at, delivery) = (timestamp(row, "at")?, DeliveryId::from_bytes(bytes(row, "id")?));
            let (waits, leased) = (row.try_get("waits")?, row.try_get("leased")?);
            view.contacts.push(Contact { at, delivery, waits, leased });
        }
        Ok(views)
    }

    async fn commit_batch(&self, commit: &Commit) -> StoreResult<()> {
        let merged = commit.merges.iter().map(|m| &m.absorbed);
        let split = commit.split.iter().flat_map(|split| split.members.iter().map(|(id, ..)| id));
        let changed = commit.customers.iter().chain(&commit.judged).map(|c| &c.customer);
        let before = self.cache.forget(changed.chain(merged).chain(split));
        let mut writer = self.writer.lock().await?;
        let mut tx = begin(&mut writer).await?;
        let n_text = write_profiles(&mut tx, commit, &before).await?;
        write_decisions(&mut tx, commit).await?;
        // Last, so that what was decided about somebody who is absorbed in the same batch follows, too.
        super::merges::write(&mut tx, &commit.merges).await?;
        super::merges::separate(&mut tx, &commit.separations).await?;
        if let Some(tick) = &commit.tick {
            super::ticks::save(&mut tx, sql!("save_tick"), tick).await?;
        }
        if let Some(position) = commit.position {
            set_meta(&mut tx, "position", &position.to_string()).await?;
        }
        tx.commit().await?;
        if !commit.separations.is_empty() {
            self.cache.note_separated(None);
        }
        let living = commit.customers.iter().zip(n_text);
        let living = living.filter(|(c, _)| !commit.merges.iter().any(|m| m.absorbed == c.customer));
        self.cache.learn(living.map(|(c, n_text)| (c.clone(), n_text)));
        let judged = commit.judged.iter().filter_map(|c| Some((c.clone(), before.n_text(c.customer)?)));
        self.cache.learn(judged);
        if before.len() >= MANY {
            drop(tokio::task::spawn_blocking(move || drop(before)));
        }
        Ok(())
    }
}

impl SqliteStore {
    /// These customers, from memory or from the file; those that were merged away are not among them.
    async fn read_customers(
        &self,
        ids: &[CustomerId],
        columns: Columns,
    ) -> StoreResult<HashMap<CustomerId, CustomerState>> {
        let (mut found, generation) = self.cache.find(ids);
        let missing: Vec<&[u8; 16]> =
            ids.iter().filter(|id| !found.contains_key(id)).map(CustomerId::as_bytes).collect();
        if !missing.is_empty() {
            let statement = if columns == Columns::All { sql!("load_customers") } else { sql!("load_profiles") };
            let rows = sqlx::query(statement).bind(hexes(missing)).fetch_all(&self.readers).await?;
            let read: Vec<(CustomerState, usize)> = rows
                .iter()
                .map(|row| Ok((state(row)?, row.try_get::<&str, _>("profile")?.len())))
                .collect::<StoreResult<_>>()?;
            found.extend(read.iter().map(|(state, _)| (state.customer, state.clone())));
            // Who was read in part must not pass for whole.
            if columns == Columns::All {
                self.cache.keep(read, generation);
            }
        }
        if columns == Columns::Profile {
            for state in found.values_mut() {
                (state.scores, state.segments) = Default::default();
            }
        }
        Ok(found)
    }

    /// Which customer each of these is today.
    async fn follow_merges<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a CustomerId>,
    ) -> StoreResult<HashMap<CustomerId, CustomerId>> {
        let ids = hexes(ids.into_iter().map(CustomerId::as_bytes));
        let rows = sqlx::query(sql!("follow_merges")).bind(ids).fetch_all(&self.readers).await?;
        let id = |row, column| bytes(row, column).map(CustomerId::from_bytes);
        rows.iter().map(|row| Ok((id(row, "asked")?, id(row, "id")?))).collect()
    }
}

/// Events first, then the customers and the handles that lead to them. Says how long the text of each customer's profile
/// is.
async fn write_profiles(tx: &mut Transaction<'_, Sqlite>, commit: &Commit, before: &Before) -> StoreResult<Vec<usize>> {
    write_events(tx, &commit.events).await?;
    if let Some(split) = &commit.split {
        super::merges::split(tx, split).await?;
    }
    let n_text = write_customers(tx, &commit.customers).await?;
    write_judgements(tx, commit, before).await?;
    if !commit.identities.is_empty() {
        let links = commit.identities.iter();
        let rows: Vec<_> = links.map(|(i, c)| (i.kind.as_str(), &i.value, hex(c.as_bytes()))).collect();
        sqlx::query(sql!("link_identities")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    Ok(n_text)
}

// Nothing is left of a batch of which one row is refused, so a statement need not be able to take back its own.
static EVENTS: Many = Many::new(
    "INSERT OR FAIL INTO events (position, id, key, body_hash, customer, arrived_as, name, known_at, fact)",
    9,
    64,
    "",
);
static CUSTOMERS: Many = Many::new(
    "INSERT OR FAIL INTO customers (id, created_at, profile)",
    3,
    64,
    "ON CONFLICT (id) DO UPDATE SET profile = excluded.profile",
);
static JUDGEMENTS: Many = Many::new(
    "INSERT OR FAIL INTO judgements (customer, scores, segments)",
    3,
    64,
    "ON CONFLICT (customer) DO UPDATE SET scores = excluded.scores, segments = excluded.segments",
);

/// While `SQLite` writes some of them, the next ones are put into words.
async fn write_events(tx: &mut Transaction<'_, Sqlite>, events: &[(i64, Event)]) -> StoreResult<()> {
    let mut in_words = events.chunks(EVENTS.n_rows).map(|some| {
        let row = |(position, event): &(i64, Event)| {
            let fact = &event.fact;
            let hashes = (fact.dedupe_key().to_vec(), fact.body_hash().to_vec());
            let customer = event.customer.map(|c| c.as_bytes().to_vec());
            (*position, event.id.as_bytes().to_vec(), hashes, customer, fact.name.clone(), fact.known_at, json(fact))
        };
        some.iter().map(row).collect::<Vec<_>>()
    });
    let mut next = in_words.next();
    while let Some(some) = next {
        let written = EVENTS.write(tx, some, |row, (position, id, (key, body), customer, name, known_at, fact)| {
            let row = row.bind(position).bind(id).bind(key).bind(body).bind(customer.clone()).bind(customer);
            row.bind(name).bind(known_at.as_micros()).bind(fact)
        });
        let done;
        (done, next) = tokio::join!(written, async { in_words.next() });
        done?;
    }
    Ok(())
}

/// Profiles are large: they are bound as they are, many to a statement, instead of being taken out of one JSON list.
async fn write_customers(tx: &mut Transaction<'_, Sqlite>, customers: &[CustomerState]) -> StoreResult<Vec<usize>> {
    let mut n_text = Vec::with_capacity(customers.len());
    let mut in_words = customers.chunks(CUSTOMERS.n_rows).map(|some| {
        let row = |c: &CustomerState| {
            let profile = json(&c.profile);
            n_text.push(profile.len());
            (c.customer.as_bytes().to_vec(), c.created_at, profile)
        };
        some.iter().map(row).collect::<Vec<_>>()
    });
    let mut next = in_words.next();
    while let Some(some) = next {
        let written = CUSTOMERS
            .write(tx, some, |row, (id, created_at, profile)| row.bind(id).bind(created_at.as_micros()).bind(profile));
        let done;
        (done, next) = tokio::join!(written, async { in_words.next() });
        done?;
    }
    drop(in_words);
    Ok(n_text)
}

/// Scores change with every day and with every order; memberships seldom do. What stands as it is is left alone.
async fn write_judgements(tx: &mut Transaction<'_, Sqlite>, commit: &Commit, before: &Before) -> StoreResult<()> {
    let judged: Vec<&CustomerState> = commit.customers.iter().chain(&commit.judged).collect();
    let unsure: Vec<&CustomerState> = judged.iter().copied().filter(|c| !before.same_segments(c)).collect();
    let stand = stored_segments(tx, &unsure).await?;
    let changed: Vec<&CustomerState> = judged.into_iter().filter(|c| !before.same_judgement(c)).collect();
    for some in changed.chunks(JUDGEMENTS.n_rows) {
        let row = |c: &&CustomerState| (c.customer.as_bytes().to_vec(), json(&c.scores), json(&c.segments));
        let rows = some.iter().map(row).collect();
        JUDGEMENTS.write(tx, rows, |row, (id, scores, segments)| row.bind(id).bind(scores).bind(segments)).await?;
    }
    let id = |c: &CustomerState| hex(c.customer.as_bytes());
    let moved = unsure.into_iter().filter(|c| stand.get(&c.customer).is_none_or(|segments| *segments != *c.segments));
    let moved: Vec<&CustomerState> = moved.collect();
    let leaves: Vec<String> = moved.iter().filter(|c| stand.contains_key(&c.customer)).map(|c| id(c)).collect();
    if !leaves.is_empty() {
        sqlx::query(sql!("clear_members")).bind(json(&leaves)).execute(&mut **tx).await?;
    }
    let of = |c: &CustomerState| {
        let id = id(c);
        let names: Vec<_> =
            c.segments.iter().filter(|(_, is)| **is).map(|(name, _)| (name.clone(), id.clone())).collect();
        names
    };
    let members: Vec<(String, String)> = moved.iter().flat_map(|c| of(c)).collect();
    if !members.is_empty() {
        sqlx::query(sql!("save_members")).bind(json(&members)).execute(&mut **tx).await?;
    }
    Ok(())
}

/// The memberships of these customers as they stand in the file; of those who have any judgement.
async fn stored_segments(
    tx: &mut Transaction<'_, Sqlite>,
    customers: &[&CustomerState],
) -> StoreResult<HashMap<CustomerId, BTreeMap<String, bool>>> {
    if customers.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = hexes(customers.iter().map(|c| c.customer.as_bytes()));
    let rows = sqlx::query(sql!("segments_of")).bind(ids).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| Ok((CustomerId::from_bytes(bytes(row, "customer")?), from_json(row, "segments")?))).collect()
}

async fn write_decisions(tx: &mut Transaction<'_, Sqlite>, commit: &Commit) -> StoreResult<()> {
    if !commit.signals.is_empty() {
        let rows: Vec<_> = commit
            .signals
            .iter()
            .map(|s| {
                let cause = s.cause.map(|c| hex(c.as_bytes()));
                (hex(s.id.as_bytes()), hex(s.customer.as_bytes()), &s.segment, s.transition.as_str(), s.at, cause)
            })
            .collect();
        sqlx::query(sql!("insert_signals")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    if !commit.firings.is_empty() {
        let rows: Vec<_> = commit
            .firings
            .iter()
            .map(|f| {
                let (id, customer) = (hex(f.id.as_bytes()), hex(f.customer.as_bytes()));
                (id, &f.rule, &f.rule_version, customer, &f.occasion, f.at, i32::from(f.held_out), &f.trace)
            })
            .collect();
        sqlx::query(sql!("insert_firings")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    if !commit.deliveries.is_empty() {
        let occasions: HashMap<_, _> = commit.firings.iter().map(|f| (f.id, f.occasion.as_str())).collect();
        let rows: Vec<_> = commit
            .deliveries
            .iter()
            .map(|d| {
                let occasion = occasions.get(&d.firing).copied().unwrap_or_default();
                let key = (hex(d.id.as_bytes()), hex(d.firing.as_bytes()), &d.rule, hex(d.customer.as_bytes()));
                let what =
                    (occasion, d.step, d.action.channel(), &d.action, d.class.map(MessageClass::as_str), &d.topic);
                let when = (d.state.as_str(), d.decided_at, d.due_at, d.expires_at, &d.reason);
                serde_json::json!([
                    key.0, key.1, key.2, key.3, what.0, what.1, what.2, what.3, what.4, what.5, when.0, when.1, when.2,
                    when.3, when.4
                ])
            })
            .collect();
        sqlx::query(sql!("insert_deliveries")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    if !commit.refusals.is_empty() {
        let rows: Vec<_> = commit
            .refusals
            .iter()
            .map(|r| (&r.rule, hex(r.customer.as_bytes()), r.step, r.reason, r.at, &r.occasion))
            .collect();
        sqlx::query(sql!("count_refusals")).bind(json(&rows)).execute(&mut **tx).await?;
    }
    Ok(())
}

pub(super) async fn set_meta(tx: &mut Transaction<'_, Sqlite>, key: &str, value: &str) -> StoreResult<()> {
    let statement =
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sqlx::query(statement).bind(key).bind(value).execute(&mut **tx).await?;
    Ok(())
}

pub(super) fn state(row: &SqliteRow) -> StoreResult<CustomerState> {
    Ok(CustomerState {
        customer: CustomerId::from_bytes(bytes(row, "id")?),
        created_at: timestamp(row, "created_at")?,
        profile: Arc::new(from_json(row, "profile")?),
        scores: Arc::new(from_json(row, "scores")?),
        segments: Arc::new(from_json(row, "segments")?),
    })
}
