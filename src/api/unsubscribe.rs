//! `/u/{token}`: the link in every marketing mail (RFC 8058).
//!
//! GET shows a page and changes nothing, because mail scanners and previews follow links. POST leaves, at once and
//! without a question: from the page's button, or from the mail program's own (`List-Unsubscribe=One-Click`). What the
//! body says does not matter, the token says it all. No cookie, no redirect, and as often as one likes.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::{Doors, body};
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Fact, names};
use crate::domain::unsubscribe::Unsubscribe;

/// Forms of mail programs have a few dozen bytes.
const FORM_BYTES: usize = 16 * 1_024;
const MINUTE: i64 = 60_000_000;

const STYLE: &str = "body{font:18px/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1.5em;\
color:#222;background:#fff}button{font:inherit;padding:.5em 1.5em;cursor:pointer}";

/// Nothing may be loaded, run or framed: the page is its text, one style and one form.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    policy.try_into().expect("base64 is ASCII")
});

/// Asks.
pub(super) async fn show(State(doors): State<Doors>, Path(token): Path<String>) -> Response {
    let business = &doors.state.business_name;
    let Some(what) = doors.state.unsubscribe.verify(&token) else { return unknown(business) };
    let text = match &what.topic {
        Some(topic) => format!("Do you want no more mail about “{topic}” from {business}?"),
        None => format!("Do you want no more marketing mail from {business}?"),
    };
    let form = "<form method=\"post\"><button>Unsubscribe</button></form>";
    page(StatusCode::OK, business, "Unsubscribe", &text, form)
}

/// Leaves.
pub(super) async fn leave(
    State(doors): State<Doors>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let state = &doors.state;
    let business = &state.business_name;
    let Some(what) = state.unsubscribe.verify(&token) else { return unknown(business) };
    if let Err(error) = body::read(&headers, body, FORM_BYTES, state.limits.body_timeout).await {
        return error.into_response();
    }
    if let Err(error) = state.intake.submit(vec![withdrawal(&what, state.clock.now())], Vec::new()).await {
        let error = ApiError::from(error);
        let text = "We could not note your wish right now. Please try again in a minute.";
        let mut response = page(error.status(), business, "Please try again", text, "");
        if let Some(seconds) = error.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        return response;
    }
    let text = match &what.topic {
        Some(topic) => format!("{business} will send you no more mail about “{topic}”."),
        None => format!("{business} will send you no more marketing mail."),
    };
    page(StatusCode::OK, business, "You have unsubscribed", &text, "")
}

/// The event. Repetitions of a mail program fall on the same message id and are one event. But only within a minute: who
/// has agreed again in the meantime and now clicks in the old mail once more means it.
fn withdrawal(what: &Unsubscribe, now: Timestamp) -> Fact {
    let mut properties = Map::new();
    properties.insert("channel".to_owned(), "email".into());
    properties.insert("delivery".to_owned(), what.delivery.to_string().into());
    if let Some(topic) = &what.topic {
        properties.insert("topic".to_owned(), topic.as_str().into());
    }
    let minute = now.as_micros().div_euclid(MINUTE);
    let topic = what.topic.as_deref().unwrap_or_default();
    Fact {
        source: "rekindle".to_owned(),
        message_id: format!("unsubscribe:{}:{minute}:{topic}", what.delivery),
        name: names::CONSENT_WITHDRAWN.to_owned(),
        occurred_at: now,
        received_at: now,
        known_at: now,
        imported: false,
        identities: vec![Identity { kind: IdentityKind::CustomerId, value: what.customer.to_string() }],
        traits: Map::new(),
        properties,
        context: Map::new(),
    }
}

fn unknown(business: &str) -> Response {
    let text = "This link is not complete. Please open it from the mail again, or answer to the mail.";
    page(StatusCode::NOT_FOUND, business, "Unknown link", text, "")
}

/// A page that is complete in itself. `form` is trusted, everything else is escaped.
fn page(status: StatusCode, business: &str, title: &str, text: &str, form: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} – {business}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1><p>{text}</p>{form}</body></html>\n",
        business = escaped(business),
        text = escaped(text),
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.clone());
    // The address holds the token: it must not travel to others, nor be kept, nor be found.
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}
