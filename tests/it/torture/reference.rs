//! What should have happened: the rules of the test once more, as plain code, one event after the other in the order in which
//! they were stored. Nothing of `src/rules` or `src/pipeline` is used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The rules as the daemon gets them.
pub(super) const RULES: [(&str, &str); 7] = [
    (
        "carts.rhai",
        "const RULE = #{ trigger: on(\"Cart Abandoned\") };\n\
         fn when(customer) { true }\n\
         fn then(customer) { webhook(\"crm\", #{ n_orders: customer.n_orders }); }\n",
    ),
    (
        "mark.rhai",
        "const RULE = #{ trigger: on(\"Order Completed\"), cooldown: days(30) };\n\
         fn when(customer) { customer.n_orders >= 3 }\n\
         fn then(customer) { set_trait(\"regular\", true); }\n",
    ),
    (
        "offers.rhai",
        "const RULE = #{ trigger: on(\"Product Viewed\") };\n\
         fn when(customer) { customer.n_orders >= 2 }\n\
         fn then(customer) { email(\"offer\"); }\n",
    ),
    (
        "receipts.rhai",
        "const RULE = #{ trigger: on(\"Order Completed\") };\n\
         fn when(customer) { true }\n\
         fn then(customer) { email(\"receipt\"); }\n",
    ),
    (
        "thanks.rhai",
        "const RULE = #{ trigger: on(\"Order Completed\"), cooldown: days(30) };\n\
         fn when(customer) { customer.n_orders >= 2 }\n\
         fn then(customer) { email(\"offer\"); task(\"Call\"); }\n",
    ),
    (
        "vips.rhai",
        "const RULE = #{ trigger: on(\"Product Viewed\"), cooldown: days(30) };\n\
         fn when(customer) { customer.regular == true }\n\
         fn then(customer) { webhook(\"crm\", #{ vip: true }); }\n",
    ),
    (
        "welcome.rhai",
        "const RULE = #{ trigger: entering(\"buyers\") };\n\
         fn when(customer) { true }\n\
         fn then(customer) { task(\"Welcome\"); }\n",
    ),
];

pub(super) const SEGMENTS: &str = "fn buyers(customer) { customer.n_orders >= 1 }\n";

/// `[contact] cap`: marketing mails to one customer.
pub(super) const CAP: usize = 2;

/// A stored event, as far as the rules care.
#[derive(Clone)]
pub(super) struct Told {
    /// `evt_…`
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) name: String,
    pub(super) occurred_at: i64,
    pub(super) traits: Value,
    pub(super) order: Option<String>,
}

/// Rule, customer, occasion, step, channel.
pub(super) type Key = (String, String, String, u32, String);

#[derive(Default)]
struct Person {
    orders: BTreeSet<String>,
    address: bool,
    regular: bool,
    /// What was said last, and when.
    consent: Option<((i64, String), bool)>,
    n_marketing: usize,
    rested: BTreeSet<&'static str>,
    welcomed: bool,
}

/// All deliveries that these events, in this order, must have led to.
pub(super) fn expected(events: &[Told]) -> BTreeSet<Key> {
    let mut people: BTreeMap<&str, Person> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for event in events {
        let person = people.entry(&event.customer).or_default();
        learn(person, event);
        let mut wants = |rule: &str, occasion: &str, step: u32, channel: &str| {
            all.insert((rule.to_owned(), event.customer.clone(), occasion.to_owned(), step, channel.to_owned()));
        };
        let occasion = format!("event:{}", event.id);
        match event.name.as_str() {
            "Cart Abandoned" => wants("carts", &occasion, 0, "webhook"),
            "Order Completed" => {
                if person.orders.len() >= 3 && person.rested.insert("mark") {
                    wants("mark", &occasion, 0, "trait");
                }
                if person.address {
                    wants("receipts", &occasion, 0, "email");
                }
                // The task is always let through, so the rule rests afterwards whether or not the mail was.
                if person.orders.len() >= 2 && person.rested.insert("thanks") {
                    if may_be_offered(person) {
                        wants("thanks", &occasion, 0, "email");
                    }
                    wants("thanks", &occasion, 1, "task");
                }
            }
            "Product Viewed" => {
                if person.orders.len() >= 2 && may_be_offered(person) {
                    wants("offers", &occasion, 0, "email");
                }
                if person.regular && person.rested.insert("vips") {
                    wants("vips", &occasion, 0, "webhook");
                }
            }
            _ => {}
        }
        if !person.orders.is_empty() && !std::mem::replace(&mut person.welcomed, true) {
            wants("welcome", "signal", 0, "task");
        }
    }
    all
}

fn learn(person: &mut Person, event: &Told) {
    person.address |= event.traits.get("email").is_some();
    person.regular |= event.traits.get("regular") == Some(&Value::Bool(true));
    person.orders.extend(event.order.clone());
    let given = match event.name.as_str() {
        "Consent Given" => true,
        "Consent Withdrawn" => false,
        _ => return,
    };
    let said = (event.occurred_at, event.id.clone());
    if person.consent.as_ref().is_none_or(|(before, _)| *before < said) {
        person.consent = Some((said, given));
    }
}

/// Takes one of the customer's places under the cap.
fn may_be_offered(person: &mut Person) -> bool {
    let consented = person.consent.as_ref().is_some_and(|(_, given)| *given);
    let may = consented && person.address && person.n_marketing < CAP;
    person.n_marketing += usize::from(may);
    may
}
