//! Workers that panic are begun again: a bug costs what was in hand at that moment, and never a worker for good.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::health::Health;

/// Until `stop`: runs what `begin` gives, again after each panic and this pause.
pub(super) async fn supervised<F>(
    worker: String,
    pause: Duration,
    health: Arc<Health>,
    stop: CancellationToken,
    begin: impl Fn() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while !stop.is_cancelled() {
        match tokio::spawn(begin()).await {
            Err(error) if error.is_panic() => health.fails(&worker, "a panic inside the daemon; please report it"),
            _ => return,
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::api::Readiness;
    use crate::pipeline::ingest::Inbox;
    use crate::stores::sqlite::{Access, SqliteFiles};
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn a_worker_that_panics_is_begun_again_and_the_daemon_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
        let (inbox, _) = Inbox::open(Arc::new(files.log.clone()), Arc::new(Metrics::new()), Arc::new(Notify::new()));
        let health = Arc::new(Health::new(inbox));
        let n = Arc::new(AtomicUsize::new(0));
        let begin = || {
            let nth = n.fetch_add(1, Ordering::SeqCst);
            async move { assert!(nth > 0, "the first one panics") }
        };
        let stop = CancellationToken::new();
        supervised("deciding".to_owned(), Duration::ZERO, health.clone(), stop, begin).await;
        assert_eq!(n.load(Ordering::SeqCst), 2);
        assert_eq!(health.check().unwrap_err(), "deciding failed: a panic inside the daemon; please report it");
        health.note("deciding", Ok(()));
        assert_eq!(health.check(), Ok(()));
    }
}
