//! What is to be known about each event that rekindle itself understands: whoever sends it reads it here, in
//! `rekindle reference events`. [`super::event::names`] has the names.

use super::event::names;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct KnownEvent {
    /// Its name.
    pub name: &'static str,
    /// When to send it.
    pub means: &'static str,
    /// The properties that are understood, each with what it says. All others are kept.
    pub properties: &'static [(&'static str, &'static str)],
    /// What it does to a profile.
    pub effect: &'static str,
    /// A call of the tracking API that makes one: path and body.
    pub example: (&'static str, &'static str),
}

const ORDER_ID: (&str, &str) =
    ("order_id", "The order's number. Without it the order can be neither amended nor refunded.");
const TOTAL: (&str, &str) = ("total", "What was paid. `revenue` counts before it, and `value` where neither is.");
const CURRENCY: (&str, &str) = ("currency", "ISO 4217; without it the business's.");
const PRODUCTS: (&str, &str) = (
    "products",
    "A list; of each, `price` and `quantity` (1 without it), and `category`, by which revenue is kept apart.",
);
const PART: (&str, &str) =
    ("order_part", "A number, where a source states an order in several parts; each replaces only its own.");
const CHANNEL: (&str, &str) = ("channel", "By which channel; `email` without it.");
const TOPIC: (&str, &str) = ("topic", "About what; without it the whole channel.");

/// All of them, in the order of [`names::ALL`].
pub const KNOWN_EVENTS: &[KnownEvent] = &[
    KnownEvent {
        name: names::ORDER_COMPLETED,
        means: "An order was paid.",
        properties: &[ORDER_ID, TOTAL, CURRENCY, PRODUCTS, PART],
        effect: "One more order, placed at this time, and its revenue. Of two statements about the same order (and part) the newer one holds.",
        example: (
            "/v1/track",
            r#"{"userId": "42", "event": "Order Completed", "properties": {"order_id": "1001", "total": 59.90, "currency": "EUR"}}"#,
        ),
    },
    KnownEvent {
        name: names::ORDER_UPDATED,
        means: "An order has changed. State it whole, as it is now.",
        properties: &[ORDER_ID, TOTAL, CURRENCY, PRODUCTS, PART],
        effect: "Replaces what was said of the order before. It stays one order, placed when it was first completed, and is not counted under its own name.",
        example: (
            "/v1/track",
            r#"{"userId": "42", "event": "Order Updated", "properties": {"order_id": "1000", "total": 45.00}}"#,
        ),
    },
    KnownEvent {
        name: names::ORDER_REFUNDED,
        means: "Money went back. It may arrive before its order.",
        properties: &[
            ORDER_ID,
            ("total", "How much went back, a positive number. Without it the whole order."),
            CURRENCY,
            ("refund_id", "Tells several refunds of one order apart, and a repeated one from a second."),
        ],
        effect: "Lowers the revenue of its order. The order still counts as an order.",
        example: (
            "/v1/track",
            r#"{"userId": "42", "event": "Order Refunded", "properties": {"order_id": "1000", "total": 20.00, "refund_id": "r1"}}"#,
        ),
    },
    KnownEvent {
        name: names::ORDER_CANCELLED,
        means: "An order will not happen.",
        properties: &[ORDER_ID],
        effect: "The same as a refund of the whole order, and counted as one.",
        example: ("/v1/track", r#"{"userId": "42", "event": "Order Cancelled", "properties": {"order_id": "1000"}}"#),
    },
    KnownEvent {
        name: names::IDENTIFIED,
        means: "Traits of a customer became known.",
        properties: &[],
        effect: "Sets each trait that it states; of two statements about one trait the newer one holds, and `null` clears it. `email` and `phone` are handles too, and join customers. `timezone` (an IANA name) says whose night the quiet hours are.",
        example: ("/v1/identify", r#"{"userId": "42", "traits": {"first_name": "Ana", "email": "ana@example.com"}}"#),
    },
    KnownEvent {
        name: names::MERGED,
        means: "Two handles are one customer, and somebody who knows says so.",
        properties: &[],
        effect: "Joins both customers, even two user ids, which no other event joins; not two whom an operator has parted. The profile is then that of all their events.",
        example: ("/v1/alias", r#"{"userId": "42", "previousId": "browser-7"}"#),
    },
    KnownEvent {
        name: names::PAGE_VIEWED,
        means: "A page was seen.",
        properties: &[],
        effect: "Counted.",
        example: ("/v1/page", r#"{"userId": "42", "name": "Home"}"#),
    },
    KnownEvent {
        name: names::SCREEN_VIEWED,
        means: "A screen of an app was seen.",
        properties: &[],
        effect: "Counted.",
        example: ("/v1/screen", r#"{"userId": "42", "name": "Basket"}"#),
    },
    KnownEvent {
        name: names::GROUP_JOINED,
        means: "The customer belongs to a group or company.",
        properties: &[],
        effect: "Counted. What it states of the group is kept with the event and does not become a trait.",
        example: ("/v1/group", r#"{"userId": "42", "groupId": "acme", "traits": {"plan": "team"}}"#),
    },
    KnownEvent {
        name: names::CONSENT_GIVEN,
        means: "The customer agreed to be written to.",
        properties: &[CHANNEL, TOPIC],
        effect: "Marketing may go out by this channel (about this topic). Of two words the later one holds, by when it was said.",
        example: (
            "/v1/track",
            r#"{"userId": "42", "event": "Consent Given", "properties": {"channel": "email", "topic": "offers"}}"#,
        ),
    },
    KnownEvent {
        name: names::CONSENT_WITHDRAWN,
        means: "The customer no longer agrees. The unsubscribe link sends it by itself.",
        properties: &[CHANNEL, TOPIC],
        effect: "No marketing by this channel (about this topic). Leaving a channel leaves all of its topics.",
        example: ("/v1/track", r#"{"userId": "42", "event": "Consent Withdrawn", "properties": {"channel": "email"}}"#),
    },
    KnownEvent {
        name: names::SUPPRESSED,
        means: "Nothing may be sent to this customer any more, whatever its class.",
        properties: &[("reason", "Why, for people: `complaint`, `dead`, `asked by letter`.")],
        effect: "Every later message is refused as `suppressed`; those that wait are dropped.",
        example: ("/v1/track", r#"{"userId": "42", "event": "Suppressed", "properties": {"reason": "complaint"}}"#),
    },
    KnownEvent {
        name: names::UNSUPPRESSED,
        means: "A suppression was lifted.",
        properties: &[("reason", "Why, for people.")],
        effect: "What consent allows may be sent again.",
        example: (
            "/v1/track",
            r#"{"userId": "42", "event": "Unsuppressed", "properties": {"reason": "asked for it"}}"#,
        ),
    },
    KnownEvent {
        name: names::TRAIT_SET,
        means: "A rule set a trait (`set_trait`). Nobody needs to send it.",
        properties: &[],
        effect: "Sets the trait, as `Customer Identified` does.",
        example: ("/v1/track", r#"{"userId": "42", "event": "Trait Set", "context": {"traits": {"thanked": true}}}"#),
    },
];
