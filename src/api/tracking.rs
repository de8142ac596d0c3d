//! `/v1/…`: Segment's HTTP tracking API, so that every library made for it works by changing its host.
//!
//! - Only what is wrong as a whole is refused: no JSON, too large, no key, or no room now. Everything else is answered
//!   with exactly 200 (some libraries take 202 for a failure), and an item that cannot be used is put into quarantine in
//!   the same commit as the good ones around it. A library would throw a refused batch away, good items and all.
//! - An item is judged alone: in a batch, a number like `1e400`, half of a surrogate pair, values nested too deep or a text
//!   with NUL spoil their own item only (`src/domain/foreign.rs`). Of a key that is stated twice the last one counts.
//! - An item without `messageId` gets one from its text, its place and the instant of its arrival. It is stable from
//!   here on, but an item that is sent twice then counts twice: there is nothing to recognise it by.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::call::{Call, Envelope};
use super::error::ApiError;
use super::{Doors, auth, body, call};
use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::domain::foreign::{self, Unusable};
use crate::domain::id::short_hash;
use crate::domain::message::{self, Kind};
use crate::domain::occurred;
use crate::domain::quarantine::Quarantined;

/// How much of a record quarantine keeps.
const RECORD_BYTES: usize = 64 * 1_024;

/// Takes one call or batch in. The answer waits for the commit.
pub(super) async fn receive(
    State(doors): State<Doors>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let call = Call::from_path(&path).ok_or(ApiError::NotFound)?;
    let state = &doors.state;
    let limit = if call == Call::Batch { state.limits.batch_bytes } else { state.limits.call_bytes };
    let bytes = body::read(&headers, body, limit, state.limits.body_timeout).await?;
    let text = std::str::from_utf8(&bytes).map_err(|e| ApiError::Malformed(format!("the body is not UTF-8 ({e})")))?;
    let Read { whole, fields, items } = Read::of(text, call)?;
    let key = fields.get("writeKey").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let source = auth::source(&state.write_keys, &headers, key.as_deref())?;
    let mut sorted = Sorted::new(source, state.clock.now(), state.limits.call_bytes);
    match call {
        Call::One(kind) => sorted.take(Some(kind), whole, 0),
        Call::Batch => sorted.take_batch(whole, &fields, items, state.limits.n_batch_items)?,
    }
    let Sorted { facts, quarantined, .. } = sorted;
    if !(facts.is_empty() && quarantined.is_empty()) {
        state.intake.submit(facts, quarantined).await?;
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], r#"{"success":true}"#).into_response())
}

/// What a browser asks before it sends from another origin.
pub(super) async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, content-encoding, x-retry-count"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

type Fields<'a> = HashMap<String, &'a RawValue>;

/// A body that is known to be JSON.
struct Read<'a> {
    whole: &'a str,
    /// What is JSON but not an object has none.
    fields: Fields<'a>,
    /// Of a batch that is one.
    items: Option<Vec<&'a RawValue>>,
}

/// A batch as libraries write it: read in one go. Whatever stands otherwise in it is read field by field.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsualBatch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    #[serde(borrow)]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    write_key: Option<&'a RawValue>,
}

impl<'a> Read<'a> {
    fn of(text: &'a str, call: Call) -> Result<Self, ApiError> {
        // A list, too, would pass for the fields in their order.
        if call == Call::Batch
            && text.trim_start().starts_with('{')
            && let Ok(usual) = serde_json::from_str::<UsualBatch<'a>>(text)
        {
            let stated = [("sentAt", usual.sent_at), ("context", usual.context), ("writeKey", usual.write_key)];
            let fields = stated.into_iter().filter_map(|(key, raw)| Some((key.to_owned(), raw?))).collect();
            return Ok(Read { whole: text.trim(), fields, items: Some(usual.batch) });
        }
        let whole: &RawValue =
            serde_json::from_str(text).map_err(|e| ApiError::Malformed(format!("the body is not JSON ({e})")))?;
        let fields: Fields<'_> = serde_json::from_str(whole.get()).unwrap_or_default();
        let items = fields.get("batch").and_then(|raw| serde_json::from_str(raw.get()).ok());
        Ok(Read { whole: whole.get(), fields, items })
    }
}

/// The items of one request, sorted into what can be used and what cannot.
struct Sorted<'a> {
    envelope: Envelope<'a>,
    item_bytes: usize,
    facts: Vec<Fact>,
    quarantined: Vec<Quarantined>,
}

impl<'a> Sorted<'a> {
    fn new(source: &'a str, received_at: Timestamp, item_bytes: usize) -> Self {
        let envelope = Envelope { source, received_at, sent_at: None, context: Map::new() };
        Sorted { envelope, item_bytes, facts: Vec::new(), quarantined: Vec::new() }
    }

    fn take_batch(
        &mut self,
        whole: &str,
        fields: &Fields<'_>,
        items: Option<Vec<&RawValue>>,
        n_items_max: usize,
    ) -> Result<(), ApiError> {
        let Some(items) = items else {
            let why = Unusable::new("bad_batch", "a batch is an object whose `batch` is a list of calls");
            self.put_aside(whole, why, derived_id(whole, self.envelope.received_at, 0));
            return Ok(());
        };
        if items.len() > n_items_max {
            return Err(ApiError::TooManyItems { n: items.len(), limit: n_items_max });
        }
        let sent_at = fields.get("sentAt").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        self.envelope.sent_at = sent_at.as_deref().and_then(occurred::parse);
        if let Some(raw) = fields.get("context").filter(|raw| raw.get() != "null") {
            let context = parse_object(raw.get());
            match context.and_then(|context| foreign::check(&context).map(|()| context)) {
                Ok(mut context) => {
                    context.remove("traits");
                    self.envelope.context = context;
                }
                // The items can do without.
                Err(why) => {
                    let why =
                        Unusable { message: format!("the batch's `context` was left out: {}", why.message), ..why };
                    self.put_aside(raw.get(), why, derived_id(whole, self.envelope.received_at, items.len()));
                }
            }
        }
        for (place, item) in items.into_iter().enumerate() {
            self.take(None, item.get(), place);
        }
        Ok(())
    }

    /// `kind` is `None` in a batch, where each item states its own.
    fn take(&mut self, kind: Option<Kind>, raw: &str, place: usize) {
        let mut stated = None;
        match self.read(kind, raw, place, &mut stated) {
            Ok(fact) => self.facts.push(fact),
            Err(why) => {
                let message_id = stated.unwrap_or_else(|| derived_id(raw, self.envelope.received_at, place));
                self.put_aside(raw, why, message_id);
            }
        }
    }

    /// Leaves the item's own id in `stated` as soon as it is known, so that a refused item can be found by it.
    fn read(&self, kind: Option<Kind>, raw: &str, place: usize, stated: &mut Option<String>) -> Result<Fact, Unusable> {
        if raw.len() > self.item_bytes {
            let message = format!("{} bytes; a call may have {}", raw.len(), self.item_bytes);
            return Err(Unusable::new("too_large", message));
        }
        let item = parse_object(raw)?;
        *stated = message::message_id(&item)?;
        let kind = kind.or_else(|| Kind::from_type(item.get("type")?.as_str()?)).ok_or_else(|| {
            let message = "`type` must be one of identify, track, page, screen, group, alias";
            Unusable::new("unknown_type", message)
        })?;
        let message_id = stated.clone().unwrap_or_else(|| derived_id(raw, self.envelope.received_at, place));
        call::fact(kind, item, message_id, &self.envelope)
    }

    fn put_aside(&mut self, record: &str, why: Unusable, locator: String) {
        self.quarantined.push(Quarantined {
            source: self.envelope.source.to_owned(),
            locator,
            reason: why.reason.to_owned(),
            message: why.message,
            record: record[..record.floor_char_boundary(RECORD_BYTES)].to_owned(),
            at: self.envelope.received_at,
        });
    }
}

/// `raw` is known to be JSON; it may still be more than we hold: numbers out of range, lone surrogates, deep nesting.
fn parse_object(raw: &str) -> Result<Map<String, Value>, Unusable> {
    if !raw.starts_with('{') {
        return Err(Unusable::new("not_an_object", "a call must be a JSON object"));
    }
    let object: Map<String, Value> =
        serde_json::from_str(raw).map_err(|error| Unusable::new("bad_json", format!("cannot be read: {error}")))?;
    Ok(object)
}

fn derived_id(raw: &str, received_at: Timestamp, place: usize) -> String {
    let instant = received_at.as_micros().to_be_bytes();
    format!("derived:{}", short_hash(&[raw.as_bytes(), &instant, &place.to_be_bytes()]))
}
