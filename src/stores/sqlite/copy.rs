//! Copies of the two files while a daemon writes them, what can be said of a copy, and what a restored one must forget.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::migrate;
use crate::domain::clock::Timestamp;
use crate::stores::{StoreError, StoreResult};

/// What a copy of both files says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How far the store is derived from the log.
    pub position: i64,
    /// The last position of the log.
    pub log_end: i64,
    /// Records that the log no longer has and the store has not derived: 0 in every sound copy.
    pub n_lost: i64,
    /// The newest migration of the log, and of the store.
    pub versions: (i64, i64),
    /// Deliveries that had not come to an end.
    pub n_open_deliveries: i64,
    /// Those of them that a worker had in hand.
    pub n_under_way: i64,
    /// What `SQLite` finds wrong with either file.
    pub damage: Vec<String>,
}

/// `store.db` of `dir` as it is at one instant, into the folder `to`. The store must be copied before the log.
pub async fn copy_store(dir: &Path, to: &Path) -> StoreResult<()> {
    copy(dir, to, "store.db").await
}

/// `log.db`; it may be ahead of the store, and deriving catches up.
pub async fn copy_log(dir: &Path, to: &Path) -> StoreResult<()> {
    copy(dir, to, "log.db").await
}

/// One read transaction of `SQLite`'s own: writers go on meanwhile.
async fn copy(dir: &Path, to: &Path, name: &str) -> StoreResult<()> {
    let fail =
        |e: &dyn std::fmt::Display| StoreError::Open(format!("{} cannot be copied: {e}", dir.join(name).display()));
    std::fs::create_dir_all(to).map_err(|e| fail(&e))?;
    let target = to.join(name);
    let text = target.to_str().ok_or_else(|| fail(&"the target's path is not text"))?;
    let mut connection = SqliteConnectOptions::new().filename(dir.join(name)).connect().await?;
    sqlx::query("VACUUM INTO $1").bind(text).execute(&mut connection).await.map_err(|e| fail(&e))?;
    connection.close().await?;
    let file = std::fs::File::open(&target).map_err(|e| fail(&e))?;
    file.sync_all().map_err(|e| fail(&e))
}

/// Opens both copies without writing a byte and says what is in them.
pub async fn examine(folder: &Path) -> StoreResult<Copied> {
    let mut store = open_unchanged(&folder.join("store.db")).await?;
    let mut log = open_unchanged(&folder.join("log.db")).await?;
    let mut damage = Vec::new();
    for (name, file) in [("store.db", &mut store), ("log.db", &mut log)] {
        let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(file).await?;
        damage.extend(found.into_iter().filter(|word| word != "ok").map(|word| format!("{name}: {word}")));
    }
    let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let position: Option<i64> = sqlx::query_scalar("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'position'")
        .fetch_optional(&mut store)
        .await?;
    let position = position.unwrap_or(0);
    let log_end: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'").fetch_optional(&mut log).await?;
    let log_end = log_end.unwrap_or(0);
    let n_waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM inbox WHERE position > $1").bind(position).fetch_one(&mut log).await?;
    let n_open_deliveries =
        sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE state IN ('due', 'held', 'leased', 'committing')")
            .fetch_one(&mut store)
            .await?;
    let n_under_way = sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE state IN ('leased', 'committing')")
        .fetch_one(&mut store)
        .await?;
    let versions = (
        sqlx::query_scalar(version).fetch_one(&mut log).await?,
        sqlx::query_scalar(version).fetch_one(&mut store).await?,
    );
    log.close().await?;
    store.close().await?;
    let n_lost = (log_end - position).max(0) - n_waiting;
    Ok(Copied { position, log_end, n_lost, versions, n_open_deliveries, n_under_way, damage })
}

async fn open_unchanged(path: &Path) -> StoreResult<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    options.connect().await.map_err(|e| StoreError::Open(format!("{} cannot be opened: {e}", path.display())))
}

/// In a restored store: what had not come to an end when it was backed up may have been sent since, and so may whatever
/// else became due. The former is `unknown` from here on; `reason` makes the next start settle the latter. Says how many
/// deliveries that were.
pub async fn doubt_what_was_due(dir: &Path, reason: &str, now: Timestamp) -> StoreResult<u64> {
    let options = SqliteConnectOptions::new().filename(dir.join("store.db"));
    let mut connection = options.connect().await?;
    migrate(&sqlx::migrate!("migrations/sqlite/store"), &mut connection, &dir.join("store.db")).await?;
    let mut tx = super::begin(&mut connection).await?;
    let statement = "UPDATE deliveries SET state = 'unknown', reason = $1, settled_at = $2, lease_until = NULL
         WHERE state IN ('due', 'held', 'leased', 'committing')";
    let done = sqlx::query(statement).bind(reason).bind(now.as_micros()).execute(&mut *tx).await?;
    super::profiles::set_meta(&mut tx, crate::stores::RESTORED, reason).await?;
    tx.commit().await?;
    connection.close().await?;
    Ok(done.rows_affected())
}
