//! What the models may see of a customer: orders and money that went back, each with the instant from which it was known.
//! Every question asked here names an instant and is answered with what was known by then, so a feature cannot look ahead.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::packed::PackedFacts;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::id::{CustomerId, short_hash};
use crate::domain::money::Money;
use crate::domain::profile::Profile;
use crate::domain::score::ScoreKind;

/// One order as the models see it. Amounts are minor units of the business's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFact {
    /// When it was placed.
    pub at: Timestamp,
    /// When it could have been known.
    pub known_at: Timestamp,
    /// What was paid.
    pub gross_minor: i64,
    /// What went back: when that could have been known, and how much. Never more in all than was paid.
    pub refunds: Vec<(Timestamp, i64)>,
}

impl OrderFact {
    fn is_known_by(&self, then: Timestamp) -> bool {
        self.at <= then && self.known_at <= then
    }
}

/// One customer as the models see it: orders in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerFacts {
    /// Who.
    pub customer: CustomerId,
    /// Placed orders, oldest first.
    pub orders: Vec<OrderFact>,
    /// Money that went back for orders that we never saw placed (credit notes): when that could have been known, and how much.
    pub credits: Vec<(Timestamp, i64)>,
}

impl CustomerFacts {
    /// Reads the facts out of a profile.
    pub fn of(customer: CustomerId, profile: &Profile, business: &Business) -> Self {
        let currency = business.currency;
        let (mut orders, mut credits) = (Vec::new(), Vec::new());
        for order in profile.orders.0.values() {
            let gross_minor = order.gross_minor(currency);
            let amount = |amount: Option<Money>| match amount {
                None => gross_minor,
                Some(money) if money.currency == currency => money.minor,
                Some(_) => 0,
            };
            let mut refunds: Vec<_> = order.refunds.values().map(|r| (r.known_at, amount(r.amount))).collect();
            refunds.sort_unstable();
            let Some(at) = order.placed_at else {
                credits.extend(refunds.into_iter().filter(|(_, minor)| *minor != 0));
                continue;
            };
            // A part refunded first and the whole order afterwards is not one and a half orders back.
            let mut left = gross_minor.max(0);
            for (_, minor) in &mut refunds {
                *minor = (*minor).min(left);
                left -= *minor;
            }
            orders.push(OrderFact { at, known_at: order.known_at.unwrap_or(at), gross_minor, refunds });
        }
        orders.sort_by_key(|order| order.at);
        credits.sort_unstable();
        CustomerFacts { customer, orders, credits }
    }

    /// Net revenue so far, in minor units: what was paid for orders known by `then` less what was known to have gone back.
    pub fn net_minor_known_by(&self, then: Timestamp) -> i64 {
        let known = |refunds: &[(Timestamp, i64)]| -> i64 {
            refunds
                .iter()
                .filter(|(known_at, _)| *known_at <= then)
                .map(|(_, minor)| *minor)
                .fold(0, i64::saturating_add)
        };
        let orders = self.orders.iter().filter(|order| order.is_known_by(then));
        orders.map(|order| order.gross_minor - known(&order.refunds)).sum::<i64>() - known(&self.credits)
    }

    /// The instants of the orders known by `then`, oldest first.
    pub fn orders_known_by(&self, then: Timestamp) -> impl DoubleEndedIterator<Item = &OrderFact> {
        // Sorted by `at`, so everything after `then` is one slice; what became known late has to be looked for.
        let n_placed = self.orders.partition_point(|order| order.at <= then);
        self.orders[..n_placed].iter().filter(move |order| order.known_at <= then)
    }
}

/// How a customer stood at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Business days since the last order; 0 on the day itself.
    pub recency_days: i32,
    /// Orders known.
    pub n_orders: u32,
    /// Business days with at least one order: the frequency. Three orders on one day are one purchase made in three steps.
    pub n_order_days: u32,
}

impl Standing {
    /// From what was known by `then`; `None` for a customer without a known order.
    pub fn of(facts: &CustomerFacts, then: Timestamp, zone: &TimeZone) -> Option<Standing> {
        Calendar::default().read(facts, zone).standing(facts, then, then.day(zone))
    }

    /// `1 day`, `47 days`.
    pub(super) fn recency_text(&self) -> String {
        match self.recency_days {
            1 => "1 day".to_owned(),
            n => format!("{n} days"),
        }
    }
}

/// The business days of one customer's orders, worked out once and asked for many cut-offs; the memory is used again for the
/// next customer.
#[derive(Debug, Default)]
pub(super) struct Calendar(Vec<i32>);

impl Calendar {
    pub(super) fn read(&mut self, facts: &CustomerFacts, zone: &TimeZone) -> &Self {
        self.0.clear();
        self.0.extend(facts.orders.iter().map(|order| order.at.day(zone)));
        self
    }

    /// How the customer that was read last stood at `then`, which is on business day `today`.
    pub(super) fn standing(&self, facts: &CustomerFacts, then: Timestamp, today: i32) -> Option<Standing> {
        let (mut n_orders, mut n_order_days, mut last_day) = (0, 0, None);
        for (order, &day) in facts.orders.iter().zip(&self.0).take_while(|(order, _)| order.at <= then) {
            if order.known_at <= then {
                n_orders += 1;
                n_order_days += u32::from(last_day != Some(day));
                last_day = Some(day);
            }
        }
        last_day.map(|last| Standing { recency_days: today - last, n_orders, n_order_days })
    }
}

/// Everybody that a model is fitted on, in the order of their ids.
#[derive(Clone, Copy, Debug)]
pub enum Customers<'a> {
    /// As they are.
    Listed(&'a [CustomerFacts]),
    /// In little room.
    Packed(&'a PackedFacts),
}

impl<'a> Customers<'a> {
    /// One after the other.
    pub fn iter(self) -> Box<dyn Iterator<Item = Cow<'a, CustomerFacts>> + 'a> {
        match self {
            Customers::Listed(list) => Box::new(list.iter().map(Cow::Borrowed)),
            Customers::Packed(packed) => Box::new(packed.iter().map(Cow::Owned)),
        }
    }
}

impl<'a> From<&'a [CustomerFacts]> for Customers<'a> {
    fn from(list: &'a [CustomerFacts]) -> Self {
        Customers::Listed(list)
    }
}

/// What a model is fitted on: everything known by `as_of`, and nothing else may be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Dataset<'a> {
    /// All customers, in the order of their ids.
    pub customers: Customers<'a>,
    /// The instant of the fit.
    pub as_of: Timestamp,
    /// Whose days and whose money.
    pub business: &'a Business,
}

impl Dataset<'_> {
    /// Names a fit on this data, such as `churn_risk@2026-03-01#1f2e…`: the business day, and a hash over `config` and all
    /// that was known by then. Equal data and settings give equal names; what became known later changes nothing.
    pub fn version(&self, kind: ScoreKind, config: &impl Serialize) -> String {
        let mut hasher = Sha256::new();
        hasher.update(serde_json::to_vec(config).unwrap_or_default());
        hasher.update(self.as_of.as_micros().to_le_bytes());
        let known_by = self.as_of;
        let amounts = |hasher: &mut Sha256, refunds: &[(Timestamp, i64)]| {
            for (known_at, minor) in refunds.iter().filter(|(known_at, _)| *known_at <= known_by) {
                hasher.update([b'-']);
                hasher.update(known_at.as_micros().to_le_bytes());
                hasher.update(minor.to_le_bytes());
            }
        };
        for facts in self.customers.iter() {
            hasher.update(facts.customer.as_bytes());
            for order in facts.orders_known_by(known_by) {
                hasher.update([b'+']);
                hasher.update(order.at.as_micros().to_le_bytes());
                hasher.update(order.known_at.as_micros().to_le_bytes());
                hasher.update(order.gross_minor.to_le_bytes());
                amounts(&mut hasher, &order.refunds);
            }
            hasher.update([b'c']);
            amounts(&mut hasher, &facts.credits);
        }
        let hash = short_hash(&[&hasher.finalize()]);
        format!("{}@{}#{hash}", kind.as_str(), self.as_of.in_zone(&self.business.zone).date())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::event::{Event, Fact, names};

    fn event(name: &str, hour: i64, properties: &serde_json::Value) -> Event {
        let at = Timestamp::from_micros(hour * 3_600_000_000);
        let fact = Fact {
            source: "test".to_owned(),
            message_id: format!("{name} {hour} {properties}"),
            name: name.to_owned(),
            occurred_at: at,
            received_at: at,
            known_at: at,
            imported: false,
            identities: Vec::new(),
            traits: serde_json::Map::new(),
            properties: properties.as_object().cloned().unwrap_or_default(),
            context: serde_json::Map::new(),
        };
        Event { id: Event::id_of(&fact), customer: None, fact }
    }

    #[test]
    fn money_goes_back_once_from_when_it_was_known_also_for_orders_never_seen() {
        let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
        let events = [
            event(names::ORDER_COMPLETED, 1, &json!({ "order_id": "a", "total": 100 })),
            event(names::ORDER_REFUNDED, 3, &json!({ "order_id": "a", "total": 30 })),
            event(names::ORDER_CANCELLED, 5, &json!({ "order_id": "a" })),
            event(names::ORDER_COMPLETED, 2, &json!({ "order_id": "b", "total": 50 })),
            event(names::ORDER_COMPLETED, 2, &json!({ "order_id": "c", "total": 10, "currency": "USD" })),
            event(names::ORDER_REFUNDED, 7, &json!({ "order_id": "before our time", "total": 20 })),
        ];
        let customer = CustomerId::derive(Timestamp::EPOCH, &[]);
        let facts = CustomerFacts::of(customer, &Profile::fold(&events, &business), &business);
        let net = |hour: i64| facts.net_minor_known_by(Timestamp::from_micros(hour * 3_600_000_000));
        assert_eq!([0, 1, 2, 3, 5, 7].map(net), [0, 10_000, 15_000, 12_000, 5_000, 3_000]);
        let standing = Standing::of(&facts, Timestamp::from_micros(86_400_000_000), &TimeZone::UTC).unwrap();
        assert_eq!(standing, Standing { recency_days: 1, n_orders: 3, n_order_days: 1 });
    }
}
