//! Sockets: how many, how slow, and how they end.
//!
//! `axum::serve` waits for a request's head for ever, so connections are served by hyper directly. It speaks HTTP/1.1
//! only: in front of the daemon stands a proxy that knows TLS and HTTP/2.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::in_progress::InProgress;
use super::{ApiState, router};

/// Longest head of a request.
const HEAD_BYTES: usize = 64 * 1_024;
/// Out of file handles: closing connections must get its turn.
const PAUSE_AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(200);

/// Answers requests until `shutdown` is cancelled and the requests in progress then are answered, or
/// `limits.drain_timeout` is over.
///
/// While it drains, requests in progress go on and end with `Connection: close`, idle connections are closed, and what
/// connects anew is answered with 503 and `Retry-After` instead of being refused: a load balancer then sees `/readyz` turn
/// and a sender sees when to come again.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> io::Result<()> {
    let limits = state.limits.clone();
    let slots = Arc::new(Semaphore::new(limits.n_connections));
    let over = CancellationToken::new();
    let in_progress = InProgress::default();
    let server = Server {
        router: router(Arc::new(state), shutdown.clone(), in_progress.clone()),
        header_timeout: limits.header_timeout,
        over: over.clone(),
    };
    tracing::info!(address = %listener.local_addr()?, "listening for HTTP");
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            (stream, slot) = accept(&listener, &slots) => {
                connections.spawn(server.clone().connection(stream, slot, shutdown.clone()));
            }
        }
    }
    connections.close();
    let latecomers = TaskTracker::new();
    let deadline = tokio::time::sleep(limits.drain_timeout);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            () = connections.wait() => break,
            () = &mut deadline => {
                let requests = in_progress.in_words();
                tracing::warn!(
                    n_connections = connections.len(),
                    requests,
                    "requests were cut off, they took too long to end: {requests}; they were not answered and come again"
                );
                break;
            }
            (stream, slot) = accept(&listener, &slots) => {
                // Told to close by the answer, not before it.
                latecomers.spawn(server.clone().connection(stream, slot, CancellationToken::new()));
            }
        }
    }
    over.cancel();
    latecomers.close();
    connections.wait().await;
    latecomers.wait().await;
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ACCEPT_ERROR).await;
            }
        }
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    header_timeout: Duration,
    /// Cancelled when nothing is waited for any more.
    over: CancellationToken,
}

impl Server {
    /// One connection to its end; after `finish` only to the end of the request in progress.
    async fn connection(self, stream: TcpStream, slot: OwnedSemaphorePermit, finish: CancellationToken) {
        // Answers are small and must not wait for more to come. A socket that refuses works all the same.
        stream.set_nodelay(true).ok();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        tokio::pin!(connection);
        let mut finishing = false;
        loop {
            tokio::select! {
                // What goes wrong on a socket (reset, timeout, not HTTP) is the sender's affair.
                outcome = &mut connection => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    break;
                }
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.over.cancelled() => break,
            }
        }
        drop(slot);
    }
}
