//! What is measured against: the same events through `SQLite`'s own C interface, and the disk's sync.

use std::io::Write;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::daemon::scratch;
use crate::events::Made;
use crate::http::percentile;

fn open(dir: &tempfile::TempDir) -> anyhow::Result<Connection> {
    let connection = Connection::open(dir.path().join("limit.db"))?;
    // What rekindle itself asks of SQLite.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 20000;
         PRAGMA cache_size = -32768;",
    )?;
    Ok(connection)
}

fn temporary() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("limit").tempdir_in(scratch())?)
}

/// Events a second into a table without an index: prepared, 1,000 to a transaction, each synced.
pub(crate) fn append_log(events: &[Made]) -> anyhow::Result<f64> {
    let dir = temporary()?;
    let connection = open(&dir)?;
    connection.execute_batch("CREATE TABLE log (position INTEGER PRIMARY KEY, event TEXT NOT NULL)")?;
    let mut insert = connection.prepare("INSERT INTO log (event) VALUES (?1)")?;
    let started = Instant::now();
    for some in events.chunks(1_000) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for event in some {
            insert.execute([&event.json])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(per_second(events.len(), started.elapsed()))
}

/// Events a second into a table with the two indexes that finding duplicates and a customer's events take: prepared, 10,000
/// to a transaction, each synced.
pub(crate) fn indexed(events: &[Made]) -> anyhow::Result<f64> {
    let dir = temporary()?;
    let connection = open(&dir)?;
    connection.execute_batch(
        "CREATE TABLE events (id BLOB NOT NULL UNIQUE, customer INTEGER NOT NULL, ts INTEGER NOT NULL, event TEXT NOT NULL);
         CREATE INDEX events_of_customer ON events (customer, ts)",
    )?;
    let statement = "INSERT INTO events (id, customer, ts, event) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let mut insert = connection.prepare(statement)?;
    let started = Instant::now();
    let mut ts = 0_i64;
    for some in events.chunks(10_000) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for event in some {
            ts += 1;
            insert.execute((&event.id.to_be_bytes()[..], event.customer.cast_signed(), ts, &event.json))?;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(per_second(events.len(), started.elapsed()))
}

/// How long one sync of 4 KiB appended to a file takes: the median of `n`.
pub(crate) fn sync_time(n: usize) -> anyhow::Result<Duration> {
    let dir = temporary()?;
    let mut file = std::fs::File::create(dir.path().join("synced"))?;
    let page = [7_u8; 4_096];
    let mut times = Vec::with_capacity(n);
    for _ in 0..n {
        let started = Instant::now();
        file.write_all(&page)?;
        file.sync_all()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(percentile(&times, 0.5))
}

pub(crate) fn per_second(n: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
