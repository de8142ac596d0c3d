//! The profile: everything derived from one customer's events. A fold that does not care about order.
//!
//! `merge` joins the profiles of disjoint sets of events and is commutative and associative, so events may arrive in any
//! order and two halves of a customer may be joined at any time. Counting something twice is prevented before the fold, by
//! dedupe. Taking something back (undoing a merge, forgetting) is a new fold of the events that remain, never subtraction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::{Business, Timestamp};
use super::consent::{ConsentState, Suppression};
use super::customer::{Identity, IdentityKind};
use super::event::{Event, Fact, names};
use super::history::{History, Series};
use super::order::{Orders, Stamp};

/// The property that history is kept apart by, besides the whole; product categories of orders are always kept.
pub const DIMENSION: &str = "category";

/// A trait with the statement it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trait {
    /// `Value::Null` when the trait was cleared: remembered, so an older statement cannot bring it back.
    pub value: Value,
    /// The newest statement wins.
    pub stamp: Stamp,
}

/// The derived view of one customer. Empty until events are folded into it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Every handle that the customer was seen under.
    pub identities: BTreeSet<Identity>,
    /// When the first event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// When the last event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// How many events were folded.
    pub n_events: u64,
    /// Current attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: BTreeMap<String, Trait>,
    /// Everything that is not an order.
    #[serde(default)]
    pub history: History,
    /// Orders and refunds.
    #[serde(default)]
    pub orders: Orders,
    /// Channel, or `channel/topic`, → what the customer said last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub consent: BTreeMap<String, ConsentState>,
    /// The last word on whether anything may be sent at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<Suppression>,
}

impl Profile {
    /// The profile of `events`, which must be free of duplicates; their order does not matter.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>, business: &Business) -> Self {
        let mut profile = Profile::default();
        for event in events {
            profile.apply(event, business);
        }
        profile
    }

    /// Takes one more event in.
    pub fn apply(&mut self, event: &Event, business: &Business) {
        let fact = &event.fact;
        if fact.is_operators_word() {
            return;
        }
        let stamp = (fact.occurred_at, event.id);
        self.n_events += 1;
        let handles = fact.identities.iter().filter(|i| i.kind != IdentityKind::CustomerId);
        self.identities.extend(handles.cloned());
        self.first_seen = Some(self.first_seen.map_or(fact.occurred_at, |t| t.min(fact.occurred_at)));
        self.last_seen = Some(self.last_seen.map_or(fact.occurred_at, |t| t.max(fact.occurred_at)));
        for (name, value) in &fact.traits {
            newest(&mut self.traits, name, Trait { value: value.clone(), stamp }, |t| t.stamp);
        }
        if self.orders.record(event.id, fact, business.currency) {
            return;
        }
        match fact.name.as_str() {
            names::CONSENT_GIVEN | names::CONSENT_WITHDRAWN => {
                let given = fact.name == names::CONSENT_GIVEN;
                newest(&mut self.consent, &consent_key(fact), ConsentState { given, stamp }, |c| c.stamp);
            }
            names::SUPPRESSED | names::UNSUPPRESSED => {
                let active = fact.name == names::SUPPRESSED;
                let reason = fact.text("reason").unwrap_or_else(|| "not stated".to_owned());
                let word = Suppression { active, reason, stamp };
                if self.suppression.as_ref().is_none_or(|s| s.stamp < word.stamp) {
                    self.suppression = Some(word);
                }
            }
            _ => {}
        }
        let amount = fact.amount(business.currency).filter(|m| m.currency == business.currency);
        let one = Series::one(fact.occurred_at, fact.occurred_at.day(&business.zone), amount.map_or(0, |m| m.minor));
        let dimensions: Vec<_> = fact.text(DIMENSION).map(|v| (DIMENSION.to_owned(), v)).into_iter().collect();
        self.history.record(&fact.name, &one, &dimensions);
    }

    /// Joins the profile of other events of the same customer. Commutative and associative.
    pub fn merge(&mut self, other: &Profile) {
        self.n_events += other.n_events;
        self.identities.extend(other.identities.iter().cloned());
        self.first_seen = [self.first_seen, other.first_seen].into_iter().flatten().min();
        self.last_seen = self.last_seen.max(other.last_seen);
        for (name, theirs) in &other.traits {
            newest(&mut self.traits, name, theirs.clone(), |t| t.stamp);
        }
        for (key, theirs) in &other.consent {
            newest(&mut self.consent, key, theirs.clone(), |c| c.stamp);
        }
        if other.suppression.as_ref().map(|s| s.stamp) > self.suppression.as_ref().map(|s| s.stamp) {
            self.suppression.clone_from(&other.suppression);
        }
        self.history.merge(&other.history);
        self.orders.merge(&other.orders);
    }

    /// A trait's value; `None` when it was never stated or was cleared.
    pub fn trait_value(&self, name: &str) -> Option<&Value> {
        self.traits.get(name).map(|t| &t.value).filter(|v| !v.is_null())
    }

    /// A trait's value when it is text.
    pub fn trait_text(&self, name: &str) -> Option<&str> {
        self.trait_value(name)?.as_str()
    }

    /// The address that mail goes to: the `email` trait where it is a usable address, else an email identity.
    pub fn email(&self) -> Option<String> {
        let stated = self.trait_text("email").and_then(|e| Identity::new(IdentityKind::Email, e)).map(|i| i.value);
        stated.or_else(|| self.identities.iter().find(|i| i.kind == IdentityKind::Email).map(|i| i.value.clone()))
    }

    /// The customer's own zone from the `timezone` trait, when it names one that exists.
    pub fn zone(&self) -> Option<TimeZone> {
        TimeZone::get(self.trait_text("timezone")?).ok()
    }

    /// When `name` last happened. Orders count from when they were placed, refunds from when the money went back.
    pub fn last_at(&self, name: &str) -> Option<Timestamp> {
        match name {
            names::ORDER_COMPLETED => self.orders.placed().map(|(at, _)| at).max(),
            names::ORDER_REFUNDED => self.refunds().max(),
            _ => self.history.series(name, None).map(|s| s.last_at),
        }
    }

    /// When `name` first happened.
    pub fn first_at(&self, name: &str) -> Option<Timestamp> {
        match name {
            names::ORDER_COMPLETED => self.orders.placed().map(|(at, _)| at).min(),
            names::ORDER_REFUNDED => self.refunds().min(),
            _ => self.history.series(name, None).map(|s| s.first_at),
        }
    }

    /// How often `name` happened on or after business day `first_day` (`i32::MIN` for ever); an amended order is one.
    pub fn count_since(&self, name: &str, first_day: i32, business: &Business) -> u64 {
        let from_day = |at: &Timestamp| at.day(&business.zone) >= first_day;
        match name {
            names::ORDER_COMPLETED => self.orders.placed().filter(|(at, _)| from_day(at)).count() as u64,
            names::ORDER_REFUNDED => self.refunds().filter(from_day).count() as u64,
            _ => self.history.series(name, None).map_or(0, |s| s.since_day(first_day).0),
        }
    }

    /// The amounts of `name` on or after business day `first_day`, in minor units of the business's currency: for
    /// orders, what was paid less what of it went back.
    pub fn sum_since(&self, name: &str, first_day: i32, business: &Business) -> i64 {
        let since = |at: Timestamp| at.day(&business.zone) >= first_day;
        match name {
            names::ORDER_COMPLETED => {
                let orders = self.orders.placed().filter(|(at, _)| since(*at));
                orders.map(|(_, order)| order.net_minor(business.currency)).fold(0, i64::saturating_add)
            }
            _ => self.history.series(name, None).map_or(0, |s| s.since_day(first_day).1),
        }
    }

    fn refunds(&self) -> impl Iterator<Item = Timestamp> {
        self.orders.0.values().flat_map(|order| order.refunds.values().map(|refund| refund.at))
    }
}

fn consent_key(fact: &Fact) -> String {
    let channel = fact.text("channel").unwrap_or_else(|| "email".to_owned());
    match fact.text("topic") {
        Some(topic) => format!("{channel}/{topic}"),
        None => channel,
    }
}

fn newest<T>(map: &mut BTreeMap<String, T>, key: &str, word: T, stamp: impl Fn(&T) -> Stamp) {
    match map.get(key) {
        Some(ours) if stamp(ours) >= stamp(&word) => {}
        _ => {
            map.insert(key.to_owned(), word);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    static BUSINESS: LazyLock<Business> =
        LazyLock::new(|| Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() });

    fn event(n: usize, name: &str, at: i64, properties: &Value, traits: &Value) -> Event {
        let occurred_at = Timestamp::from_micros(at * 3_600_000_000);
        let fact = Fact {
            source: "test".to_owned(),
            message_id: n.to_string(),
            name: name.to_owned(),
            occurred_at,
            received_at: occurred_at,
            known_at: occurred_at,
            imported: false,
            identities: Identity::new(IdentityKind::UserId, &format!("u{}", n % 3)).into_iter().collect(),
            traits: traits.as_object().cloned().unwrap_or_default(),
            properties: properties.as_object().cloned().unwrap_or_default(),
            context: serde_json::Map::new(),
        };
        Event { id: Event::id_of(&fact), customer: None, fact }
    }

    /// Events that touch every part of a profile: few order ids and few instants, so they collide often.
    fn events() -> impl Strategy<Value = Vec<Event>> {
        let one = (0..9usize, 0..40i64, 0..3u8, 0..500i64);
        prop::collection::vec(one, 0..24).prop_map(|specs| {
            let build = |(n, (kind, at, order, amount)): (usize, (usize, i64, u8, i64))| {
                let order_id = format!("o{order}");
                let money = json!({ "order_id": order_id, "total": amount, "order_part": amount % 2 });
                let (name, properties) = match kind {
                    0 | 1 => (names::ORDER_COMPLETED, money),
                    2 => (names::ORDER_UPDATED, money),
                    3 => (names::ORDER_REFUNDED, json!({ "order_id": order_id, "total": amount, "refund_id": "r" })),
                    4 => (names::ORDER_CANCELLED, json!({ "order_id": order_id })),
                    5 => (names::CONSENT_GIVEN, json!({ "channel": "email" })),
                    6 => (names::CONSENT_WITHDRAWN, json!({ "channel": "email" })),
                    7 => (names::SUPPRESSED, json!({ "reason": order_id })),
                    _ => ("Product Viewed", json!({ "category": order_id, "value": amount })),
                };
                event(n, name, at, &properties, &json!({ "plan": order_id, "seen": at }))
            };
            specs.into_iter().enumerate().map(build).collect()
        })
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_gives_the_same_profile(events in events(), seed in any::<u64>()) {
            let mut shuffled = events.clone();
            shuffled.sort_by_key(|e| super::super::id::digest(&[&seed.to_be_bytes(), e.id.as_bytes()]));
            prop_assert_eq!(Profile::fold(&shuffled, &BUSINESS), Profile::fold(&events, &BUSINESS));
        }

        #[test]
        fn merge_is_commutative_and_associative_on_disjoint_events(events in events(), cut in any::<[u8; 24]>()) {
            let part = |which: u8| {
                let chosen = events.iter().enumerate().filter(|(i, _)| cut[*i] % 3 == which).map(|(_, e)| e);
                Profile::fold(chosen, &BUSINESS)
            };
            let (a, b, c) = (part(0), part(1), part(2));
            let join = |x: &Profile, y: &Profile| { let mut x = x.clone(); x.merge(y); x };
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&join(&a, &b), &c), Profile::fold(&events, &BUSINESS));
        }

        #[test]
        fn a_stored_profile_reads_back_as_it_was(events in events()) {
            let profile = Profile::fold(&events, &BUSINESS);
            let text = serde_json::to_string(&profile).unwrap();
            prop_assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile);
        }
    }

    #[test]
    fn a_refund_that_arrives_before_its_order_counts_all_the_same() {
        let order = event(1, names::ORDER_COMPLETED, 10, &json!({ "order_id": "o", "total": "80.50" }), &json!({}));
        let refund = event(2, names::ORDER_REFUNDED, 12, &json!({ "order_id": "o", "total": 30.5 }), &json!({}));
        let profile = Profile::fold([&refund, &order], &BUSINESS);
        assert_eq!(profile.orders.net_minor(BUSINESS.currency), 5_000);
        assert_eq!(profile.count_since(names::ORDER_COMPLETED, i32::MIN, &BUSINESS), 1);
    }

    #[test]
    fn a_second_part_adds_to_an_order_and_a_newer_version_replaces_a_part() {
        let part = |n, at, part, total| {
            let properties = json!({ "order_id": "o", "order_part": part, "total": total });
            event(n, names::ORDER_COMPLETED, at, &properties, &json!({}))
        };
        let events = [part(1, 1, 0, 10), part(2, 1, 1, 5), part(3, 2, 1, 7)];
        assert_eq!(Profile::fold(&events, &BUSINESS).orders.net_minor(BUSINESS.currency), 1_700);
    }
}
