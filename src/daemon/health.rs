//! What `/readyz` says, and whether events are taken in: the workers note here whether their last try went well, and a look
//! every second adds what only shows from outside (free room, backlog, whether the log can be written again).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use super::disk::Disk;
use crate::api::Readiness;
use crate::pipeline::PipelineError;
use crate::pipeline::ingest::{Inbox, IntakeError};
use crate::stores::{Append, StoreError};

/// How often the daemon looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Records waiting to be derived past which more work should go elsewhere. A backlog is normal after an import or an
/// outage, and this much is derived in minutes.
const MAX_BACKLOG: u64 = 2_000_000;

/// How the daemon is.
pub(super) struct Health {
    inbox: Arc<Inbox>,
    /// Worker → why its last try failed.
    troubles: Mutex<BTreeMap<String, String>>,
    backlog: AtomicU64,
    /// A write failed for want of room since somebody last asked.
    no_room: AtomicBool,
    disk_full: AtomicBool,
}

impl Health {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        let (troubles, backlog, no_room, disk_full) = Default::default();
        Health { inbox, troubles, backlog, no_room, disk_full }
    }

    /// Notes how a worker's try ended. A trouble is logged when it begins and when it is over, not at every try.
    pub(super) fn note(&self, worker: &str, outcome: Result<(), &PipelineError>) {
        if let Err(PipelineError::Store(StoreError::Full(_))) = outcome {
            self.no_room.store(true, Ordering::SeqCst);
        }
        match outcome {
            Ok(()) => {
                if self.troubles().remove(worker).is_some() {
                    tracing::info!("{worker} goes on");
                }
            }
            Err(error) => self.fails(worker, &error.to_string()),
        }
    }

    /// Notes that a worker's try failed.
    pub(super) fn fails(&self, worker: &str, why: &str) {
        if self.troubles().insert(worker.to_owned(), why.to_owned()).is_none() {
            tracing::error!(error = %why, "{worker} failed and is tried again until it goes on: {why}");
        }
    }

    /// Whether a write failed for want of room since this was last asked.
    pub(super) fn ran_out_of_room(&self) -> bool {
        let in_log = self.inbox.take_full();
        self.no_room.swap(false, Ordering::SeqCst) || in_log
    }

    pub(super) fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::SeqCst);
    }

    fn first_trouble(&self) -> Option<String> {
        self.troubles().iter().next().map(|(worker, why)| format!("{worker} failed: {why}"))
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readiness for Health {
    fn check(&self) -> Result<(), String> {
        if self.disk_full.load(Ordering::SeqCst) {
            return Err("the disk is full; make room beside the database".to_owned());
        }
        if let Some(error) = self.inbox.trouble() {
            return Err(format!("the log cannot be written: {error}"));
        }
        if let Some(trouble) = self.first_trouble() {
            return Err(trouble);
        }
        match self.backlog.load(Ordering::SeqCst) {
            n if n > MAX_BACKLOG => {
                Err(format!("{n} events are waiting to be derived; more than {MAX_BACKLOG} is too much"))
            }
            _ => Ok(()),
        }
    }

    fn takes_events(&self) -> Result<(), IntakeError> {
        if self.disk_full.load(Ordering::SeqCst) { Err(IntakeError::Full) } else { Ok(()) }
    }
}

impl Engine {
    /// Until `stop`: looks at room, backlog and store.
    pub(super) async fn keep_looking(self: Arc<Self>, health: Arc<Health>, mut disk: Disk, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(files) = &self.files {
                disk.look(&health, files).await;
            }
            if health.inbox.trouble().is_some() {
                // While it says "not ready" nobody may send anything that would find out.
                drop(health.inbox.append(Append::default()).await);
            }
            let backlog = self.backlog().await;
            health.note("reading the store", backlog.as_ref().map(drop).map_err(|error| error as &PipelineError));
            if let Ok(backlog) = backlog {
                health.backlog.store(backlog, Ordering::SeqCst);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn backlog(&self) -> Result<u64, PipelineError> {
        // The log first: what is appended in between must not look like a negative backlog.
        let end = self.pipeline.log.end().await?;
        Ok(end.saturating_sub(self.pipeline.store.position().await?).max(0).unsigned_abs())
    }
}

/// For a log line.
pub(super) fn listed(items: impl IntoIterator<Item = impl Display>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    all.join(", ")
}
