//! The page of events: what is known of each, and its example folded into a profile, so that what it is said to do is
//! what it does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{cell, heading};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Event, Fact, names};
use crate::domain::known_event::{KNOWN_EVENTS, KnownEvent};
use crate::domain::profile::{DIMENSION, Profile};

const INTO_TEXT: &str = "writing into a text cannot fail";

/// 2026-03-01T09:00:00Z: when the examples happen.
const NOW: Timestamp = Timestamp::from_micros(1_772_355_600 * 1_000_000);

/// What the customer of the examples did the day before.
const BEFORE: &str =
    r#"{"userId": "42", "event": "Order Completed", "properties": {"order_id": "1000", "total": 59.90}}"#;

pub(super) fn render(missing: &mut Vec<String>) -> String {
    let about = format!(
        "Any event name may be sent: it is kept, counted (`customer.count(\"…\")`) and wakes the rules `on(\"…\")`. \
         The events on this page also have a meaning. Of every event whatsoever: an amount in `revenue`, `total` or `value` \
         (the first that is there) with its `currency` is summed (`customer.sum(\"…\")`); `{DIMENSION}` is kept apart in \
         the history; `context.traits` sets traits.\n\nThe column \"changes\" is not written but computed: it is what \
         folding the example does to the profile of a customer who placed order 1000 over 59.90 the day before."
    );
    let mut text = heading("Events", "events", &about);
    for name in names::ALL {
        match KNOWN_EVENTS.iter().find(|event| event.name == *name) {
            Some(event) => section(event, &mut text),
            None => missing.push(format!("event `{name}` (src/domain/known_event.rs)")),
        }
    }
    let others: Vec<String> = names::COMMON.iter().map(|name| format!("`{name}`")).collect();
    writeln!(
        text,
        "\n## Names that `check` knows\n\nThese have no meaning of their own. `check` knows that shops send them, and asks \
         \"did you mean\" where a rule writes one of them or of those above a little wrong: {}.",
        others.join(", ")
    )
    .expect(INTO_TEXT);
    text
}

fn section(event: &KnownEvent, text: &mut String) {
    let (path, body) = event.example;
    writeln!(text, "\n## {}\n\n{} {}", event.name, event.means, event.effect).expect(INTO_TEXT);
    if !event.properties.is_empty() {
        text.push_str("\n| property | says |\n|---|---|\n");
        for (name, says) in event.properties {
            writeln!(text, "| `{name}` | {} |", cell(says)).expect(INTO_TEXT);
        }
    }
    writeln!(text, "\n`POST {path}`\n\n```json\n{body}\n```\n\n| of the customer | changes |\n|---|---|")
        .expect(INTO_TEXT);
    for (what, from, to) in changes(event) {
        writeln!(text, "| {what} | {from} → {to} |").expect(INTO_TEXT);
    }
}

/// What the event's example changes of a profile.
fn changes(event: &KnownEvent) -> Vec<(String, String, String)> {
    let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().expect("a currency") };
    let before = stored(names::ORDER_COMPLETED, BEFORE, NOW.minus(jiff::SignedDuration::from_hours(24)));
    let after = stored(event.name, event.example.1, NOW);
    let was = seen(&Profile::fold([&before], &business), event.name, &business);
    let is = seen(&Profile::fold([&before, &after], &business), event.name, &business);
    let nothing = || "none".to_owned();
    let changed = is.into_iter().filter(|(what, now)| was.get(what) != Some(now));
    changed.map(|(what, now)| (what.clone(), was.get(&what).cloned().unwrap_or_else(nothing), now)).collect()
}

/// What a rule would see of it, and what `admit` would.
fn seen(profile: &Profile, event: &str, business: &Business) -> BTreeMap<String, String> {
    let currency = business.currency;
    let mut seen = BTreeMap::from([
        ("`n_orders`".to_owned(), profile.orders.placed().count().to_string()),
        ("`net_revenue`".to_owned(), format!("{:.2}", currency.major(profile.orders.net_minor(currency)))),
    ]);
    for name in [event, names::ORDER_REFUNDED] {
        seen.insert(format!("`count(\"{name}\")`"), profile.count_since(name, i32::MIN, business).to_string());
    }
    for (topic, consent) in &profile.consent {
        seen.insert(format!("consent to `{topic}`"), if consent.given { "given" } else { "withdrawn" }.to_owned());
    }
    for (name, value) in &profile.traits {
        seen.insert(format!("trait `{name}`"), value.value.to_string());
    }
    for handle in profile.identities.iter().filter(|i| i.kind != IdentityKind::UserId) {
        seen.insert(format!("handle `{}`", handle.kind.as_str()), format!("`{}`", handle.value));
    }
    if let Some(suppression) = &profile.suppression {
        let word = if suppression.active { "yes" } else { "no" };
        seen.insert("suppressed".to_owned(), format!("{word} ({})", suppression.reason));
    }
    seen
}

/// The example as it would stand in the books.
fn stored(name: &str, body: &str, at: Timestamp) -> Event {
    let body: Value = serde_json::from_str(body).expect("examples are JSON");
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    // A group's traits are the group's.
    let own = if name == names::GROUP_JOINED { Map::new() } else { object(&body["traits"]) };
    let traits: Map<String, Value> = object(&body["context"]["traits"]).into_iter().chain(own).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let handles = [
        (IdentityKind::UserId, text(&body["userId"])),
        (IdentityKind::Email, text(&traits.get("email").cloned().unwrap_or_default())),
        (IdentityKind::AnonymousId, text(&body["previousId"])),
    ];
    let fact = Fact {
        source: "app".to_owned(),
        message_id: name.to_owned(),
        name: name.to_owned(),
        occurred_at: at,
        received_at: at,
        known_at: at,
        imported: false,
        identities: handles.iter().filter_map(|(kind, value)| Identity::new(*kind, value)).collect(),
        traits,
        properties: object(&body["properties"]),
        context: Map::new(),
    };
    Event { id: Event::id_of(&fact), customer: None, fact }
}
