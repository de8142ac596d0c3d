//! Running: who wakes whom, and how everything comes to rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::notify::Notifier;
use crate::api::{ApiState, Limits, Readiness, WriteKey, serve};
use crate::channels::Channel;
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::pipeline::PipelineError;

/// Nobody sleeps longer than this without looking at the clock again, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After an error of the store, before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How long deliveries under way may take to finish when the daemon stops.
const GRACE: Duration = Duration::from_secs(25);
/// How long records stay in the log after they were derived from.
const KEEP_LOG: SignedDuration = SignedDuration::from_hours(7 * 24);

struct Ready;

impl Readiness for Ready {
    fn check(&self) -> Result<(), String> {
        // The store was opened, migrated and read before the listener was bound.
        Ok(())
    }
}

impl Engine {
    /// Serves `listener` and works until `stop`; then takes nothing more in, lets what is under way finish, and returns.
    pub async fn run(
        self: Arc<Self>,
        config: &Config,
        listener: TcpListener,
        environment: &super::Environment,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut write_keys = Vec::new();
        for key in &config.http.write_keys {
            let text =
                key.key.resolve(&|name| environment(name)).map_err(|e| anyhow::anyhow!("http.write_keys: {e}"))?;
            write_keys.push(WriteKey { key: text, source: key.source.clone() });
        }
        let state = ApiState {
            intake: self.inbox.clone(),
            clock: self.pipeline.clock.clone(),
            write_keys,
            unsubscribe: self.pipeline.unsubscribe.clone(),
            metrics: self.pipeline.metrics.clone(),
            ready: Arc::new(Ready),
            limits: Limits::default(),
            business_name: config.business.name.clone(),
        };
        let notifier = Notifier::of(environment);
        let workers = tokio_util::task::TaskTracker::new();
        let mut serving = workers.spawn(serve(listener, state, stop.clone()));
        workers.spawn(self.clone().keep_deciding(stop.clone()));
        workers.spawn(self.clone().keep_watching(notifier.clone(), stop.clone()));
        workers.spawn(self.clone().keep_counting(stop.clone()));
        workers.spawn(self.clone().keep_alive(notifier.clone(), stop.clone()));
        for channel in self.pipeline.channels.clone() {
            workers.spawn(self.clone().keep_delivering(channel, stop.clone()));
        }
        notifier.ready(&self.status());
        stop.cancelled().await;
        notifier.stopping();
        // Requests under way are answered before the log takes nothing more in.
        if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
            tracing::warn!("some requests were still open when the grace period ended");
        }
        self.inbox.drain();
        self.decided.notify_waiters();
        workers.close();
        if tokio::time::timeout(GRACE, workers.wait()).await.is_err() {
            tracing::warn!(n_workers = workers.len(), "some work did not finish in time; the next start sorts it out");
        }
        Ok(())
    }

    async fn keep_deciding(self: Arc<Self>, stop: CancellationToken) {
        let mut trimmed_at = Timestamp::EPOCH;
        while !stop.is_cancelled() {
            self.pipeline.metrics.step();
            let pause = match self.decide().await {
                Ok(n) => {
                    if n > 0 {
                        self.decided.notify_waiters();
                    }
                    let now = self.pipeline.clock.now();
                    if now.since(trimmed_at) > SignedDuration::from_hours(1) {
                        trimmed_at = now;
                        self.trim_log(now).await;
                    }
                    self.until(self.pipeline.next_tick(now))
                }
                Err(error) => {
                    tracing::error!(error = %error, "deciding failed; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.arrived.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn keep_delivering(self: Arc<Self>, channel: Arc<dyn Channel>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let decided = self.decided.notified();
            let pause = match self.deliver_through(&*channel).await {
                Ok(next) => self.until(next),
                Err(error) => {
                    tracing::error!(channel = channel.name(), error = %error, "delivering failed; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = decided => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn deliver_through(&self, channel: &dyn Channel) -> Result<Option<Timestamp>, PipelineError> {
        self.pipeline.deliver_beside(channel, &self.desk, &self.decided).await?;
        Ok(self.pipeline.store.next_due(Some(channel.name())).await?)
    }

    /// How long to sleep until `next`, by our own clock.
    fn until(&self, next: Option<Timestamp>) -> Duration {
        let wait = next.map(|next| next.since(self.pipeline.clock.now()));
        let wait = wait.map_or(LONGEST_SLEEP, |wait| Duration::try_from(wait).unwrap_or(Duration::ZERO));
        // Never quite zero: a delivery of another channel may be due all the time.
        wait.clamp(Duration::from_millis(20), LONGEST_SLEEP)
    }

    async fn trim_log(&self, now: Timestamp) {
        let trimmed = async {
            let position = self.pipeline.store.position().await?;
            self.pipeline.log.trim(position, now.minus(KEEP_LOG)).await
        };
        match trimmed.await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n_records = n, "records older than seven days were cut off the log"),
            Err(error) => tracing::warn!(error = %error, "the log could not be cut"),
        }
    }
}
