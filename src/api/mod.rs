//! The HTTP doors: Segment's tracking API, the unsubscribe page, health and metrics.
//!
//! ```text
//!  socket ─▶ server (slots, header timeout, drain) ─▶ watch (count, refuse while draining) ─▶ router
//!     POST /v1/…      body ─▶ auth ─▶ tracking ─▶ call ─▶ Intake::submit ─▶ 200
//!     GET|POST /u/…   unsubscribe                 ─▶ Intake::submit ─▶ 200
//!     GET /livez /readyz /metrics                 health
//! ```
//!
//! Nothing is decided here: a request becomes facts, facts are handed to [`Intake`], and the answer is sent only after
//! `submit` returned, because from then on the sender forgets them.
#![warn(missing_docs)]

mod auth;
mod body;
mod call;
mod error;
mod health;
mod in_progress;
mod server;
mod tracking;
mod unsubscribe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::domain::clock::Clock;
use crate::domain::unsubscribe::UnsubscribeSigner;
use crate::pipeline::ingest::{Intake, IntakeError};
use crate::telemetry::{Metrics, Stopwatch};

use error::ApiError;
use in_progress::InProgress;
pub use server::serve;

/// What the doors need of the house.
pub struct ApiState {
    /// Where facts are handed in.
    pub intake: Arc<dyn Intake>,
    /// When a request is received.
    pub clock: Arc<dyn Clock>,
    /// Who may send events. Empty: nobody.
    pub write_keys: Vec<WriteKey>,
    /// Reads the tokens of unsubscribe links.
    pub unsubscribe: UnsubscribeSigner,
    /// Requests are counted here, and `/metrics` shows it.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` asks.
    pub ready: Arc<dyn Readiness>,
    /// What one sender may ask of us.
    pub limits: Limits,
    /// Whose mail it is that one unsubscribes from.
    pub business_name: String,
}

/// One sender's key. Write keys of browsers are public (they stand in the page), so all that one can do is append.
#[derive(Clone)]
pub struct WriteKey {
    /// The secret part.
    pub key: String,
    /// The source that its events are stored under; duplicates are found per source.
    pub source: String,
}

impl fmt::Debug for WriteKey {
    /// Without the key: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteKey").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Whether the daemon can do its work now.
pub trait Readiness: Send + Sync {
    /// `Err` says what is missing, for people. Must answer at once: it is asked every few seconds.
    fn check(&self) -> Result<(), String>;

    /// Whether events may be taken in at all; asked before a tracking call is read. `Err` is what the sender is told.
    fn takes_events(&self) -> Result<(), IntakeError> {
        Ok(())
    }
}

/// What one sender may ask of us. The sizes are Segment's, which client libraries keep to by themselves.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest single call, and longest item of a batch, in bytes after decompression.
    pub call_bytes: usize,
    /// Longest batch, in bytes before and after decompression.
    pub batch_bytes: usize,
    /// Most items in a batch.
    pub n_batch_items: usize,
    /// Most connections at once; more wait in the system's queue until one is free. With `batch_bytes` this bounds the
    /// memory that bodies can take.
    pub n_connections: usize,
    /// Longest time from one request to the whole head of the next: closes slow senders and idle connections alike.
    pub header_timeout: Duration,
    /// Longest time for a body, from its first byte to its last.
    pub body_timeout: Duration,
    /// Longest time that requests in progress are waited for when the daemon stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            call_bytes: 32 * 1_024,
            batch_bytes: 512_000,
            n_batch_items: 2_500,
            n_connections: 1_024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// What every handler sees.
#[derive(Clone)]
struct Doors {
    state: Arc<ApiState>,
    /// Cancelled when the daemon begins to stop.
    draining: CancellationToken,
    in_progress: InProgress,
}

fn router(state: Arc<ApiState>, draining: CancellationToken, in_progress: InProgress) -> Router {
    let doors = Doors { state, draining, in_progress };
    let tracking = post(tracking::receive).options(tracking::preflight);
    Router::new()
        .route("/v1/{call}", tracking.clone())
        .route("/v1/{call}/", tracking)
        .route("/u/{token}", get(unsubscribe::show).post(unsubscribe::leave))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(async || ApiError::NotFound)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn_with_state(doors.clone(), watch))
        .with_state(doors)
}

/// Around every request: counts it, and turns it away while the daemon stops.
async fn watch(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let (route, since) = (route_of(request.uri().path()), Stopwatch::start());
    let _until_answered = doors.in_progress.begin(route);
    let mut response = match turned_away(&doors, route, request.method()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    if doors.draining.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if route.starts_with("/v1/") {
        // Write keys in web pages call from other origins. No cookie is ever looked at here, so any origin may read
        // the answer; without it a browser takes a success for a failure and sends again.
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    doors.state.metrics.http_request(route, response.status().as_u16(), since);
    response
}

/// Nothing new while the daemon stops; no events while there is no room for them. Who wants to unsubscribe is let in
/// even then: that is what the last room is for.
fn turned_away(doors: &Doors, route: &str, method: &Method) -> Option<ApiError> {
    let states_events = route.starts_with("/v1/") && method == Method::POST;
    if doors.draining.is_cancelled() && (route.starts_with("/v1/") || route.starts_with("/u/")) {
        return Some(ApiError::Draining);
    }
    if states_events { doors.state.ready.takes_events().err().map(ApiError::from) } else { None }
}

/// The label to count under: a pattern, because a path can hold a token, or anything that a stranger asks for.
fn route_of(path: &str) -> &'static str {
    if let Some(call) = path.strip_prefix("/v1/") {
        return call::Call::from_path(call.trim_end_matches('/')).map_or("other", call::Call::route);
    }
    match path {
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        _ if path.starts_with("/u/") => "/u/{token}",
        _ => "other",
    }
}
