//! For the machinery around the daemon: does it live, may it be sent work, what has it counted.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::Doors;
use crate::telemetry;

/// 200 for as long as the process answers at all. Says nothing of disks or databases: restarting mends neither.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when work may be sent here, else 503 with what is missing.
pub(super) async fn readyz(State(doors): State<Doors>) -> (StatusCode, String) {
    let verdict = if doors.draining.is_cancelled() {
        Err("the daemon is stopping".to_owned())
    } else {
        doors.state.ready.check()
    };
    match verdict {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

/// For Prometheus.
pub(super) async fn metrics(State(doors): State<Doors>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], doors.state.metrics.render())
}
