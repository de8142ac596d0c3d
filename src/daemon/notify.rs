//! What the daemon tells systemd, by the protocol of `sd_notify(3)`: datagrams of `KEY=VALUE` lines to the socket that the
//! environment names. Without one nothing is told, and nothing else is different.
//!
//! `READY=1` once the listener answers, `STATUS=` in words, `RELOADING=1` around a reload, `STOPPING=1` when the last work is
//! being finished, and `WATCHDOG=1` as long as whoever decides comes forward.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Engine, Environment};

/// Prometheus asks every quarter of a minute or so.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The way to systemd, if it is listening.
#[derive(Clone, Default)]
pub(super) struct Notifier {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// Silent for longer than this, the service is killed and started anew.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn of(environment: &Environment) -> Self {
        let Some(name) = environment("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notifier::default();
        };
        let socket = match address(&name).and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET names no socket; systemd will not be told anything");
                return Notifier::default();
            }
        };
        // Waiting for a full queue would hold up a reload or the stop; a lost datagram is followed by others.
        socket.0.set_nonblocking(true).ok();
        let ours = environment("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = environment("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|&micros: &u64| micros > 0);
        let watchdog = micros.filter(|_| ours).map(Duration::from_micros);
        Notifier { socket: Some(Arc::new(socket)), watchdog }
    }

    /// Requests are answered from now on; `status` is shown by `systemctl status`.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// What people wrote is being read again; [`Notifier::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading rules and templates"));
    }

    /// No new work is taken in.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way");
    }

    fn tell(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.0.send_to_addr(what.as_bytes(), &socket.1) {
            tracing::debug!(%error, "systemd could not be told");
        }
    }
}

/// A path, or after `@` a name that no file has.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

impl Engine {
    /// Until `stop`: tells the watchdog that deciding goes on, if it does. A round of the loop, a batch and a chunk of a
    /// sweep are steps; where nothing is to be done the loop is woken for a round. A process that answers `/livez` and
    /// decides nothing any more is not alive.
    pub(super) async fn keep_alive(self: Arc<Self>, notifier: Notifier, stop: CancellationToken) {
        let Some(patience) = notifier.watchdog else { return };
        let mut n_seen = None;
        loop {
            let n_steps = self.pipeline.metrics.n_steps();
            if n_seen != Some(n_steps) {
                notifier.tell("WATCHDOG=1");
            }
            n_seen = Some(n_steps);
            self.arrived.notify_one();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(patience / 4) => {}
            }
        }
    }

    /// One line on what is running.
    pub(super) fn status(&self) -> String {
        let context = self.pipeline.context();
        format!("{} rules, {} templates", context.book.rules().count(), context.templates.len())
    }

    /// Until `stop`: counts what waits to be delivered, for `/metrics`.
    pub(super) async fn keep_counting(self: Arc<Self>, stop: CancellationToken) {
        loop {
            match self.pipeline.store.waiting_deliveries().await {
                Ok(counts) => self.pipeline.metrics.waiting(&counts),
                Err(error) => tracing::debug!(%error, "waiting deliveries could not be counted"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(COUNT_EVERY) => {}
            }
        }
    }
}
