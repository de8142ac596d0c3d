//! What a seed makes happen outside: customers, their events, imports, operators and clocks.

use jiff::SignedDuration;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Fact, names};
use serde_json::{Map, Value, json};

use super::draw::Draw;

pub(crate) enum Act {
    /// These happened so long ago, and are sent now.
    Submit(Vec<(SignedDuration, Fact)>),
    /// The same as history from a file.
    Import(Vec<(SignedDuration, Fact)>),
    /// This user follows an unsubscribe link.
    Unsubscribe(String),
    Pass(SignedDuration),
    /// Somebody sets the clock, forwards or backwards.
    Set(SignedDuration),
    Restart,
    TrimLog,
}

/// Days on which a simulated world begins; the second and third have a change of clocks in Berlin ahead of them.
const STARTS: [&str; 4] =
    ["2026-06-01T10:00:00Z", "2026-03-27T09:00:00Z", "2026-10-23T15:00:00Z", "2026-12-30T20:30:00Z"];

pub(crate) struct Script {
    draw: Draw,
    n_customers: u64,
    n_messages: u32,
    n_orders: u32,
    /// Who placed which order.
    orders: Vec<(u64, String)>,
}

impl Script {
    pub(crate) fn draw(seed: u64) -> (Timestamp, Vec<Act>) {
        let mut draw = Draw::new(seed, "script");
        let start = draw.one_of(&STARTS).parse().unwrap();
        let n_customers = 2 + draw.below(5);
        let mut script = Script { draw, n_customers, n_messages: 0, n_orders: 0, orders: Vec::new() };
        let n_acts = 14 + script.draw.below(14);
        let mut acts = vec![Act::Submit(script.known_customers())];
        acts.extend((0..n_acts).map(|_| script.act()));
        (start, acts)
    }

    fn act(&mut self) -> Act {
        let user = self.draw.below(self.n_customers);
        match self.draw.below(100) {
            0..45 => {
                let n = 1 + self.draw.below(6);
                Act::Submit((0..n).map(|_| self.event(false)).collect())
            }
            45..48 => {
                let n = 1 + self.draw.below(8);
                Act::Import((0..n).map(|_| self.event(true)).collect())
            }
            48..50 => Act::Unsubscribe(format!("u{user}")),
            50..53 => Act::Restart,
            53..55 => Act::TrimLog,
            55..58 => {
                let hours = *self.draw.one_of(&[-24, -24, -1, 1, 24]);
                Act::Set(SignedDuration::from_hours(hours))
            }
            58..75 => Act::Pass(SignedDuration::from_mins(i64::try_from(self.draw.below(240)).unwrap())),
            _ => Act::Pass(SignedDuration::from_hours(i64::try_from(3 + self.draw.below(28)).unwrap())),
        }
    }

    /// Most have an address and agreed to be written to; some live elsewhere.
    fn known_customers(&mut self) -> Vec<(SignedDuration, Fact)> {
        let mut facts = Vec::new();
        for n in 0..self.n_customers {
            let mut known = self.fact(names::IDENTIFIED, &[(IdentityKind::UserId, format!("u{n}"))], &json!({}));
            if self.draw.percent(85) {
                known.traits.insert("email".to_owned(), json!(format!("u{n}@example.com")));
            }
            if self.draw.percent(30) {
                let zone = *self.draw.one_of(&["America/New_York", "Asia/Tokyo", "Nowhere/Land"]);
                known.traits.insert("timezone".to_owned(), json!(zone));
            }
            facts.push((SignedDuration::ZERO, known));
            if self.draw.percent(80) {
                let whose = [(IdentityKind::UserId, format!("u{n}"))];
                facts.push((SignedDuration::ZERO, self.fact(names::CONSENT_GIVEN, &whose, &json!({}))));
            }
        }
        facts
    }

    fn event(&mut self, imported: bool) -> (SignedDuration, Fact) {
        let n = self.draw.below(self.n_customers);
        let whose = self.handles(n);
        let (name, properties) = self.what(n);
        let mut fact = self.fact(name, &whose, &properties);
        if name == names::IDENTIFIED {
            fact.traits.insert("first_name".to_owned(), json!(format!("Name {}", self.n_messages)));
        }
        if self.draw.percent(4) {
            fact.traits.insert("vip".to_owned(), json!(self.draw.percent(60)));
        }
        if name == names::MERGED {
            let other = self.draw.below(self.n_customers);
            fact.identities.extend(Identity::new(IdentityKind::UserId, &format!("u{other}")));
        }
        // The same id for another message: a sender's mistake.
        if self.draw.percent(2) && self.n_messages > 3 {
            fact.message_id = format!("m{}", self.n_messages - 2);
        }
        fact.imported = imported;
        let ago = if imported {
            SignedDuration::from_hours(i64::try_from(self.draw.below(60 * 24)).unwrap())
        } else if self.draw.percent(15) {
            SignedDuration::from_hours(i64::try_from(self.draw.below(72)).unwrap())
        } else {
            SignedDuration::from_secs(i64::try_from(self.draw.below(600)).unwrap())
        };
        (ago, fact)
    }

    fn what(&mut self, n: u64) -> (&'static str, Value) {
        let total = 1 + self.draw.below(20_000);
        match self.draw.below(100) {
            0..30 => ("Product Viewed", json!({ "category": "shoes", "value": total })),
            30..52 => {
                self.n_orders += 1;
                let id = format!("o{}", self.n_orders);
                self.orders.push((n, id.clone()));
                (names::ORDER_COMPLETED, json!({ "order_id": id, "total": total }))
            }
            52..56 => (names::ORDER_COMPLETED, json!({ "order_id": self.an_order(n), "total": total })),
            56..62 => (names::ORDER_REFUNDED, json!({ "order_id": self.an_order(n), "total": 1 })),
            62..72 => (names::IDENTIFIED, json!({})),
            72..76 => (names::CONSENT_GIVEN, json!({ "channel": "email" })),
            76..79 => (names::CONSENT_WITHDRAWN, json!({ "channel": "email" })),
            79..82 => (names::CONSENT_GIVEN, json!({ "channel": "email", "topic": "news" })),
            82..85 => (names::CONSENT_WITHDRAWN, json!({ "channel": "email", "topic": "offers" })),
            85..87 => (names::SUPPRESSED, json!({ "reason": "complaint" })),
            87..91 => (names::UNSUPPRESSED, json!({})),
            91..94 => (names::MERGED, json!({})),
            _ => ("Support Ticket Opened", json!({})),
        }
    }

    fn an_order(&self, n: u64) -> String {
        let own = self.orders.iter().rev().find(|(whose, _)| *whose == n);
        own.map_or_else(|| format!("lost{n}"), |(_, id)| id.clone())
    }

    /// As they come: known, known on a device, only a device, only an address, a device that two share, nobody.
    fn handles(&mut self, n: u64) -> Vec<(IdentityKind, String)> {
        let user = (IdentityKind::UserId, format!("u{n}"));
        let device = (IdentityKind::AnonymousId, format!("a{n}-{}", self.draw.below(3)));
        let address = (IdentityKind::Email, format!("u{n}@example.com"));
        match self.draw.below(100) {
            0..40 => vec![user],
            40..55 => vec![user, device],
            55..78 => vec![device],
            78..86 => vec![address],
            86..92 => vec![user, address],
            92..96 => vec![user, (IdentityKind::AnonymousId, "kiosk".to_owned())],
            96..98 => vec![(IdentityKind::AnonymousId, "kiosk".to_owned())],
            _ => vec![],
        }
    }

    fn fact(&mut self, name: &str, whose: &[(IdentityKind, String)], properties: &Value) -> Fact {
        self.n_messages += 1;
        Fact {
            source: "app".to_owned(),
            message_id: format!("m{}", self.n_messages),
            name: name.to_owned(),
            occurred_at: Timestamp::EPOCH,
            received_at: Timestamp::EPOCH,
            known_at: Timestamp::EPOCH,
            imported: false,
            identities: whose.iter().filter_map(|(kind, value)| Identity::new(*kind, value)).collect(),
            traits: Map::new(),
            properties: properties.as_object().cloned().unwrap_or_default(),
            context: Map::new(),
        }
    }
}
