//! Messages of the Segment specification, one a line, as its libraries and warehouses write them down. What they say is read
//! as over HTTP (`src/domain/message.rs`), but for the time: a file is history, so `timestamp` holds as it stands, and a
//! message without one cannot be placed.

use serde_json::{Map, Value};

use super::row::Problem;
use super::times::TimeReader;
use crate::domain::clock::Timestamp;
use crate::domain::foreign::Unusable;
use crate::domain::message::{self, Kind, Statement};

/// What a message states, when it happened, and its own id. `times` reads instants that may lack an offset; `read_at` is
/// when the file is read.
pub(super) fn read(
    item: &Map<String, Value>,
    times: &TimeReader,
    read_at: Timestamp,
) -> Result<(Statement, Timestamp, Option<String>), Problem> {
    let id = message::message_id(item)?;
    let stated = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let kind = Kind::from_type(stated).ok_or_else(|| {
        let message = "`type` must be one of identify, track, page, screen, group, alias";
        Problem::new("unknown_type", message)
    })?;
    let at = match message::stated_time(item) {
        None => return Err(Problem::new("no_time", "the message has no `timestamp`")),
        Some(Value::String(text)) => times.read(text.trim(), read_at),
        Some(other) => times.read(&other.to_string(), read_at),
    };
    let at = at.map_err(|message| Problem::new("bad_time", message))?;
    Ok((message::read(kind, item.clone())?, at, id))
}

impl From<Unusable> for Problem {
    fn from(why: Unusable) -> Self {
        Problem::new(why.reason, why.message)
    }
}
