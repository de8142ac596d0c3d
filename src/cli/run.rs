//! `rekindle run`

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Common, Ended, environment, load_config, start_logging};
use crate::daemon::{Engine, GRACE};
use crate::domain::clock::SystemClock;
use crate::stores::sqlite::ballast::Ballast;

/// Run the daemon: take events in, decide, deliver.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle run --config config.toml")]
pub(super) struct Run {
    #[command(flatten)]
    common: Common,
    /// Log JSON lines instead of text.
    #[arg(long)]
    log_json: bool,
    /// On SIGTERM or Ctrl-C, wait so long for what is under way; then stop all the same and say who was late.
    #[arg(long, value_name = "SECONDS", default_value_t = GRACE.as_secs())]
    grace: u64,
}

impl Run {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        start_logging(self.log_json, "info");
        let config = load_config(&self.common.config)?;
        let variables = environment();
        let lookup = move |name: &str| variables.get(name).cloned();
        let listen = config.http.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; stop what uses that port, or set http.listen to another")
        })?;
        let ballast = Ballast::new(&config.store.path, config.store.ballast_bytes());
        ballast.make_room().with_context(|| format!("cannot look for room in {}", config.store.path.display()))?;
        let engine = Arc::new(Engine::open(&config, Arc::new(SystemClock), &lookup).await?);
        tracing::info!(
            http.listen = %listen,
            n_rules = engine.pipeline.context().book.rules().count(),
            "rekindle is running; Ctrl-C stops it"
        );
        let stop = stop_on_signal()?;
        let grace = Duration::from_secs(self.grace);
        engine.clone().run(&config, listener, &lookup, stop, grace).await?;
        if let Ok(engine) = Arc::try_unwrap(engine) {
            engine.close().await;
        }
        tracing::info!("rekindle has stopped");
        Ok(Ended::Well)
    }
}

/// Cancelled by SIGINT or SIGTERM; a second signal ends the process at once.
pub(super) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: what is under way is finished first; a second signal stops at once");
        token.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        #[expect(clippy::disallowed_methods, reason = "the user asked twice, and every state is crash-safe")]
        std::process::exit(130);
    });
    Ok(stop)
}
