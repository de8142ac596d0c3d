//! Running: who wakes whom, and how everything comes to rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::behind::Behind;
use super::disk::Disk;
use super::health::{Health, listed};
use super::notify::Notifier;
use super::supervise::supervised;
use crate::api::{ApiState, Limits, WriteKey, serve};
use crate::channels::Channel;
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::pipeline::PipelineError;
use crate::pipeline::derive::SMALL_BATCH;
use crate::stores::sqlite::ballast::Ballast;

/// Nobody sleeps longer than this without looking at the clock again, which may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long a decision may wait for others behind a small batch, so that they share its statements and its sync. What
/// arrives at rest waits for nothing.
const GATHERING: Duration = Duration::from_millis(5);
/// After an error of the store, before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the daemon looks whether a command beside it has appended to the log.
const NOTICE_EVERY: Duration = Duration::from_secs(1);
/// How long what is under way may take to finish when the daemon stops, unless told otherwise. Service managers kill after
/// 30 seconds (containers) or 90 (systemd).
pub const GRACE: Duration = Duration::from_secs(25);
/// How long records stay in the log after they were derived from.
const KEEP_LOG: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The worker's name in the log and in `/readyz`.
const DECIDING: &str = "deciding";

fn delivering_by(channel: &dyn Channel) -> String {
    format!("delivering by {}", channel.name())
}

impl Engine {
    /// Serves `listener` and works until `stop`; then takes nothing more in, lets what is under way finish, and returns.
    /// After `grace` it returns all the same and says who was late.
    pub async fn run(
        self: Arc<Self>,
        config: &Config,
        listener: TcpListener,
        environment: &super::Environment,
        stop: CancellationToken,
        grace: Duration,
    ) -> anyhow::Result<()> {
        let mut write_keys = Vec::new();
        for key in &config.http.write_keys {
            let text =
                key.key.resolve(&|name| environment(name)).map_err(|e| anyhow::anyhow!("http.write_keys: {e}"))?;
            write_keys.push(WriteKey { key: text, source: key.source.clone() });
        }
        let health = Arc::new(Health::new(self.inbox.clone()));
        let ballast = Ballast::new(&config.store.path, config.store.ballast_bytes());
        let state = ApiState {
            intake: self.inbox.clone(),
            clock: self.pipeline.clock.clone(),
            write_keys,
            unsubscribe: self.pipeline.unsubscribe.clone(),
            metrics: self.pipeline.metrics.clone(),
            ready: health.clone(),
            // Requests first: they must be answered, or cut off, before the log takes nothing more in.
            limits: Limits { drain_timeout: grace.mul_f64(0.8), ..Limits::default() },
            business_name: config.business.name.clone(),
        };
        let behind = Behind::start()?;
        let notifier = Notifier::of(environment);
        let workers = tokio_util::task::TaskTracker::new();
        let serving = workers.spawn(serve(listener, state, stop.clone()));
        workers.spawn(self.clone().keep_looking(health.clone(), Disk::new(ballast), stop.clone()));
        workers.spawn(self.clone().keep_watching(notifier.clone(), stop.clone()));
        workers.spawn(self.clone().keep_noticing(stop.clone()));
        workers.spawn(self.clone().keep_counting(stop.clone()));
        workers.spawn(self.clone().keep_alive(notifier.clone(), stop.clone()));
        self.follow_sources(&workers, &health, &stop);
        let (deciding, noted, stopped) = (self.clone(), health.clone(), stop.clone());
        let deciding = move || deciding.clone().keep_deciding(noted.clone(), stopped.clone());
        let deciding = supervised(DECIDING.to_owned(), PAUSE, health.clone(), stop.clone(), deciding);
        workers.spawn_on(deciding, behind.handle());
        for channel in self.pipeline.channels.clone() {
            let worker = delivering_by(&*channel);
            let (delivering, noted, stopped) = (self.clone(), health.clone(), stop.clone());
            let delivering =
                move || delivering.clone().keep_delivering(channel.clone(), noted.clone(), stopped.clone());
            workers.spawn(supervised(worker, PAUSE, health.clone(), stop.clone(), delivering));
        }
        notifier.ready(&self.status());
        stop.cancelled().await;
        notifier.stopping();
        self.desk.close();
        workers.close();
        let finished = async {
            // A panic in it ends the connections too.
            drop(serving.await);
            self.inbox.drain();
            self.say_that_more_was_decided();
            workers.wait().await;
        };
        if tokio::time::timeout(grace, finished).await.is_err() {
            self.say_who_was_late();
        }
        Ok(())
    }

    fn say_who_was_late(&self) {
        let late = self.desk.under_way();
        if late.is_empty() {
            tracing::warn!("stopped without waiting any longer for the store to answer; nothing was under way");
            return;
        }
        let deliveries = listed(late.iter().map(|(delivery, channel)| format!("{delivery} ({channel})")));
        tracing::warn!(
            n_deliveries = late.len(),
            deliveries,
            "stopped without waiting any longer for {deliveries}; the next start sorts them out (a mail whose content had \
             begun becomes unknown, everything else is sent again)"
        );
    }

    async fn keep_deciding(self: Arc<Self>, health: Arc<Health>, stop: CancellationToken) {
        let mut trimmed_at = Timestamp::EPOCH;
        while !stop.is_cancelled() {
            self.pipeline.metrics.step();
            // Deciding commits whole batches; one that is dropped in the middle is decided again at the next start.
            let decided = tokio::select! {
                () = stop.cancelled() => return,
                decided = self.decide_some() => decided,
            };
            health.note(DECIDING, decided.as_ref().map(drop));
            let pause = match decided {
                Ok(n) => {
                    let now = self.pipeline.clock.now();
                    if now.since(trimmed_at) > SignedDuration::from_hours(1) {
                        trimmed_at = now;
                        self.trim_log(now).await;
                    }
                    if n > 0 {
                        self.say_that_more_was_decided();
                        if n < SMALL_BATCH {
                            tokio::time::sleep(GATHERING).await;
                        }
                        continue;
                    }
                    self.until(self.pipeline.next_tick(now))
                }
                Err(_) => PAUSE,
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.arrived.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// An operator's statements are appended by another process, which cannot knock. Two look-ups by key a second.
    async fn keep_noticing(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(NOTICE_EVERY) => {}
            }
            let (end, position) = tokio::join!(self.pipeline.log.end(), self.pipeline.store.position());
            if matches!((end, position), (Ok(end), Ok(position)) if end > position) {
                self.arrived.notify_one();
            }
        }
    }

    async fn keep_delivering(self: Arc<Self>, channel: Arc<dyn Channel>, health: Arc<Health>, stop: CancellationToken) {
        let worker = delivering_by(&*channel);
        // Of a worker before this one; at the start of the daemon there is nothing.
        let mut orphans = true;
        while !stop.is_cancelled() {
            let decided = self.decided.notified();
            let delivered = self.deliver_through(&*channel, orphans).await;
            orphans = delivered.is_err();
            health.note(&worker, delivered.as_ref().map(drop));
            let pause = match delivered {
                Ok(next) => self.until(next),
                Err(_) => PAUSE,
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = decided => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Carries out what may leave through `channel` now; says when the next of it may. After a call that failed, with
    /// `orphans`.
    pub async fn deliver_through(
        &self,
        channel: &dyn Channel,
        orphans: bool,
    ) -> Result<Option<Timestamp>, PipelineError> {
        if orphans {
            self.pipeline.recover_orphans(channel, &self.desk).await?;
        }
        self.pipeline.deliver_due(channel, &self.desk).await?;
        Ok(self.pipeline.store.next_due(Some(channel.name())).await?)
    }

    pub(super) fn say_that_more_was_decided(&self) {
        self.decided.notify_waiters();
        self.desk.wake();
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
