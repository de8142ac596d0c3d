//! Orders: their own part of a profile, because they change after the fact. Keyed by order id; of each part the newest
//! version wins; a refund attaches to its order whichever of the two arrives first; every sum is derived from here.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Timestamp;
use super::event::{Fact, decimal, names};
use super::id::EventId;
use super::money::{Currency, Money};

/// When a statement was made: of two about the same thing the later one holds, ties are broken by event id.
pub type Stamp = (Timestamp, EventId);

/// One statement of what was bought. Most orders have one part; a source that lists an order's lines in several places
/// (an export whose rows are not adjacent) adds a part for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which statement this is.
    pub version: Stamp,
    /// What was paid.
    pub total: Money,
    /// How many product lines.
    pub n_lines: u32,
    /// Dimension value → amount in minor units, from the products' categories.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, i64>,
}

/// Money that went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// When.
    pub at: Timestamp,
    /// When we could have known it.
    pub known_at: Timestamp,
    /// How much; `None` for the whole order.
    pub amount: Option<Money>,
}

/// One order as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// When it was first completed; `None` while only a refund of it has been seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Timestamp>,
    /// When we could first have known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_at: Option<Timestamp>,
    /// Part number → its newest statement.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<u32, Part>,
    /// Refund id (else event id) → refund.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refunds: BTreeMap<String, Refund>,
}

impl Order {
    /// What was paid, in `currency` only.
    pub fn gross_minor(&self, currency: Currency) -> i64 {
        self.parts.values().filter(|p| p.total.currency == currency).map(|p| p.total.minor).fold(0, i64::saturating_add)
    }

    /// What was paid less what went back, in `currency` only. Negative for a credit note without an order.
    pub fn net_minor(&self, currency: Currency) -> i64 {
        self.net_minor_known_by(currency, Timestamp::MAX)
    }

    /// [`Order::net_minor`] with only the refunds known by `then`.
    pub fn net_minor_known_by(&self, currency: Currency, then: Timestamp) -> i64 {
        let gross = self.gross_minor(currency);
        let mut back = 0_i64;
        for refund in self.refunds.values().filter(|r| r.known_at <= then) {
            match refund.amount {
                None => return 0,
                Some(amount) if amount.currency == currency => back = back.saturating_add(amount.minor),
                Some(_) => {}
            }
        }
        gross.saturating_sub(back)
    }

    fn merge(&mut self, other: &Order) {
        self.placed_at = earliest(self.placed_at, other.placed_at);
        self.known_at = earliest(self.known_at, other.known_at);
        for (number, part) in &other.parts {
            match self.parts.get(number) {
                Some(ours) if ours.version >= part.version => {}
                _ => {
                    self.parts.insert(*number, part.clone());
                }
            }
        }
        for (id, refund) in &other.refunds {
            match self.refunds.get(id) {
                Some(ours) if (ours.at, ours.known_at, ours.amount) >= (refund.at, refund.known_at, refund.amount) => {}
                _ => {
                    self.refunds.insert(id.clone(), refund.clone());
                }
            }
        }
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// All orders of a customer, by order id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orders(pub BTreeMap<String, Order>);

impl Orders {
    /// Takes in an order event; `false` when `fact` is not one.
    pub fn record(&mut self, id: EventId, fact: &Fact, business: Currency) -> bool {
        let mut order = Order::default();
        match fact.name.as_str() {
            names::ORDER_COMPLETED | names::ORDER_UPDATED => {
                let part = fact.properties.get("order_part").and_then(Value::as_u64).unwrap_or(0);
                order.placed_at = Some(fact.occurred_at);
                order.known_at = Some(fact.known_at);
                order.parts.insert(u32::try_from(part).unwrap_or(u32::MAX), part_of(id, fact, business));
            }
            names::ORDER_REFUNDED | names::ORDER_CANCELLED => {
                let amount = if fact.name == names::ORDER_CANCELLED { None } else { fact.amount(business) };
                let key = fact.text("refund_id").unwrap_or_else(|| id.to_string());
                order.refunds.insert(key, Refund { at: fact.occurred_at, known_at: fact.known_at, amount });
            }
            _ => return false,
        }
        // An order without an id cannot be amended; its own message id keeps it apart from all others.
        let order_id = fact.text("order_id").unwrap_or_else(|| format!("message:{}", fact.message_id));
        self.0.entry(order_id).or_default().merge(&order);
        true
    }

    /// Joins the orders of disjoint events.
    pub fn merge(&mut self, other: &Orders) {
        for (id, order) in &other.0 {
            self.0.entry(id.clone()).or_default().merge(order);
        }
    }

    /// The orders that were placed (not the bare refunds), with the instant of each.
    pub fn placed(&self) -> impl Iterator<Item = (Timestamp, &Order)> {
        self.0.values().filter_map(|order| Some((order.placed_at?, order)))
    }

    /// Net revenue of all orders and refunds in `currency`, in minor units.
    pub fn net_minor(&self, currency: Currency) -> i64 {
        self.0.values().map(|order| order.net_minor(currency)).fold(0, i64::saturating_add)
    }
}

fn part_of(id: EventId, fact: &Fact, business: Currency) -> Part {
    let currency = fact.currency(business);
    let products = fact.properties.get("products").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut categories = BTreeMap::new();
    let mut lines_total = Decimal::ZERO;
    for product in products {
        let quantity = product.get("quantity").and_then(decimal).unwrap_or(Decimal::ONE);
        let line = product.get("price").and_then(decimal).and_then(|p| p.checked_mul(quantity)).unwrap_or_default();
        lines_total = lines_total.checked_add(line).unwrap_or(lines_total);
        if let Some(category) = product.get("category").and_then(Value::as_str) {
            let sum: &mut i64 = categories.entry(category.to_owned()).or_default();
            *sum = sum.saturating_add(currency.minor(line).unwrap_or(0));
        }
    }
    let total =
        fact.amount(business).unwrap_or_else(|| Money { minor: currency.minor(lines_total).unwrap_or(0), currency });
    let n_lines = u32::try_from(products.len()).unwrap_or(u32::MAX);
    Part { version: (fact.occurred_at, id), total, n_lines, categories }
}
