//! One call of the tracking API and the fact it states; what a message says is read in `src/domain/message.rs`.

use jiff::SignedDuration;
use serde_json::{Map, Value};

use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::domain::foreign::Unusable;
use crate::domain::message::{self, Kind, Statement};
use crate::domain::occurred;

/// What a path under `/v1/` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    One(Kind),
    Batch,
}

impl Call {
    /// From `track`, or `t` as browser libraries shorten it.
    pub(super) fn from_path(segment: &str) -> Option<Self> {
        Some(match segment {
            "identify" | "i" => Call::One(Kind::Identify),
            "track" | "t" => Call::One(Kind::Track),
            "page" | "p" => Call::One(Kind::Page),
            "screen" | "s" => Call::One(Kind::Screen),
            "group" | "g" => Call::One(Kind::Group),
            "alias" | "a" => Call::One(Kind::Alias),
            "batch" | "b" => Call::Batch,
            _ => return None,
        })
    }

    /// The label that requests are counted under.
    pub(super) fn route(self) -> &'static str {
        match self {
            Call::One(Kind::Identify) => "/v1/identify",
            Call::One(Kind::Track) => "/v1/track",
            Call::One(Kind::Page) => "/v1/page",
            Call::One(Kind::Screen) => "/v1/screen",
            Call::One(Kind::Group) => "/v1/group",
            Call::One(Kind::Alias) => "/v1/alias",
            Call::Batch => "/v1/batch",
        }
    }
}

/// What an item inherits from the request around it.
pub(super) struct Envelope<'a> {
    pub(super) source: &'a str,
    pub(super) received_at: Timestamp,
    /// When the batch was sent, by the sender's clock.
    pub(super) sent_at: Option<Timestamp>,
    /// The batch's own context. Without `traits`: they would give every item's customer the same email.
    pub(super) context: Map<String, Value>,
}

/// The fact that `item` states.
pub(super) fn fact(
    kind: Kind,
    item: Map<String, Value>,
    message_id: String,
    envelope: &Envelope<'_>,
) -> Result<Fact, Unusable> {
    let (occurred_at, original) = occurred_at(&item, envelope)?;
    let Statement { name, identities, traits, properties, mut context } = message::read(kind, item)?;
    for (key, value) in &envelope.context {
        context.entry(key.as_str()).or_insert_with(|| value.clone());
    }
    if let Some(original) = original {
        context.insert("originalTimestamp".to_owned(), original.into());
    }
    Ok(Fact {
        source: envelope.source.to_owned(),
        message_id,
        name,
        occurred_at,
        received_at: envelope.received_at,
        known_at: envelope.received_at,
        imported: false,
        identities,
        traits,
        properties,
        context,
    })
}

/// When it happened, and what was stated about that if it is not the same.
fn occurred_at(item: &Map<String, Value>, envelope: &Envelope<'_>) -> Result<(Timestamp, Option<String>), Unusable> {
    let bad = |why: String| {
        Unusable::new("bad_time", format!("{why}; `timestamp` must say when it happened, as in 2026-03-01T09:00:00Z"))
    };
    let field = message::stated_time(item);
    let sent_at = item.get("sentAt").and_then(Value::as_str).and_then(occurred::parse).or(envelope.sent_at);
    let stated = field.map(|value| {
        let instant = value.as_str().and_then(occurred::parse);
        instant.ok_or_else(|| bad(format!("{} is not an instant", shortened(&value.to_string()))))
    });
    let stated = stated.transpose()?;
    let occurred_at = occurred::occurred_at(stated, sent_at, envelope.received_at).map_err(bad)?;
    // Every sender is off by some milliseconds; that is not worth keeping.
    let moved = stated.is_some_and(|stated| occurred_at.since(stated).abs() >= SignedDuration::from_secs(1));
    Ok((occurred_at, field.filter(|_| moved).and_then(Value::as_str).map(str::to_owned)))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
