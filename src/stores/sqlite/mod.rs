//! `SQLite`: two files in one folder, `log.db` and `store.db`, each with one writing connection and readers beside it.
//!
//! Both run in WAL mode with `synchronous = FULL`: a commit is on the disk when it returns. Lists are bound as one JSON
//! parameter and taken apart by `json_each`, so every statement is static text and one round trip to the connection's
//! thread. Statements live in `sql/`, one file each, named after what they do.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};

use self::cache::Cache;
use self::writer::{Writer, begin};
use super::{Store, StoreError, StoreResult};
use crate::domain::clock::Timestamp;

pub mod ballast;
mod cache;
mod copy;
mod health;
mod ledger;
mod listing;
mod log;
mod many;
mod merges;
mod profiles;
mod reading;
mod rebuilt;
mod ticks;
mod writer;

pub use copy::{Copied, copy_log, copy_store, doubt_what_was_due, examine};
pub use rebuilt::{Difference, compare, take_over};

/// The text of `sql/NAME.sql`.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}
pub(crate) use sql;

pub use health::{FileHealth, Holder, holder, look_through};

/// How the folder is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the one daemon (or import) that writes; created if missing, migrated if older.
    Own,
    /// To look, beside a daemon or without one.
    Look,
    /// To write a little, beside a daemon or without one: an operator's statements, a task that is done. Every write is
    /// short and waits for `SQLite`'s own lock; the files are neither created nor migrated.
    Beside,
}

/// `store.db`.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    cache: Arc<Cache>,
}

/// `log.db`.
#[derive(Clone, Debug)]
pub struct SqliteLog {
    writer: Writer,
    readers: SqlitePool,
}

/// Both files, and the lock that keeps a second daemon out for as long as this lives.
#[derive(Debug)]
pub struct SqliteFiles {
    /// The inbox.
    pub log: SqliteLog,
    /// Everything behind it.
    pub store: SqliteStore,
    _lock: Option<File>,
}

impl SqliteFiles {
    /// Opens both files in `dir`.
    pub async fn open(dir: &Path, access: Access) -> StoreResult<Self> {
        let lock = match access {
            Access::Own => Some(lock(dir)?),
            Access::Look | Access::Beside if dir.join("store.db").exists() => None,
            Access::Look | Access::Beside => {
                let help = "check `[store] path`, or start with `rekindle run`, `import` or `demo`";
                return Err(StoreError::Open(format!("there is no rekindle data in {}; {help}", dir.display())));
            }
        };
        let (log_writer, log_readers) = open_file(&dir.join("log.db"), access, LOG_MEMORY).await?;
        let (writer, readers) = open_file(&dir.join("store.db"), access, STORE_MEMORY).await?;
        if access == Access::Own {
            let mut connection = log_writer.lock().await?;
            migrate(&sqlx::migrate!("migrations/sqlite/log"), &mut connection, &dir.join("log.db")).await?;
            let mut connection = writer.lock().await?;
            migrate(&sqlx::migrate!("migrations/sqlite/store"), &mut connection, &dir.join("store.db")).await?;
        } else {
            same_shape(&sqlx::migrate!("migrations/sqlite/log"), &log_readers, &dir.join("log.db")).await?;
            same_shape(&sqlx::migrate!("migrations/sqlite/store"), &readers, &dir.join("store.db")).await?;
        }
        let cache = if access == Access::Own { Cache::of_the_owner() } else { Cache::default() };
        Ok(SqliteFiles {
            log: SqliteLog { writer: log_writer, readers: log_readers },
            store: SqliteStore { writer, readers, cache: Arc::new(cache) },
            _lock: lock,
        })
    }

    /// Folds the write-ahead logs back into the files and cuts them off, which frees the room they took. A reader in the
    /// way makes it a smaller fold, not an error.
    pub async fn checkpoint(&self) -> StoreResult<()> {
        for writer in [&self.log.writer, &self.store.writer] {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer.lock().await?).await?;
        }
        Ok(())
    }

    /// Closes both files, folding the write-ahead logs back into them.
    pub async fn close(self) {
        for (readers, writer) in [(&self.log.readers, &self.log.writer), (&self.store.readers, &self.store.writer)] {
            readers.close().await;
            writer.close().await;
        }
    }
}

/// Keeps everybody else from owning a folder for as long as it lives.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Holds the folder without opening it; `None` while a daemon (or an import) has it.
pub fn hold(dir: &Path) -> Option<Held> {
    lock(dir).ok().map(|lock| Held { _lock: lock })
}

/// Whether a daemon (or an import) has the folder. It may be gone a moment later, or another may have come.
pub fn is_owned(dir: &Path) -> bool {
    lock(dir).is_err()
}

fn lock(dir: &Path) -> StoreResult<File> {
    let fail = |e: &dyn std::fmt::Display| StoreError::Open(format!("{} cannot be used: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(|e| fail(&e))?;
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(|e| fail(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(fail(&"another rekindle is running on it; stop that one, or give this one its own `[store] path`"))
        }
        Err(TryLockError::Error(e)) => Err(fail(&e)),
    }
}

/// How many pages a connection may keep in memory. Nothing is mapped: every connection would map the file for itself, and of
/// a file of some gigabytes all that was ever touched stays resident, once for each.
#[derive(Clone, Copy)]
struct PageMemory {
    writer_kib: u32,
    reader_kib: u32,
}

/// The writer meets the same pages of the indexes in every batch; a reader's cache is dropped at every commit anyway.
const STORE_MEMORY: PageMemory = PageMemory { writer_kib: 32 * 1_024, reader_kib: 4 * 1_024 };
/// Appended to and read in order: hardly a page is needed twice.
const LOG_MEMORY: PageMemory = PageMemory { writer_kib: 2 * 1_024, reader_kib: 1_024 };

async fn open_file(path: &Path, access: Access, memory: PageMemory) -> StoreResult<(Writer, SqlitePool)> {
    let base = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .synchronous(SqliteSynchronous::Full)
        // 20,000 pages: with the default of 1,000 every second page is written twice under load.
        .pragma("wal_autocheckpoint", "20000")
        // Rows wait for their reader instead of the connection's thread for every fifty of them.
        .row_buffer_size(4_096)
        .pragma("temp_store", "MEMORY");
    let cache = |kib: u32| format!("-{kib}");
    let fail = |e: sqlx::Error| StoreError::Open(format!("{} cannot be opened: {e}", path.display()));
    let writer_options = match access {
        Access::Own => base
            .clone()
            .pragma("cache_size", cache(memory.writer_kib))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal),
        Access::Look => base.clone().read_only(true),
        Access::Beside => base.clone(),
    };
    let writer = Writer::open(&writer_options).await.map_err(fail)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        // Nothing lies between us and the file that could have gone away.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(base.pragma("cache_size", cache(memory.reader_kib)).read_only(true))
        .await
        .map_err(fail)?;
    Ok((writer, readers))
}

async fn migrate(
    migrator: &sqlx::migrate::Migrator,
    connection: &mut SqliteConnection,
    path: &Path,
) -> StoreResult<()> {
    migrator.run(connection).await.map_err(|e| {
        StoreError::Open(match e {
            sqlx::migrate::MigrateError::VersionMissing(version) => format!(
                "{} was written by a newer rekindle (migration {version} is unknown to this one); use that version or newer",
                path.display()
            ),
            e => format!("{} cannot be brought to this version's shape: {e}", path.display()),
        })
    })
}

/// Only the owner migrates; whoever comes beside it must find the shape that this version knows.
async fn same_shape(migrator: &sqlx::migrate::Migrator, pool: &SqlitePool, path: &Path) -> StoreResult<()> {
    let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?;
    let ours = migrator.iter().map(|m| m.version).max();
    match found.cmp(&ours) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(StoreError::Open(format!(
            "{} was written by an older rekindle; start this version once with `rekindle run`, which brings it up",
            path.display()
        ))),
        std::cmp::Ordering::Greater => Err(StoreError::Open(format!(
            "{} was written by a newer rekindle (migration {} is unknown to this one); use that version or newer",
            path.display(),
            found.unwrap_or_default()
        ))),
    }
}

impl Store for SqliteStore {}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                StoreError::Corrupt(error.to_string())
            }
            sqlx::Error::Database(error) => of_sqlite(&*error),
            error => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// No room in the file system (`SQLITE_FULL`, `SQLITE_IOERR_SHMSIZE`), or a quota or limit on files that is used up
/// (`SQLITE_IOERR_WRITE`).
const NO_ROOM: [i32; 3] = [13, 4874, 778];
/// `SQLITE_BUSY`, in the low byte of the extended code.
const BUSY: i32 = 5;

fn of_sqlite(error: &dyn sqlx::error::DatabaseError) -> StoreError {
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
    if NO_ROOM.contains(&code) {
        return StoreError::Full(error.message().to_owned());
    }
    if code & 0xff == BUSY {
        return StoreError::Unavailable(format!(
            "{}: another program holds it (a backup, a SQLite shell); work goes on by itself when that ends",
            error.message()
        ));
    }
    StoreError::Unavailable(error.to_string())
}

/// One JSON parameter.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("what is bound has string keys only")
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn hexes<'a>(ids: impl IntoIterator<Item = &'a [u8; 16]>) -> String {
    json(&ids.into_iter().map(|id| hex(id)).collect::<Vec<_>>())
}

/// Ids that were put together as one text, as `scan_customers.sql` does.
fn unhex(text: &str) -> StoreResult<Vec<[u8; 16]>> {
    let digit = |at: u8| char::from(at).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let id = |digits: &[u8]| -> Option<[u8; 16]> {
        digits.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
    };
    let ids: Option<Vec<_>> = text.as_bytes().chunks(32).map(id).collect();
    ids.ok_or_else(|| StoreError::Corrupt("a list of ids is cut".to_owned()))
}

/// Sixteen bytes of a column.
fn bytes(row: &SqliteRow, column: &str) -> StoreResult<[u8; 16]> {
    let value: Vec<u8> = row.try_get(column)?;
    value.try_into().map_err(|_| StoreError::Corrupt(format!("column `{column}` does not hold 16 bytes")))
}

fn optional_bytes(row: &SqliteRow, column: &str) -> StoreResult<Option<[u8; 16]>> {
    let value: Option<Vec<u8>> = row.try_get(column)?;
    value.map(TryInto::try_into).transpose().map_err(|_| StoreError::Corrupt(format!("column `{column}` is cut")))
}

fn timestamp(row: &SqliteRow, column: &str) -> StoreResult<Timestamp> {
    Ok(Timestamp::from_micros(row.try_get(column)?))
}

fn from_json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> StoreResult<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("column `{column}`: {e}")))
}
