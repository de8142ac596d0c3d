//! One call of the Segment specification and the fact it states.
//!
//! | call | event | what else |
//! |---|---|---|
//! | `track` | its own `event` | `properties` |
//! | `identify` | `Customer Identified` | `traits`; `email` and `phone` among them are handles |
//! | `page`, `screen` | `Page Viewed`, `Screen Viewed` | `name` and `category` join the `properties` |
//! | `group` | `Group Joined` | `group_id` and `group_traits` join the `properties`: they are not the person's |
//! | `alias` | `Customers Merged` | both handles |
//!
//! `context.traits` are the person's traits on every call, as Segment has it. `properties.email` is not a handle: it may
//! be a friend's. `integrations` says to which of Segment's destinations an event goes; there are none here, and it is
//! dropped.

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::occurred;
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Fact, names};

/// Longest event name and message id, in bytes.
const TEXT_BYTES: usize = 256;

/// What a path under `/v1/` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    One(Kind),
    Batch,
}

/// What sort of fact an item states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identify,
    Track,
    Page,
    Screen,
    Group,
    Alias,
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

impl Kind {
    /// From the `type` of an item in a batch.
    pub(super) fn from_type(name: &str) -> Option<Self> {
        Some(match name {
            "identify" => Kind::Identify,
            "track" => Kind::Track,
            "page" => Kind::Page,
            "screen" => Kind::Screen,
            "group" => Kind::Group,
            "alias" => Kind::Alias,
            _ => return None,
        })
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

/// Why an item cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    /// A code to count by.
    pub(super) reason: &'static str,
    /// What is wrong and what to do, for people.
    pub(super) message: String,
}

impl Unusable {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Unusable { reason, message: message.into() }
    }
}

/// The fact that `item` states.
pub(super) fn fact(
    kind: Kind,
    mut item: Map<String, Value>,
    message_id: String,
    envelope: &Envelope<'_>,
) -> Result<Fact, Unusable> {
    let mut context = take_object(&mut item, "context")?;
    let mut traits = take_object(&mut context, "traits")?;
    let mut properties = take_object(&mut item, "properties")?;
    let stated_traits = take_object(&mut item, "traits")?;
    let name = match kind {
        Kind::Track => event_name(&item)?,
        Kind::Identify => {
            traits.extend(stated_traits);
            names::IDENTIFIED.to_owned()
        }
        Kind::Page | Kind::Screen => {
            for key in ["name", "category"] {
                if let Some(value) = item.remove(key).filter(|value| !value.is_null()) {
                    properties.insert(key.to_owned(), value);
                }
            }
            if kind == Kind::Page { names::PAGE_VIEWED } else { names::SCREEN_VIEWED }.to_owned()
        }
        Kind::Group => {
            let missing = || Unusable::new("no_group_id", "a group call needs a `groupId`");
            let group_id = handle(&item, "groupId")?.ok_or_else(missing)?;
            properties.insert("group_id".to_owned(), group_id.into());
            properties.insert("group_traits".to_owned(), stated_traits.into());
            names::GROUP_JOINED.to_owned()
        }
        Kind::Alias => names::MERGED.to_owned(),
    };
    let identities = identities(kind, &item, &traits)?;
    let (occurred_at, original) = occurred_at(&item, envelope)?;
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

/// The sender's own id of an item.
pub(super) fn message_id(item: &Map<String, Value>) -> Result<Option<String>, Unusable> {
    let id = handle(item, "messageId")?;
    match id {
        Some(id) if id.len() > TEXT_BYTES => Err(too_long("messageId")),
        id => Ok(id),
    }
}

fn event_name(item: &Map<String, Value>) -> Result<String, Unusable> {
    match item.get("event") {
        Some(Value::String(name)) if name.len() > TEXT_BYTES => Err(too_long("event")),
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        _ => Err(Unusable::new("no_event", "a track call needs an `event`: the name of what happened, as text")),
    }
}

/// The handles of the person, strongest first.
///
/// Nobody can tell from an alias whether `previousId` was an anonymous id (browser libraries) or a user id (server
/// libraries track visitors under one and alias it later), so it is stated as both: whichever is known leads to the
/// customer, the other leads nowhere. Where the call itself names it as its `anonymousId` it is only that.
fn identities(kind: Kind, item: &Map<String, Value>, traits: &Map<String, Value>) -> Result<Vec<Identity>, Unusable> {
    let user = identity(item, "userId", IdentityKind::UserId)?;
    let anonymous = identity(item, "anonymousId", IdentityKind::AnonymousId)?;
    if user.is_none() && (anonymous.is_none() || kind == Kind::Alias) {
        let needs =
            if kind == Kind::Alias { "an alias call needs a `userId`" } else { "neither `userId` nor `anonymousId`" };
        return Err(Unusable::new("no_identity", needs));
    }
    let mut previous = Vec::new();
    if kind == Kind::Alias {
        let as_anonymous = identity(item, "previousId", IdentityKind::AnonymousId)?;
        if as_anonymous.is_none() && anonymous.is_none() {
            return Err(Unusable::new("no_previous_id", "an alias call needs a `previousId` to join to its `userId`"));
        }
        if as_anonymous != anonymous {
            previous.extend(identity(item, "previousId", IdentityKind::UserId)?);
            previous.extend(as_anonymous);
        }
    }
    let trait_handle = |key: &str, kind| traits.get(key).and_then(Value::as_str).and_then(|v| Identity::new(kind, v));
    let email = trait_handle("email", IdentityKind::Email);
    let phone = trait_handle("phone", IdentityKind::Phone);
    let mut identities: Vec<Identity> = [user, email, phone, anonymous].into_iter().flatten().chain(previous).collect();
    identities.sort();
    identities.dedup();
    Ok(identities)
}

/// When it happened, and what was stated about that if it is not the same.
fn occurred_at(item: &Map<String, Value>, envelope: &Envelope<'_>) -> Result<(Timestamp, Option<String>), Unusable> {
    let bad = |why: String| {
        Unusable::new("bad_time", format!("{why}; `timestamp` must say when it happened, as in 2026-03-01T09:00:00Z"))
    };
    // A forwarder renames what the device stated to `originalTimestamp`, and puts its own guess into `timestamp`.
    let field = ["originalTimestamp", "timestamp"].iter().find_map(|k| item.get(*k).filter(|v| !v.is_null()));
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

fn take_object(map: &mut Map<String, Value>, key: &str) -> Result<Map<String, Value>, Unusable> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(Unusable::new("bad_field", format!("`{key}` must be an object"))),
    }
}

/// An id as text. Whole numbers are written out; others are refused, because two long ids can be the same fraction.
fn handle(item: &Map<String, Value>, key: &str) -> Result<Option<String>, Unusable> {
    match item.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.clone())),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
        Some(_) => Err(Unusable::new("bad_field", format!("`{key}` must be text or a whole number below 2^64"))),
    }
}

fn identity(item: &Map<String, Value>, key: &str, kind: IdentityKind) -> Result<Option<Identity>, Unusable> {
    let Some(value) = handle(item, key)? else { return Ok(None) };
    let unusable = || Unusable::new("bad_field", format!("`{key}` is longer than 256 bytes or has control characters"));
    Identity::new(kind, &value).map(Some).ok_or_else(unusable)
}

fn too_long(key: &str) -> Unusable {
    Unusable::new("bad_field", format!("`{key}` is longer than {TEXT_BYTES} bytes"))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
