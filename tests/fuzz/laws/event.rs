//! Event JSON, a message a line: what is read of a message can be kept, is stored, and comes back as it was; and the
//! profile of all of them does not hang on the order or the portions in which they came.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::message::{self, Kind};
use rekindle::domain::occurred;
use rekindle::domain::profile::Profile;
use serde_json::{Map, Value};

const RECEIVED: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

static BUSINESS: LazyLock<Business> =
    LazyLock::new(|| Business { zone: TimeZone::get("Europe/Berlin").unwrap(), currency: "EUR".parse().unwrap() });

pub(crate) fn holds(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').enumerate();
    let facts = lines.filter_map(|(n, line)| fact(n, serde_json::from_slice(line).ok()?));
    // Duplicates are dropped before the fold.
    let mut keys = BTreeSet::new();
    let facts = facts.filter(|fact| keys.insert(fact.dedupe_key()));
    let events: Vec<Event> = facts.map(|fact| Event { id: Event::id_of(&fact), customer: None, fact }).collect();
    if events.is_empty() {
        return;
    }
    let profile = Profile::fold(&events, &BUSINESS);
    assert_eq!(again(&profile), profile);
    assert_eq!(Profile::fold(events.iter().rev(), &BUSINESS), profile, "in any order");
    let (left, right): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.id.as_bytes()[15] & 1 == 0);
    let (left, right) = (Profile::fold(left, &BUSINESS), Profile::fold(right, &BUSINESS));
    assert_eq!(joined(&left, &right), profile, "in any portions");
    assert_eq!(joined(&right, &left), profile);
    ask(&profile, &events);
}

fn fact(n: usize, item: Map<String, Value>) -> Option<Fact> {
    let kind = Kind::from_type(item.get("type")?.as_str()?)?;
    let stated = message::stated_time(&item).and_then(Value::as_str).and_then(occurred::parse);
    let sent_at = item.get("sentAt").and_then(Value::as_str).and_then(occurred::parse);
    let occurred_at = occurred::occurred_at(stated, sent_at, RECEIVED).ok()?;
    assert!(occurred_at <= RECEIVED);
    let message_id = message::message_id(&item).ok()?.unwrap_or_else(|| n.to_string());
    let read = message::read(kind, item).ok()?;
    let fact = Fact {
        source: "fuzz".to_owned(),
        message_id,
        name: read.name,
        occurred_at,
        received_at: RECEIVED,
        known_at: RECEIVED,
        imported: false,
        identities: read.identities,
        traits: read.traits,
        properties: read.properties,
        context: read.context,
    };
    assert_eq!(fact.check(), Ok(()));
    assert!(!fact.identities.is_empty() && !fact.name.is_empty());
    let stored = serde_json::to_string(&fact).unwrap();
    let loaded: Fact = serde_json::from_str(&stored).unwrap();
    assert_eq!(loaded, fact);
    assert_eq!(loaded.body_hash(), fact.body_hash());
    Some(fact)
}

fn again(profile: &Profile) -> Profile {
    serde_json::from_str(&serde_json::to_string(profile).unwrap()).unwrap()
}

fn joined(a: &Profile, b: &Profile) -> Profile {
    let mut both = a.clone();
    both.merge(b);
    both
}

/// What rules and models ask a profile is answered, and the answers fit together.
fn ask(profile: &Profile, events: &[Event]) {
    for Event { fact, .. } in events {
        let n = profile.count_since(&fact.name, i32::MIN, &BUSINESS);
        assert_eq!(profile.last_at(&fact.name).is_some(), n > 0, "{}", fact.name);
        assert!(profile.first_at(&fact.name) <= profile.last_at(&fact.name));
        assert!(profile.count_since(&fact.name, fact.occurred_at.day(&BUSINESS.zone), &BUSINESS) <= n);
        profile.sum_since(&fact.name, i32::MIN, &BUSINESS);
    }
    assert_eq!(profile.n_events, events.len() as u64);
    profile.orders.net_minor(BUSINESS.currency);
    profile.email();
    profile.zone();
}
