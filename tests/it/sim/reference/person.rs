//! One customer, read naively off all events that are filed under it; and whether that person may be written to. Nothing is
//! kept from one question to the next.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Event, names};
use serde_json::Value;

use crate::sim::scene::Step;

pub(crate) struct Person {
    pub(crate) n_orders: usize,
    pub(crate) days_since_order: Option<f64>,
    pub(crate) vip: bool,
    has_address: bool,
    zone: TimeZone,
    suppressed: bool,
    /// Of the channel as a whole and of each topic: when, by which event, yes or no.
    words: Vec<(Option<String>, Timestamp, String, bool)>,
}

impl Person {
    #[expect(clippy::cast_precision_loss, reason = "days of a simulated life")]
    pub(crate) fn of(events: &[&Event], now: Timestamp, zone: &TimeZone) -> Person {
        let mut orders: Vec<(String, Timestamp)> = Vec::new();
        for event in events.iter().filter(|e| e.fact.name == names::ORDER_COMPLETED) {
            let id = event.fact.text("order_id").unwrap();
            match orders.iter_mut().find(|(known, _)| *known == id) {
                Some((_, placed_at)) => *placed_at = event.fact.occurred_at.min(*placed_at),
                None => orders.push((id, event.fact.occurred_at)),
            }
        }
        let last = orders.iter().map(|(_, at)| *at).max();
        let days = |at: Timestamp| now.since(at).as_micros().max(0) as f64 / 86_400e6;
        let address = last_trait(events, "email").and_then(|v| Identity::new(IdentityKind::Email, v.as_str()?));
        let handles = || events.iter().flat_map(|e| &e.fact.identities);
        let words = events.iter().filter(|e| [names::CONSENT_GIVEN, names::CONSENT_WITHDRAWN].contains(&&*e.fact.name));
        let words = words.map(|e| {
            let given = e.fact.name == names::CONSENT_GIVEN;
            (e.fact.text("topic"), e.fact.occurred_at, e.id.to_string(), given)
        });
        let orders_about_all =
            events.iter().filter(|e| [names::SUPPRESSED, names::UNSUPPRESSED].contains(&&*e.fact.name));
        Person {
            n_orders: orders.len(),
            days_since_order: last.map(days),
            vip: last_trait(events, "vip") == Some(Value::Bool(true)),
            has_address: address.is_some() || handles().any(|i| i.kind == IdentityKind::Email),
            zone: last_trait(events, "timezone")
                .and_then(|v| TimeZone::get(v.as_str()?).ok())
                .unwrap_or_else(|| zone.clone()),
            suppressed: newest(orders_about_all).is_some_and(|e| e.fact.name == names::SUPPRESSED),
            words: words.collect(),
        }
    }

    /// What the last word on `topic` (or on all mail) was, and when it was said.
    fn last_word(&self, topic: Option<&str>) -> Option<(Timestamp, &str, bool)> {
        let own = self.words.iter().filter(|(about, ..)| about.as_deref() == topic);
        own.map(|(_, at, event, given)| (*at, event.as_str(), *given)).max()
    }

    /// Why this must not leave at `now`, if so. `contacts`: when marketing reached the person, or is to, in any order.
    pub(crate) fn verdict(
        &self,
        step: Step,
        expires_at: Timestamp,
        contacts: &[Timestamp],
        cap: usize,
        now: Timestamp,
    ) -> Verdict {
        if now > expires_at {
            return Verdict::Refused("too_late");
        }
        let Some((class, topic)) = step else { return Verdict::Yes };
        if self.suppressed {
            return Verdict::Refused("suppressed");
        }
        if class == MessageClass::Marketing {
            let (whole, own) = (self.last_word(None), topic.and_then(|topic| self.last_word(Some(topic))));
            match (whole, own) {
                (None, None) => return Verdict::Refused("no_consent"),
                (Some((_, _, true)), None) => {}
                // Leaving all mail leaves every topic, unless the topic was asked for again since.
                (whole, Some((at, event, true)))
                    if !whole.is_some_and(|(w, e, given)| !given && (w, e) > (at, event)) => {}
                _ => return Verdict::Refused("consent_withdrawn"),
            }
        }
        if !self.has_address {
            return Verdict::Refused("no_address");
        }
        if let Some(morning) = self.morning(now).filter(|_| class != MessageClass::Transactional) {
            return wait(morning, expires_at, "quiet hours", "quiet_hours");
        }
        let window = SignedDuration::from_hours(7 * 24);
        let mut recent: Vec<Timestamp> =
            contacts.iter().map(|at| at.plus(window)).filter(|until| *until > now).collect();
        recent.sort_unstable();
        if class == MessageClass::Marketing && recent.len() >= cap {
            return wait(recent[recent.len() - cap], expires_at, "frequency cap", "frequency_cap");
        }
        Verdict::Yes
    }

    /// When it is morning at this person's, if it is night now.
    fn morning(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.in_zone(&self.zone);
        let day = match local.hour() {
            0..8 => local.date(),
            21.. => local.date().saturating_add(1.day()),
            _ => return None,
        };
        Some(day.at(8, 0, 0, 0).to_zoned(self.zone.clone()).unwrap().timestamp().into())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    /// Not before, and why.
    Wait(Timestamp, &'static str),
    Refused(&'static str),
}

fn wait(until: Timestamp, expires_at: Timestamp, why: &'static str, refused: &'static str) -> Verdict {
    if until > expires_at { Verdict::Refused(refused) } else { Verdict::Wait(until, why) }
}

fn newest<'a, 'b: 'a>(events: impl Iterator<Item = &'a &'b Event>) -> Option<&'b Event> {
    events.copied().max_by_key(|event| (event.fact.occurred_at, event.id))
}

fn last_trait(events: &[&Event], name: &str) -> Option<Value> {
    newest(events.iter().filter(|e| e.fact.traits.contains_key(name))).map(|e| e.fact.traits[name].clone())
}
