//! What goes wrong at a door, and what the sender is told.
//!
//! The status decides what client libraries do: 408, 429 and 5xx are sent again, every other 4xx is thrown away. So 4xx is
//! for what would be wrong a second time too, and its message says what to change; whatever is our fault is 429 or 503
//! with `Retry-After`, since some libraries wait a whole minute without it.

use std::any::Any;
use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::pipeline::ingest::IntakeError;

/// Another daemon, or this one again, is there by then.
const RETRY_WHEN_DRAINING_SECONDS: u32 = 5;
/// A full disk is not made room on faster than this.
const RETRY_WHEN_UNAVAILABLE_SECONDS: u32 = 10;

/// Why a request was refused as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// Not JSON, not UTF-8, not gzip.
    Malformed(String),
    TooManyItems {
        n: usize,
        limit: usize,
    },
    NoWriteKey,
    UnknownWriteKey,
    NotFound,
    SlowBody,
    TooLarge {
        limit: usize,
    },
    UnknownEncoding(String),
    Busy {
        retry_after_seconds: u32,
    },
    Draining,
    Unavailable,
    DiskFull,
    Panicked,
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Busy { retry_after_seconds } => ApiError::Busy { retry_after_seconds },
            IntakeError::Draining => ApiError::Draining,
            IntakeError::Unavailable(why) => {
                // The inbox has said so, once. Paths and errors of the disk are nothing for the sender.
                tracing::debug!(error = %why, "events were turned away because the log cannot be written");
                ApiError::Unavailable
            }
            IntakeError::Full => ApiError::DiskFull,
        }
    }
}

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Malformed(_) | ApiError::TooManyItems { .. } => StatusCode::BAD_REQUEST,
            ApiError::NoWriteKey | ApiError::UnknownWriteKey => StatusCode::UNAUTHORIZED,
            ApiError::NotFound => StatusCode::NOT_FOUND,
            ApiError::SlowBody => StatusCode::REQUEST_TIMEOUT,
            ApiError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::UnknownEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Draining | ApiError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            ApiError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            ApiError::Malformed(_) => "malformed",
            ApiError::TooManyItems { .. } => "too_many_items",
            ApiError::NoWriteKey => "no_write_key",
            ApiError::UnknownWriteKey => "unknown_write_key",
            ApiError::NotFound => "not_found",
            ApiError::SlowBody => "timeout",
            ApiError::TooLarge { .. } => "too_large",
            ApiError::UnknownEncoding(_) => "unknown_encoding",
            ApiError::Busy { .. } => "busy",
            ApiError::Draining => "draining",
            ApiError::Unavailable => "unavailable",
            ApiError::DiskFull => "disk_full",
            ApiError::Panicked => "internal",
        }
    }

    fn message(&self) -> Cow<'static, str> {
        const LOST: &str = "client libraries do not send again after 401, so these events are lost";
        match self {
            ApiError::Malformed(why) => format!("{why}; nothing of this request was kept").into(),
            ApiError::TooManyItems { n, limit } => {
                format!("{n} items in one batch; send at most {limit} at once").into()
            }
            ApiError::NoWriteKey => format!(
                "no write key; send it as the user name of basic authentication or as `writeKey` in the body ({LOST})"
            )
            .into(),
            ApiError::UnknownWriteKey => {
                format!("unknown write key; use one that the daemon's configuration lists ({LOST})").into()
            }
            ApiError::NotFound => "there is nothing at this address".into(),
            ApiError::SlowBody => "the body took too long to arrive; send it again".into(),
            ApiError::TooLarge { limit } => format!("the body is longer than {limit} bytes; send less at once").into(),
            ApiError::UnknownEncoding(name) => {
                format!("content encoding `{name}` is not understood; use gzip or none").into()
            }
            ApiError::Busy { .. } => "too much is waiting to be written; send again later".into(),
            ApiError::Draining => "the daemon is stopping; send again later".into(),
            ApiError::Unavailable => "events cannot be stored right now; send again later".into(),
            ApiError::DiskFull => "there is no room to keep events; send again later".into(),
            ApiError::Panicked => "an error inside the daemon; its log says more".into(),
        }
    }

    /// Seconds after which it makes sense to ask again.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        let seconds = match self {
            ApiError::Busy { retry_after_seconds } => (*retry_after_seconds).max(1),
            ApiError::Draining => RETRY_WHEN_DRAINING_SECONDS,
            ApiError::Unavailable | ApiError::DiskFull => RETRY_WHEN_UNAVAILABLE_SECONDS,
            _ => return None,
        };
        Some(HeaderValue::from(seconds))
    }
}

impl IntoResponse for ApiError {
    /// `{"code", "message"}`: the shape that Segment's libraries read errors in.
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code(), "message": self.message() });
        let mut response = (self.status(), Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self == ApiError::SlowBody {
            // The rest of that body may still come, and must not be read as the next request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A panic in a handler is a bug; it costs this one request an answer of 500, and nobody else anything.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = words.unwrap_or("no message"), "a request handler panicked");
    ApiError::Panicked.into_response()
}
