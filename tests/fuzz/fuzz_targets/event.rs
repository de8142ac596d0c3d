//! Event JSON: what is read of a message is folded without harm, stored, and comes back as it was.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::message::{self, Kind};
use rekindle::domain::profile::Profile;
use serde_json::{Map, Value};

fuzz_target!(|data: &[u8]| {
    let Ok(item) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let Some(kind) = item.get("type").and_then(Value::as_str).and_then(Kind::from_type) else { return };
    let (Ok(id), Ok(read)) = (message::message_id(&item), message::read(kind, item)) else { return };
    let at = Timestamp::EPOCH;
    let fact = Fact {
        source: "fuzz".to_owned(),
        message_id: id.unwrap_or_default(),
        name: read.name,
        occurred_at: at,
        received_at: at,
        known_at: at,
        imported: false,
        identities: read.identities,
        traits: read.traits,
        properties: read.properties,
        context: read.context,
    };
    assert_eq!(fact.check(), Ok(()));
    let stored = serde_json::to_string(&fact).unwrap();
    assert_eq!(serde_json::from_str::<Fact>(&stored).unwrap(), fact);
    let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
    let event = Event { id: Event::id_of(&fact), customer: None, fact };
    let profile = Profile::fold([&event], &business);
    let stored = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&stored).unwrap(), profile);
});
