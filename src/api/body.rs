//! Reads a request's body: bounded in bytes, in time, and in what a compressed one may grow to.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;

use super::error::ApiError;

/// How much of a body that is too long is still read and thrown away. Closing earlier would reset the connection while
/// the sender writes: it would never see the 413 and send the same again for hours.
const DISCARDED_BYTES: usize = 5_000_000;

/// The body, decompressed. `limit` holds for the bytes on the wire and for the bytes after decompression.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Vec<u8>, ApiError> {
    let bytes = tokio::time::timeout(timeout, collect(body, limit)).await.map_err(|_| ApiError::SlowBody)??;
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").to_lowercase());
    match encoding.as_deref() {
        None | Some("" | "identity") => Ok(bytes),
        Some("gzip" | "x-gzip") => gunzip(&bytes, limit),
        Some(other) => Err(ApiError::UnknownEncoding(other.to_owned())),
    }
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut n_read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::Malformed("the body ended too early".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        n_read += data.len();
        if n_read <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
        if n_read > limit + DISCARDED_BYTES {
            break;
        }
    }
    if n_read > limit { Err(ApiError::TooLarge { limit }) } else { Ok(bytes) }
}

/// Stops one byte after the limit, so a small body that would grow to gigabytes costs no more than a large one.
fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut plain = Vec::new();
    match MultiGzDecoder::new(bytes).take(limit as u64 + 1).read_to_end(&mut plain) {
        Err(error) => Err(ApiError::Malformed(format!("the body is not valid gzip ({error})"))),
        Ok(n) if n > limit => Err(ApiError::TooLarge { limit }),
        Ok(_) => Ok(plain),
    }
}
