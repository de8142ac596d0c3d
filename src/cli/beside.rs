//! Writing beside a daemon: an operator's statements go into the log like any other fact, and whoever runs derives them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{environment, start_logging};
use crate::config::Config;
use crate::daemon::Engine;
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::customer::Identity;
use crate::domain::event::{Fact, OPERATOR};
use crate::domain::id::CustomerId;
use crate::stores::sqlite::{Access, SqliteFiles, is_owned};
use crate::stores::{Append, Log, ProfileStore};

/// A daemon looks every second; one that is busy needs longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events looked at for imported ones among them.
const FRESH: usize = 10_000;

/// Who made what was appended true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenUp {
    /// The daemon that runs on the folder.
    ByTheDaemon,
    /// This command: nobody else runs.
    Here,
    /// Nobody yet: a daemon runs and is busy.
    Later,
}

impl TakenUp {
    pub(super) fn is_done(self) -> bool {
        self != TakenUp::Later
    }

    /// For people, after "it is recorded".
    pub(super) fn in_words(self) -> &'static str {
        match self {
            TakenUp::ByTheDaemon => "the running daemon has taken it up",
            TakenUp::Here => "it is carried out",
            TakenUp::Later => "the running daemon is busy and takes it up when it comes to it",
        }
    }
}

/// An operator's statement about these customers, made now.
pub(super) fn statement(name: &str, about: &[CustomerId]) -> Fact {
    let now = SystemClock.now();
    let ids: Vec<String> = about.iter().map(ToString::to_string).collect();
    Fact {
        source: OPERATOR.to_owned(),
        message_id: format!("{name}:{}:{}", ids.join(":"), now.as_micros()),
        name: name.to_owned(),
        occurred_at: now,
        received_at: now,
        known_at: now,
        imported: false,
        identities: about.iter().copied().map(Identity::own).collect(),
        traits: serde_json::Map::new(),
        properties: serde_json::Map::new(),
        context: serde_json::Map::new(),
    }
}

/// Appends facts to the log, synced, and sees to it that they are taken up.
pub(super) async fn state(config: &Config, facts: Vec<Fact>) -> anyhow::Result<TakenUp> {
    let files = SqliteFiles::open(&config.store.path, Access::Beside).await?;
    files.log.append(&Append { facts, ..Append::default() }).await?;
    let end = files.log.end().await?;
    let taken = take_up(config, &files, end).await;
    files.close().await;
    taken
}

/// Lets everything up to `end` of the log be derived: by the daemon where one runs, else here.
pub(super) async fn take_up(config: &Config, files: &SqliteFiles, end: i64) -> anyhow::Result<TakenUp> {
    let started = Instant::now();
    loop {
        if files.store.position().await? >= end {
            return Ok(TakenUp::ByTheDaemon);
        }
        if !is_owned(&config.store.path) {
            derive_here(config).await?;
            return Ok(TakenUp::Here);
        }
        if started.elapsed() > PATIENCE {
            return Ok(TakenUp::Later);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// As the daemon would, except that nothing is swept and nothing is sent: what is due waits for its start.
async fn derive_here(config: &Config) -> anyhow::Result<()> {
    start_logging(false, "warn");
    let variables = environment();
    let engine = Engine::open(config, Arc::new(SystemClock), &move |name| variables.get(name).cloned()).await?;
    let position = engine.pipeline.store.position().await?;
    engine.pipeline.derive_all(|_| ()).await?;
    let fresh = engine.pipeline.store.scan_events(position, FRESH).await?;
    if fresh.iter().any(|(_, event)| event.fact.imported) {
        // As at the end of an import: its customers wait for their scores.
        engine.pipeline.settle_import().await?;
    }
    engine.close().await;
    Ok(())
}

/// Now, for what is written without a fact.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}
