//! One message of the Segment specification and what it states, whichever way it came: over HTTP or as a line of a file.
//!
//! | type | event | what else |
//! |---|---|---|
//! | `track` | its own `event` | `properties` |
//! | `identify` | `Customer Identified` | `traits`; `email` and `phone` among them are handles |
//! | `page`, `screen` | `Page Viewed`, `Screen Viewed` | `name` and `category` join the `properties` |
//! | `group` | `Group Joined` | `group_id` and `group_traits` join the `properties`: they are not the person's |
//! | `alias` | `Customers Merged` | both handles |
//!
//! `context.traits` are the person's traits on every message, as Segment has it. `properties.email` is not a handle: it may
//! be a friend's. `integrations` says to which of Segment's destinations an event goes; there are none here, and it is
//! dropped. When it happened is for the door to say: a live sender's clock may be wrong, a file is history.

use serde_json::{Map, Value};

use super::customer::{Identity, IdentityKind};
use super::event::{self, names};
use super::foreign::{self, Unusable};

/// Longest event name and message id, in bytes.
const TEXT_BYTES: usize = 256;

/// What a message states.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The event.
    pub name: String,
    /// The handles of the person, strongest first.
    pub identities: Vec<Identity>,
    /// Traits that it states.
    pub traits: Map<String, Value>,
    /// What belongs to the event.
    pub properties: Map<String, Value>,
    /// Where it happened; without `traits`.
    pub context: Map<String, Value>,
}

/// What sort of statement a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who somebody is.
    Identify,
    /// What somebody did.
    Track,
    /// A page was seen.
    Page,
    /// A screen of an app was seen.
    Screen,
    /// Somebody belongs to a company.
    Group,
    /// Two handles are one person.
    Alias,
}

impl Kind {
    /// From a message's `type`.
    pub fn from_type(name: &str) -> Option<Self> {
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

/// What `item` states.
pub fn read(kind: Kind, mut item: Map<String, Value>) -> Result<Statement, Unusable> {
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
            let missing = || Unusable::new("no_group_id", "a group message needs a `groupId`");
            let group_id = handle(&item, "groupId")?.ok_or_else(missing)?;
            properties.insert("group_id".to_owned(), group_id.into());
            properties.insert("group_traits".to_owned(), stated_traits.into());
            names::GROUP_JOINED.to_owned()
        }
        Kind::Alias => names::MERGED.to_owned(),
    };
    let identities = identities(kind, &item, &traits)?;
    [&traits, &properties, &context].into_iter().try_for_each(foreign::check)?;
    event::check_amount(&name, &properties)?;
    Ok(Statement { name, identities, traits, properties, context })
}

/// What `item` says of when it happened, if it does. A forwarder renames what the device stated to `originalTimestamp`,
/// and puts its own guess into `timestamp`.
pub fn stated_time(item: &Map<String, Value>) -> Option<&Value> {
    ["originalTimestamp", "timestamp"].iter().find_map(|key| item.get(*key).filter(|value| !value.is_null()))
}

/// The sender's own id of an item.
pub fn message_id(item: &Map<String, Value>) -> Result<Option<String>, Unusable> {
    let id = handle(item, "messageId")?;
    match id {
        Some(id) if id.len() > TEXT_BYTES => Err(too_long("messageId")),
        Some(id) => foreign::check_text(&id).map(|()| Some(id)),
        None => Ok(None),
    }
}

fn event_name(item: &Map<String, Value>) -> Result<String, Unusable> {
    match item.get("event") {
        Some(Value::String(name)) if name.len() > TEXT_BYTES => Err(too_long("event")),
        Some(Value::String(name)) if name.chars().any(char::is_control) => {
            Err(Unusable::new("bad_field", "`event` has control characters"))
        }
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name.clone()),
        _ => Err(Unusable::new("no_event", "a track message needs an `event`: the name of what happened, as text")),
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
        let needs = if kind == Kind::Alias {
            "an alias message needs a `userId`"
        } else {
            "neither `userId` nor `anonymousId`"
        };
        return Err(Unusable::new("no_identity", needs));
    }
    let mut previous = Vec::new();
    if kind == Kind::Alias {
        let as_anonymous = identity(item, "previousId", IdentityKind::AnonymousId)?;
        if as_anonymous.is_none() && anonymous.is_none() {
            return Err(Unusable::new(
                "no_previous_id",
                "an alias message needs a `previousId` to join to its `userId`",
            ));
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
