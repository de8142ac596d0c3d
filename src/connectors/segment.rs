//! Messages of the Segment specification, one a line, as its libraries and warehouses write them down.
//!
//! | type | event | what else |
//! |---|---|---|
//! | `track` | its own `event` | `properties` |
//! | `identify` | `Customer Identified` | `traits`; `email` and `phone` among them are handles |
//! | `page`, `screen` | `Page Viewed`, `Screen Viewed` | `name` and `category` join the `properties` |
//! | `group` | `Group Joined` | `group_id` and `group_traits` join the `properties`: they are not the person's |
//! | `alias` | `Customers Merged` | both handles |
//!
//! The reading is that of the tracking API, but for the time: a file is history, so `timestamp` holds as it stands, and a
//! message without one cannot be placed.

use serde_json::{Map, Value};

use super::row::Problem;
use super::times::TimeReader;
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::names;

/// Longest event name and message id, in bytes.
const TEXT_BYTES: usize = 256;

/// What a message says.
pub(super) struct Message {
    pub(super) name: String,
    pub(super) occurred_at: Timestamp,
    pub(super) identities: Vec<Identity>,
    pub(super) traits: Map<String, Value>,
    pub(super) properties: Map<String, Value>,
    pub(super) context: Map<String, Value>,
}

/// The sender's own id of a message.
pub(super) fn message_id(message: &Map<String, Value>) -> Result<Option<String>, Problem> {
    match text(message, "messageId")? {
        Some(id) if id.len() > TEXT_BYTES => Err(too_long("messageId")),
        id => Ok(id),
    }
}

/// Reads a message. `times` reads instants that may lack an offset.
pub(super) fn read(message: &Map<String, Value>, times: &TimeReader) -> Result<Message, Problem> {
    let kind = message.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut context = object(message, "context")?;
    // `context.traits` are the person's on every call; on an identify the stated ones win.
    let mut traits = match context.remove("traits") {
        Some(Value::Object(traits)) => traits,
        _ => Map::new(),
    };
    let stated_traits = object(message, "traits")?;
    let mut properties = object(message, "properties")?;
    let name = match kind {
        "track" => event_name(message)?,
        "identify" => {
            traits.extend(stated_traits);
            names::IDENTIFIED.to_owned()
        }
        "page" | "screen" => {
            for key in ["name", "category"] {
                if let Some(value) = message.get(key).filter(|value| !value.is_null()) {
                    properties.insert(key.to_owned(), value.clone());
                }
            }
            if kind == "page" { names::PAGE_VIEWED } else { names::SCREEN_VIEWED }.to_owned()
        }
        "group" => {
            let group_id = text(message, "groupId")?;
            let group_id = group_id.ok_or_else(|| Problem::new("no_group_id", "a group message needs a `groupId`"))?;
            properties.insert("group_id".to_owned(), group_id.into());
            properties.insert("group_traits".to_owned(), stated_traits.into());
            names::GROUP_JOINED.to_owned()
        }
        "alias" => names::MERGED.to_owned(),
        other => {
            let known = "use track, identify, page, screen, group or alias";
            return Err(Problem::new("bad_type", format!("`{other}` is not a type of message; {known}")));
        }
    };
    let identities = identities(kind, message, &traits)?;
    let occurred_at = occurred_at(message, times)?;
    Ok(Message { name, occurred_at, identities, traits, properties, context })
}

fn event_name(message: &Map<String, Value>) -> Result<String, Problem> {
    match message.get("event") {
        Some(Value::String(name)) if name.len() > TEXT_BYTES => Err(too_long("event")),
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        _ => Err(Problem::new("no_event", "a track message needs an `event`: the name of what happened, as text")),
    }
}

/// The person's handles. Nobody can tell whether the `previousId` of an alias is an anonymous or a user id, so it is
/// stated as both: whichever is known leads to the customer, the other leads nowhere.
fn identities(kind: &str, message: &Map<String, Value>, traits: &Map<String, Value>) -> Result<Vec<Identity>, Problem> {
    let user = identity(message, "userId", IdentityKind::UserId)?;
    let anonymous = identity(message, "anonymousId", IdentityKind::AnonymousId)?;
    let mut previous = Vec::new();
    if kind == "alias" {
        let as_anonymous = identity(message, "previousId", IdentityKind::AnonymousId)?;
        if user.is_none() || (as_anonymous.is_none() && anonymous.is_none()) {
            return Err(Problem::new("no_identity", "an alias message needs a `userId` and a `previousId`"));
        }
        if as_anonymous != anonymous {
            previous.extend(identity(message, "previousId", IdentityKind::UserId)?);
            previous.extend(as_anonymous);
        }
    } else if user.is_none() && anonymous.is_none() {
        return Err(Problem::new("no_identity", "the message has neither `userId` nor `anonymousId`"));
    }
    let in_traits = |key: &str, kind| traits.get(key).and_then(Value::as_str).and_then(|v| Identity::new(kind, v));
    let email = in_traits("email", IdentityKind::Email);
    let phone = in_traits("phone", IdentityKind::Phone);
    let mut all: Vec<Identity> = [user, email, phone, anonymous].into_iter().flatten().chain(previous).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// A forwarder renames what the device stated to `originalTimestamp`.
fn occurred_at(message: &Map<String, Value>, times: &TimeReader) -> Result<Timestamp, Problem> {
    let stated = ["originalTimestamp", "timestamp"].iter().find_map(|k| message.get(*k).filter(|v| !v.is_null()));
    match stated {
        None => Err(Problem::new("no_time", "the message has no `timestamp`")),
        Some(Value::String(text)) => times.read(text.trim()).map_err(|message| Problem::new("bad_time", message)),
        Some(other) => times.read(&other.to_string()).map_err(|message| Problem::new("bad_time", message)),
    }
}

fn object(message: &Map<String, Value>, key: &str) -> Result<Map<String, Value>, Problem> {
    match message.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(Problem::new("bad_field", format!("`{key}` must be an object"))),
    }
}

/// An id as text. Whole numbers are written out; others are refused, because two long ids can be the same fraction.
fn text(message: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match message.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.clone())),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
        Some(_) => Err(Problem::new("bad_field", format!("`{key}` must be text or a whole number"))),
    }
}

fn identity(message: &Map<String, Value>, key: &str, kind: IdentityKind) -> Result<Option<Identity>, Problem> {
    let Some(value) = text(message, key)? else { return Ok(None) };
    let unusable = || Problem::new("bad_field", format!("`{key}` is longer than 256 bytes or has control characters"));
    Identity::new(kind, &value).map(Some).ok_or_else(unusable)
}

fn too_long(key: &str) -> Problem {
    Problem::new("bad_field", format!("`{key}` is longer than {TEXT_BYTES} bytes"))
}
