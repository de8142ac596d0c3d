//! Lines of `events.jsonl`: what Segment's libraries send, one call a line.

use serde::Serialize;

use super::calendar::utc;
use super::catalogue::{CATEGORIES, Cents};
use super::files::order_id;
use super::people::REGIONS;
use super::records::{Line, Record, What};
use super::scene::Stage;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    r#type: &'static str,
    message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traits: Option<Traits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties<'a>>,
    context: Context,
}

#[derive(Serialize)]
struct Traits {
    signed_up_through: &'static str,
}

#[derive(Serialize)]
struct Context {
    locale: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<Device>,
}

#[derive(Serialize)]
struct Device {
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Properties<'a> {
    Product {
        product_id: &'a str,
        name: &'a str,
        category: &'static str,
        price: Cents,
        #[serde(skip_serializing_if = "Option::is_none")]
        quantity: Option<i64>,
    },
    Checkout {
        value: Cents,
        currency: &'static str,
        n_products: usize,
    },
    Review {
        product_id: &'a str,
        category: &'static str,
        order_id: String,
        rating: usize,
        text: &'static str,
    },
    Ticket {
        order_id: String,
        topic: &'static str,
    },
    Consent {
        channel: &'static str,
    },
    Suppression {
        reason: &'static str,
    },
}

/// Names a record; the same whatever else happens in the shop.
pub(super) fn message_id(record: &Record) -> String {
    format!("m{:06}-{}", record.customer + 1, record.number)
}

/// The line of a record; `None` for what goes into another file.
pub(super) fn line(stage: &Stage, record: &Record) -> Option<String> {
    let person = &stage.people[record.customer];
    let product = |product: usize, quantity: Option<i64>, price: Option<Cents>| {
        let it = &stage.catalogue.0[product];
        let (category, price) = (CATEGORIES[it.category].name, price.unwrap_or(it.price));
        Some(Properties::Product { product_id: &it.sku, name: &it.name, category, price, quantity })
    };
    let mut page = None;
    let mut traits = None;
    let (event, properties) = match &record.what {
        What::Page(name) => {
            page = Some(*name);
            (None, None)
        }
        What::SignedUp => {
            let signed_up_through = if person.at_checkout { "checkout" } else { "newsletter" };
            traits = Some(Traits { signed_up_through });
            (None, None)
        }
        What::Viewed { product: viewed } => (Some("Product Viewed"), product(*viewed, None, None)),
        What::Added { line: Line { product: added, quantity, unit_price } } => {
            (Some("Product Added"), product(*added, Some(*quantity), Some(*unit_price)))
        }
        What::CheckoutStarted { value, n_lines } => {
            let checkout = Properties::Checkout { value: *value, currency: "EUR", n_products: *n_lines };
            (Some("Checkout Started"), Some(checkout))
        }
        What::Reviewed { order, product, rating, text } => {
            let it = &stage.catalogue.0[*product];
            let (product_id, category) = (it.sku.as_str(), CATEGORIES[it.category].name);
            let order_id = order_id(record.customer, *order);
            (
                Some("Review Submitted"),
                Some(Properties::Review { product_id, category, order_id, rating: *rating, text }),
            )
        }
        What::TicketOpened { order, topic } => {
            let order_id = order_id(record.customer, *order);
            (Some("Support Ticket Opened"), Some(Properties::Ticket { order_id, topic }))
        }
        What::ConsentWithdrawn => (Some("Consent Withdrawn"), Some(Properties::Consent { channel: "email" })),
        What::Suppressed(reason) => (Some("Suppressed"), Some(Properties::Suppression { reason })),
        What::Ordered { .. } | What::Refunded { .. } => return None,
    };
    let r#type = match (page, &traits) {
        (Some(_), _) => "page",
        (_, Some(_)) => "identify",
        _ => "track",
    };
    let device = record.browser.map(|browser| Device { r#type: if browser == 0 { "desktop" } else { "mobile" } });
    let call = Call {
        r#type,
        message_id: message_id(record),
        user_id: record.known.then_some(person.user_id.as_str()),
        anonymous_id: record.browser.map(|browser| person.browsers[browser].as_str()),
        event,
        name: page,
        timestamp: utc(record.at),
        traits,
        properties,
        context: Context { locale: REGIONS[person.region].locale, device },
    };
    Some(serde_json::to_string(&call).expect("structs of strings and numbers always serialise"))
}
