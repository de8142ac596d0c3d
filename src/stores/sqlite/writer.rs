//! The one connection of a file that writes. Writers queue for it, first come, first served, and so never meet
//! `SQLITE_BUSY` among themselves.
//!
//! It is no pool of one: a pool asks a connection whether it still lives whenever it hands it out and whenever it takes it
//! back, which is two more trips to its thread for each commit, and takes it back on the thread that let go of it, which may be
//! one that has to wait for the processor.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::stores::{StoreError, StoreResult};

#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Mutex<Option<SqliteConnection>>>);

impl Writer {
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        Ok(Writer(Arc::new(Mutex::new(Some(options.connect().await?)))))
    }

    /// The connection, for as long as the answer lives.
    pub(super) async fn lock(&self) -> StoreResult<MappedMutexGuard<'_, SqliteConnection>> {
        let closed = |_| StoreError::Unavailable("the store was closed".to_owned());
        MutexGuard::try_map(self.0.lock().await, Option::as_mut).map_err(closed)
    }

    pub(super) async fn close(&self) {
        // It is gone either way, and what it committed is on the disk.
        if let Some(connection) = self.0.lock().await.take() {
            connection.close().await.ok();
        }
    }
}

/// Takes the write lock at the start, so a transaction never fails half-way because a reader became a writer.
pub(super) async fn begin(connection: &mut SqliteConnection) -> StoreResult<Transaction<'_, Sqlite>> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}
