//! Rebuild: everything is derived from the recorded events again, by the same code and in the same order, into another
//! store. No rules, no models and no ways out are given to it, so it can neither decide nor send.

use std::sync::Arc;

use async_trait::async_trait;

use super::{DecisionContext, Pipeline, PipelineError, PipelineParts, Strides};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::template::TemplateCards;
use crate::domain::unsubscribe::UnsubscribeSigner;
use crate::stores::{Append, Commit, Log, LogRecord, Store, StoreResult};
use crate::telemetry::Metrics;

/// The events that a store keeps, read as the log they came from.
struct Recorded {
    store: Arc<dyn Store>,
    until: i64,
}

#[async_trait]
impl Log for Recorded {
    /// Only events that were conflicts once could come here, and those were never stored.
    async fn append(&self, _: &Append) -> StoreResult<()> {
        Ok(())
    }

    async fn read_after(&self, position: i64, max: usize) -> StoreResult<Vec<LogRecord>> {
        let events = self.store.scan_events(position, max).await?;
        let known = events.into_iter().filter(|(position, _)| *position <= self.until);
        Ok(known.map(|(position, event)| LogRecord { position, fact: event.fact }).collect())
    }

    async fn end(&self) -> StoreResult<i64> {
        Ok(self.until)
    }

    async fn cursor(&self, _: &str) -> StoreResult<Option<String>> {
        Ok(None)
    }

    async fn trim(&self, _: i64, _: Timestamp) -> StoreResult<u64> {
        Ok(0)
    }

    async fn quarantine_counts(&self) -> StoreResult<Vec<(String, String, u64)>> {
        Ok(Vec::new())
    }
}

/// Derives `from`'s events up to its position into the empty store `into`. `progress` is told how many were done; says how
/// many events there were.
pub async fn derive_again(
    from: Arc<dyn Store>,
    into: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    context: DecisionContext,
    progress: impl FnMut(u64),
) -> Result<u64, PipelineError> {
    let until = from.position().await?;
    let context = DecisionContext {
        book: Arc::default(),
        templates: TemplateCards::default(),
        models: Vec::new(),
        schedules: Vec::new(),
        ..context
    };
    let parts = PipelineParts {
        log: Arc::new(Recorded { store: from, until }),
        store: into.clone(),
        clock,
        metrics: Arc::new(Metrics::new()),
        channels: Vec::new(),
        models: Vec::new(),
        unsubscribe: UnsubscribeSigner::new(Vec::new()),
        public_url: String::new(),
        strides: Strides::default(),
    };
    let n = Pipeline::new(parts, context).derive_all(progress).await?;
    // Behind the last event there may have been repetitions, which are not recorded.
    into.commit_batch(&Commit { position: Some(until), ..Commit::default() }).await?;
    Ok(n)
}
