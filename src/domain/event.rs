//! Events: immutable facts about customers, the ground state that everything else is derived from.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clock::Timestamp;
use super::customer::{Identity, IdentityKind};
use super::foreign::Unusable;
use super::id::{CustomerId, EventId, digest};
use super::money::{Currency, MAX_MAJOR, Money};

/// The events that rekindle itself understands. Every other name is kept, counted and available to rules just the same.
/// The e-commerce names are those of Segment's specification.
pub mod names {
    /// An order was paid: `order_id`, `total` or `revenue`, `currency`, `products[]`.
    pub const ORDER_COMPLETED: &str = "Order Completed";
    /// A newer version of an order, whole.
    pub const ORDER_UPDATED: &str = "Order Updated";
    /// Money went back: `order_id`, `total` (without it the whole order), optional `refund_id`.
    pub const ORDER_REFUNDED: &str = "Order Refunded";
    /// The order will not happen: the same as a refund of the whole.
    pub const ORDER_CANCELLED: &str = "Order Cancelled";
    /// Traits of a customer became known (`/v1/identify`).
    pub const IDENTIFIED: &str = "Customer Identified";
    /// Two handles are one customer (`/v1/alias`, an operator's merge).
    pub const MERGED: &str = "Customers Merged";
    /// Two customers are not one person, by an operator's word; no door takes it in. A merge that joined them is undone.
    pub const SEPARATED: &str = "Customers Separated";
    /// A page was seen (`/v1/page`).
    pub const PAGE_VIEWED: &str = "Page Viewed";
    /// A screen of an app was seen (`/v1/screen`).
    pub const SCREEN_VIEWED: &str = "Screen Viewed";
    /// The customer belongs to a group or company (`/v1/group`).
    pub const GROUP_JOINED: &str = "Group Joined";
    /// The customer agreed to be written to: `channel` (default `email`), optional `topic`.
    pub const CONSENT_GIVEN: &str = "Consent Given";
    /// The customer no longer agrees: `channel` (default `email`), optional `topic`.
    pub const CONSENT_WITHDRAWN: &str = "Consent Withdrawn";
    /// Nothing may be sent to this customer at all any more, whatever the class: `reason`.
    pub const SUPPRESSED: &str = "Suppressed";
    /// A suppression was lifted.
    pub const UNSUPPRESSED: &str = "Unsuppressed";
    /// A rule set a trait (`set_trait`).
    pub const TRAIT_SET: &str = "Trait Set";

    /// The names above, for `check` to suggest from.
    pub const ALL: &[&str] = &[
        ORDER_COMPLETED,
        ORDER_UPDATED,
        ORDER_REFUNDED,
        ORDER_CANCELLED,
        IDENTIFIED,
        MERGED,
        PAGE_VIEWED,
        SCREEN_VIEWED,
        GROUP_JOINED,
        CONSENT_GIVEN,
        CONSENT_WITHDRAWN,
        SUPPRESSED,
        UNSUPPRESSED,
        TRAIT_SET,
    ];

    /// Events of Segment's e-commerce specification, of reviews, payments and subscriptions, that shops commonly send.
    pub const COMMON: &[&str] = &[
        "Cart Viewed",
        "Checkout Completed",
        "Checkout Started",
        "Coupon Applied",
        "Payment Failed",
        "Product Added",
        "Product List Viewed",
        "Product Removed",
        "Product Reviewed",
        "Product Viewed",
        "Products Searched",
        "Review Submitted",
        "Subscription Cancelled",
        "Support Ticket Opened",
        "Support Ticket Closed",
    ];
}

/// An event as a connector hands it over, before it is known whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Which connector or write key it came through.
    pub source: String,
    /// The sender's own id; `(source, message_id)` is never counted twice.
    pub message_id: String,
    /// What happened.
    pub name: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it came to us.
    pub received_at: Timestamp,
    /// When we could have known it: `received_at` for live events, `occurred_at` plus the stated delay for history.
    pub known_at: Timestamp,
    /// Part of a history import: folded like any other, but wakes no rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// The handles of the customer. None: the event is nobody's (a guest order) and only counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// Traits that this event states; `null` clears one.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub traits: Map<String, Value>,
    /// What belongs to the event.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
    /// Where it happened: Segment's `context` (page, campaign, locale, library ...).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
}

/// The source of what an operator states on the command line. No door lets it in from outside.
pub const OPERATOR: &str = "operator";

/// Whether a source speaks for rekindle or its operator, so that nobody else may bear its name.
pub fn is_reserved(source: &str) -> bool {
    source == OPERATOR || source == "rekindle"
}

impl Fact {
    /// Whether this is an operator's word on who is one customer: it is filed and followed, and no part of what the
    /// customers did.
    pub fn is_operators_word(&self) -> bool {
        self.source == OPERATOR && matches!(self.name.as_str(), names::MERGED | names::SEPARATED)
    }

    /// Whether an operator states here that two customers are not one person.
    pub fn separates(&self) -> bool {
        self.source == OPERATOR && self.name == names::SEPARATED
    }

    /// What duplicates are found by: 16 bytes of the hash of source and message id.
    pub fn dedupe_key(&self) -> [u8; 16] {
        first_half(digest(&[self.source.as_bytes(), self.message_id.as_bytes()]))
    }

    /// Tells a repeated message from another message under the same id. Times are left out on purpose: a client that
    /// sends again states a new `sentAt`, which moves the corrected time by some milliseconds. So is the context, where
    /// libraries count their retries.
    pub fn body_hash(&self) -> [u8; 16] {
        let body = serde_json::to_vec(&(&self.name, &self.identities, &self.traits, &self.properties))
            .expect("maps with string keys always serialise");
        first_half(digest(&[&body]))
    }

    /// A property as text: strings as they are, numbers as written.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.properties.get(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The user ids among the identities.
    pub fn user_ids(&self) -> impl Iterator<Item = &str> {
        self.identities.iter().filter(|i| i.kind == IdentityKind::UserId).map(|i| i.value.as_str())
    }

    /// The amount of the event: `revenue`, else `total`, else `value`, in its `currency` (else `default`).
    pub fn amount(&self, default: Currency) -> Option<Money> {
        let amount = AMOUNTS.iter().find_map(|key| decimal(self.properties.get(*key)?))?;
        let currency = self.currency(default);
        Some(Money { minor: currency.minor(amount)?, currency })
    }

    /// The event's `currency`, else `default`.
    pub fn currency(&self, default: Currency) -> Currency {
        self.properties.get("currency").and_then(Value::as_str).and_then(|c| c.parse().ok()).unwrap_or(default)
    }
}

/// Where events state their amount, in this order.
const AMOUNTS: [&str; 3] = ["revenue", "total", "value"];

/// Whether an order or refund called `name` states an amount that cannot be counted: it would silently count as nothing.
pub fn check_amount(name: &str, properties: &Map<String, Value>) -> Result<(), Unusable> {
    if ![names::ORDER_COMPLETED, names::ORDER_UPDATED, names::ORDER_REFUNDED].contains(&name) {
        return Ok(());
    }
    let is_stated = |value: &&Value| !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
    let mut stated = AMOUNTS.iter().filter_map(|key| properties.get(*key)).filter(is_stated).peekable();
    let countable = |value: &Value| decimal(value).is_some_and(|amount| amount.abs() <= Decimal::from(MAX_MAJOR));
    if stated.peek().is_none() || stated.any(countable) {
        return Ok(());
    }
    let message = "the amount is not a number that can be counted; state `total` or `revenue` as in 12.50";
    Err(Unusable::new("bad_amount", message))
}

fn first_half(hash: [u8; 32]) -> [u8; 16] {
    hash[..16].try_into().expect("32 bytes have a first half")
}

/// Reads a JSON number, or a number in a string, without passing through binary fractions.
pub fn decimal(value: &Value) -> Option<Decimal> {
    let parse = |text: &str| text.parse().or_else(|_| Decimal::from_scientific(text)).ok();
    match value {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text.trim()),
        _ => None,
    }
}

/// A stored event: a fact with its name in our books and, where known, its customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Derived from arrival and dedupe key, so it sorts by arrival.
    pub id: EventId,
    /// Whose it is; `None` for an event without identities.
    pub customer: Option<CustomerId>,
    /// What was handed over.
    pub fact: Fact,
}

impl Event {
    /// The id that a fact gets when it is taken in.
    pub fn id_of(fact: &Fact) -> EventId {
        EventId::derive(fact.received_at, &[&fact.dedupe_key()])
    }
}
