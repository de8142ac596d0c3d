//! What all models promise: no look into the future, the same bytes from the same data, and honest silence.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::domain::id::CustomerId;

mod by_hand;
mod real_data;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn business(zone: &str, currency: &str) -> Business {
    Business { zone: TimeZone::get(zone).unwrap(), currency: currency.parse().unwrap() }
}

fn id(name: &str) -> CustomerId {
    CustomerId::derive(Timestamp::EPOCH, &[name.as_bytes()])
}

/// Hours after 2024-01-01.
fn hour(n: u32) -> Timestamp {
    at("2024-01-01T00:00:00Z").plus(SignedDuration::from_hours(i64::from(n)))
}

const DAYS: u32 = 24;
const AS_OF: u32 = 500 * DAYS;

/// Windows short enough that 500 days hold several.
fn models() -> Vec<Box<dyn Model>> {
    let churn_risk = ChurnRiskConfig { horizon_days: 60, ..ChurnRiskConfig::default() };
    all(&ModelsConfig {
        churn_risk,
        lifetime_value: LifetimeValueConfig { horizon_days: 100 },
        ..ModelsConfig::default()
    })
}

prop_compose! {
    /// An order placed in `placed` (hours) that became known somewhat later, half of them with a refund.
    fn an_order(placed: std::ops::Range<u32>)(
        placed in placed, delay in prop_oneof![Just(0), 0..40 * DAYS], gross_minor in 0i64..100_000,
        refund in prop::option::of((0..60 * DAYS, 0i64..1_000)),
    ) -> OrderFact {
        let known = placed + delay;
        let refunds = refund.into_iter().map(|(later, minor)| (hour(known + later), minor.min(gross_minor))).collect();
        OrderFact { at: hour(placed), known_at: hour(known), gross_minor, refunds }
    }
}

/// A shop whose first order is on day 0 and whose last one, as far as known, is on the last day.
fn a_shop() -> impl Strategy<Value = Vec<CustomerFacts>> {
    prop::collection::vec(prop::collection::vec(an_order(0..AS_OF), 0..5), 60..150).prop_map(|orders| {
        let frame =
            [0, AS_OF - 1].map(|n| OrderFact { at: hour(n), known_at: hour(n), gross_minor: 1, refunds: vec![] });
        let orders = std::iter::once(frame.to_vec()).chain(orders);
        orders.enumerate().map(|(n, orders)| customer(&format!("c{n}"), orders)).collect()
    })
}

fn customer(name: &str, mut orders: Vec<OrderFact>) -> CustomerFacts {
    orders.sort_by_key(|order| order.at);
    CustomerFacts { customer: id(name), orders, credits: Vec::new() }
}

/// The same shop after `orders` became known to have been placed by the customers with these numbers.
fn with(customers: &[CustomerFacts], orders: &[(prop::sample::Index, OrderFact)]) -> Vec<CustomerFacts> {
    let mut customers = customers.to_vec();
    for (whose, order) in orders {
        let number = whose.index(customers.len());
        let facts = &mut customers[number];
        facts.orders.push(order.clone());
        facts.orders.sort_by_key(|order| order.at);
    }
    customers
}

fn n_own(card: &Value) -> Vec<Value> {
    card["cells"].as_array().unwrap().iter().map(|cell| cell["n_own"].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_became_known_after_the_fit_changes_no_byte_of_it(
        shop in a_shop(),
        later in prop::collection::vec((any::<prop::sample::Index>(), an_order(0..AS_OF), 1..50 * DAYS), 1..40),
    ) {
        let business = business("Europe/Berlin", "EUR");
        let later: Vec<_> = later
            .into_iter()
            .map(|(whose, order, delay)| (whose, OrderFact { known_at: hour(AS_OF + delay), ..order }))
            .collect();
        let mut informed = with(&shop, &later);
        for (whose, order) in &later {
            let facts = &mut informed[whose.index(shop.len())];
            facts.credits.push((order.known_at, 77));
            facts.orders[0].refunds.push((order.known_at, 1));
        }
        for model in models() {
            let before = model.fit(&Dataset { customers: shop[..].into(), as_of: hour(AS_OF), business: &business });
            let after = model.fit(&Dataset { customers: informed[..].into(), as_of: hour(AS_OF), business: &business });
            prop_assert_eq!(before.to_json().to_string(), after.to_json().to_string());
            prop_assert_eq!(before.card().to_string(), after.card().to_string());
            for (facts, more) in shop.iter().zip(&informed) {
                let scores = (before.score(facts, hour(AS_OF), &business), after.score(more, hour(AS_OF), &business));
                prop_assert_eq!(scores.0, scores.1);
            }
        }
    }

    #[test]
    fn what_became_known_after_a_cut_off_moves_nobody_into_another_cell_of_it(
        shop in a_shop(),
        later in prop::collection::vec((any::<prop::sample::Index>(), an_order(0..AS_OF), 1..50 * DAYS), 1..40),
    ) {
        let business = business("Europe/Berlin", "EUR");
        let mut n_changed = 0;
        for (model, horizon) in models().iter().zip([0, 60, 100, 0]).filter(|(_, horizon)| *horizon > 0) {
            let fit = |customers: &[CustomerFacts]| {
                model.fit(&Dataset { customers: customers.into(), as_of: hour(AS_OF), business: &business }).card()
            };
            let newest_cut_off = AS_OF - horizon * DAYS;
            let later: Vec<_> = later
                .iter()
                .map(|(whose, order, delay)| (*whose, OrderFact { known_at: hour(newest_cut_off + delay), ..order.clone() }))
                .collect();
            let (before, after) = (fit(&shop), fit(&with(&shop, &later)));
            prop_assert_eq!(n_own(&before), n_own(&after));
            n_changed += usize::from(before != after);
        }
        // Outcomes may change, and with them the version always does.
        prop_assert!(n_changed > 0);
    }

    #[test]
    fn a_fit_reads_back_as_it_was_and_scores_alike(shop in a_shop()) {
        let business = business("Europe/Berlin", "EUR");
        for model in models() {
            let fitted = model.fit(&Dataset { customers: shop[..].into(), as_of: hour(AS_OF), business: &business });
            let stored = serde_json::from_str(&fitted.to_json().to_string()).unwrap();
            let loaded = model.load(&stored).unwrap();
            prop_assert_eq!(loaded.to_json().to_string(), fitted.to_json().to_string());
            prop_assert_eq!(loaded.version(), fitted.version());
            for facts in &shop {
                let now = hour(AS_OF + 30 * DAYS);
                let score = fitted.score(facts, now, &business);
                prop_assert!(!score.reasons.is_empty());
                prop_assert_eq!(score, loaded.score(facts, now, &business));
            }
        }
    }
}

#[test]
fn a_stored_fit_of_another_kind_or_program_is_refused() {
    let business = business("UTC", "EUR");
    let models = models();
    let stored = models[0].fit(&Dataset { customers: [][..].into(), as_of: hour(0), business: &business }).to_json();
    let refusal = |model: &dyn Model, stored: &Value| model.load(stored).err().unwrap();
    assert_eq!(refusal(&*models[1], &stored), "this is a fit of tier, not of churn_risk; fit the models again");
    let mut newer = stored.clone();
    newer["format"] = json!(2);
    let message = "this fit is stored in format 2, this program reads format 1; fit the models again";
    assert_eq!(refusal(&*models[0], &newer), message);
    assert_eq!(refusal(&*models[0], &json!({})), "this is not a stored fit; fit the models again");
    let mut broken = stored;
    broken["fit"]["n"] = json!("many");
    assert!(refusal(&*models[0], &broken).starts_with("this fit of tier cannot be read: "), "names the cause");
}

#[test]
fn every_kind_of_score_has_one_model() {
    let kinds: Vec<ScoreKind> = all(&ModelsConfig::default()).iter().map(|model| model.kind()).collect();
    assert_eq!(kinds, ScoreKind::ALL);
}

#[test]
fn the_version_names_kind_day_and_data() {
    let business = business("Asia/Tokyo", "EUR");
    let shop = [customer("a", vec![OrderFact { at: hour(1), known_at: hour(1), gross_minor: 1, refunds: vec![] }])];
    let version = |customers: &[CustomerFacts], config: &ModelsConfig| {
        let data = Dataset { customers: customers.into(), as_of: at("2026-03-01T16:00:00Z"), business: &business };
        all(config)[1].fit(&data).version().to_owned()
    };
    let config = ModelsConfig::default();
    let name = version(&shop, &config);
    assert!(name.starts_with("churn_risk@2026-03-02#") && name.len() == "churn_risk@2026-03-02#".len() + 16, "{name}");
    assert_eq!(name, version(&shop, &config));
    let mut other = shop.to_vec();
    other[0].orders[0].gross_minor = 2;
    assert_ne!(name, version(&other, &config), "other data");
    let patient = ModelsConfig { churn_risk: ChurnRiskConfig { horizon_days: 91, ..config.churn_risk }, ..config };
    assert_ne!(name, version(&shop, &patient), "other settings");
}
