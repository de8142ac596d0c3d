//! Following: files that a shop goes on writing (`imported = false`) are read on every few seconds, through the ordinary
//! ingest, each batch and its cursor in one commit. What is wrong with one source is said once and tried again; it stops
//! neither the others nor the daemon.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Engine;
use super::health::Health;
use super::supervise::supervised;
use crate::connectors::{Connector, ConnectorError, SourceConfig, plugin};
use crate::pipeline::ingest::{ImportError, import};

/// How often a file is looked at for more.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After something went wrong, before the next try.
const PAUSE: Duration = Duration::from_secs(5);

/// One source that is followed.
struct Followed {
    config: SourceConfig,
    open: Option<Box<dyn Connector>>,
    /// The state of the plugin that was tried last; a broken one is not taken over, and the open one goes on.
    plugin_version: Option<String>,
    /// What was wrong last, so that it is said once.
    trouble: Option<String>,
}

impl Engine {
    /// Begins to follow every source that is still being written.
    pub(super) fn follow_sources(
        self: &Arc<Self>,
        workers: &TaskTracker,
        health: &Arc<Health>,
        stop: &CancellationToken,
    ) {
        let followed = self.config.sources.iter().filter(|source| !source.imported && source.path.is_some());
        for config in followed {
            let (worker, config) = (reading(config), config.clone());
            let (engine, noted, stopped) = (self.clone(), health.clone(), stop.clone());
            // A file is read without giving way, so each has a thread on which nothing else waits.
            let following = move || {
                let following = engine.clone().follow(config.clone(), noted.clone(), stopped.clone());
                let thread = tokio::task::spawn_blocking(move || Handle::current().block_on(following));
                async move {
                    if let Err(error) = thread.await
                        && let Ok(panic) = error.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                }
            };
            workers.spawn(supervised(worker, PAUSE, health.clone(), stop.clone(), following));
        }
    }

    async fn follow(self: Arc<Self>, config: SourceConfig, health: Arc<Health>, stop: CancellationToken) {
        let worker = reading(&config);
        let mut source = Followed { config, open: None, plugin_version: None, trouble: None };
        while !stop.is_cancelled() {
            let taken = self.take_in(&mut source).await;
            // It runs again, whatever a run before may have panicked about; a source's own trouble is no daemon's.
            health.note(&worker, Ok(()));
            let pause = if taken.is_ok() { LOOK_EVERY } else { PAUSE };
            source.note(taken.err());
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn take_in(&self, source: &mut Followed) -> Result<(), ImportError> {
        let refreshed = source.refresh(self);
        let Some(mut connector) = source.open.take() else { return refreshed.map_err(ImportError::from) };
        let place = source.config.place(None);
        let (log, clock) = (&*self.pipeline.log, &*self.pipeline.clock);
        let imported = import(&mut *connector, &place, false, log, &self.inbox, clock, |_, _| ()).await?;
        // A connector that failed is dropped above: it is opened anew, and goes on after the stored cursor.
        source.open = Some(connector);
        let counts = imported.counts;
        if counts.n_records > 0 {
            tracing::info!(
                source = %source.config.name,
                n_records = counts.n_records,
                n_events = counts.n_facts,
                n_quarantined = counts.n_quarantined,
                "read on from a source"
            );
        }
        refreshed.map_err(ImportError::from)
    }
}

/// What a reader is called where workers are named.
fn reading(config: &SourceConfig) -> String {
    format!("reading {}", config.name)
}

impl Followed {
    /// Opens the source where it is not open, and anew where its plugin was edited.
    fn refresh(&mut self, engine: &Engine) -> Result<(), ConnectorError> {
        let version = self.config.plugin.as_ref().map(|name| plugin::version(&self.config.plugin_folder, name));
        if self.open.is_some() && version == self.plugin_version {
            return Ok(());
        }
        let connector = self.config.open(None, &engine.pipeline.context().business)?;
        if self.open.is_some() {
            tracing::info!(source = %self.config.name, "the plugin was edited and is taken over");
        }
        (self.open, self.plugin_version) = (Some(connector), version);
        Ok(())
    }

    fn note(&mut self, error: Option<ImportError>) {
        let trouble = error.map(|error| error.to_string());
        if trouble == self.trouble {
            return;
        }
        if let Some(error) = &trouble {
            tracing::warn!(source = %self.config.name, error = %error, "a source cannot be read; trying again");
        } else {
            tracing::info!(source = %self.config.name, "the source can be read again");
        }
        self.trouble = trouble;
    }
}
