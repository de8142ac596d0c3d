//! Scores small enough to check with pencil and paper.

use std::fmt::Write;

use super::*;
use crate::domain::score::Score;

const START: &str = "2026-01-01T12:00:00Z";

fn day(n: i64) -> Timestamp {
    at(START).plus(SignedDuration::from_hours(24 * n))
}

fn customer(name: &str, orders: &[(i64, i64)]) -> CustomerFacts {
    let order =
        |&(on, gross_minor): &(i64, i64)| OrderFact { at: day(on), known_at: day(on), gross_minor, refunds: vec![] };
    CustomerFacts { customer: id(name), orders: orders.iter().map(order).collect(), credits: vec![] }
}

/// Forty customers order on day 0, ten of them again on day 120 for 100 euros; somebody who orders on day 182 shows that
/// observation went on until then. One complete window of 90 days: from day 92 to day 182.
fn shop() -> Vec<CustomerFacts> {
    let mut customers: Vec<CustomerFacts> = (0..40)
        .map(|n| customer(&format!("c{n}"), if n < 10 { &[(0, 5_000), (120, 10_000)] } else { &[(0, 5_000)] }))
        .collect();
    customers[0].orders[0].refunds.push((day(100), 500));
    customers[1].orders[1].refunds.push((day(200), 10_000));
    customers.push(customer("heartbeat", &[(182, 1_000)]));
    customers
}

fn fit(model: &dyn Model, customers: &[CustomerFacts], as_of: Timestamp) -> Box<dyn Fitted> {
    model.fit(&Dataset { customers: customers.into(), as_of, business: &business("UTC", "EUR") })
}

fn score(model: &dyn Model, customers: &[CustomerFacts], of: &CustomerFacts) -> Score {
    fit(model, customers, day(182)).score(of, day(182), &business("UTC", "EUR"))
}

/// `band: value (low-high) of n`, then one line per reason.
fn shown(score: &Score) -> String {
    let mut text = format!("{:?} {:?} {:?} {:?}", score.value, score.band.as_deref(), score.interval, score.n);
    for Reason { what, seen, meaning } in &score.reasons {
        write!(text, "\n{what}: {seen}: {meaning}").unwrap();
    }
    text
}

#[test]
fn churn_risk_is_the_share_of_earlier_customers_like_this_who_stayed_away() {
    let churn = churn::ChurnRisk(ChurnRiskConfig::default());
    let quiet = customer("quiet", &[(82, 700)]);
    insta::assert_snapshot!(shown(&score(&churn, &shop(), &quiet)), @r#"
    Some(0.75) Some("high") Some((0.59806, 0.858129)) Some(40)
    recency_days: 100 days since the last order: the longer, the more customers stay away
    n_orders: 1 order: the more, the more customers come back
    cell: 91-180 days since the last order, 1 order day: 30 of 40 such customers did not order within 90 days: 75.0 % (95 % interval 59.8 % to 85.8 %)
    "#);
    let elsewhere = customer("elsewhere", &[(182, 700)]);
    insta::assert_snapshot!(shown(&score(&churn, &shop(), &elsewhere)), @r#"
    None None None None
    cell: 0-14 days since the last order, 1 order day: not enough data: fewer than 30 past customers were like this, neighbouring cells included
    "#);
    insta::assert_snapshot!(shown(&score(&churn, &shop()[..5], &quiet)), @r#"
    None None None None
    cell: 91-180 days since the last order, 1 order day: not enough data: the data do not yet hold 90 days in which to watch customers, after the 90 days of a start
    "#);
    insta::assert_snapshot!(shown(&score(&churn, &shop(), &customer("new", &[]))), @r#"
    None None None None
    n_orders: no order known: not enough data: this score needs at least one order
    "#);
}

#[test]
fn lifetime_value_is_what_earlier_customers_like_this_brought_less_what_went_back_meanwhile() {
    let value = lifetime_value::LifetimeValue(LifetimeValueConfig { horizon_days: 90 });
    let quiet = customer("quiet", &[(82, 700)]);
    // Ten times 100.00 less 5.00, over forty: the refund of day 200 is after the window.
    insta::assert_snapshot!(shown(&score(&value, &shop(), &quiet)), @r#"
    Some(24.88) None Some((11.35, 38.4)) Some(40)
    recency_days: 100 days since the last order: the longer, the more customers stay away
    n_orders: 1 order: the more, the more customers come back
    cell: 91-180 days since the last order, 1 order day: 40 such customers brought 24.88 EUR each in the next 90 days on average (95 % interval 11.35 EUR to 38.40 EUR)
    "#);
}

#[test]
fn three_orders_on_one_business_day_are_one_purchase() {
    let mut often = customer("often", &[(10, 1), (10, 1), (10, 1), (12, 1)]);
    let zone = TimeZone::get("Asia/Tokyo").unwrap();
    let standing = facts::Standing::of(&often, day(13), &zone).unwrap();
    assert_eq!((standing.n_orders, standing.n_order_days, standing.recency_days), (4, 2, 1));
    // 16:00 UTC is the next day in Tokyo.
    often.orders[2].at = often.orders[2].at.plus(SignedDuration::from_hours(4));
    assert_eq!(facts::Standing::of(&often, day(13), &zone).unwrap().n_order_days, 3);
}

#[test]
fn tiers_by_threshold_say_net_revenue_and_edge() {
    let config: TierConfig =
        toml::from_str("by = \"thresholds\"\ntiers = [[\"gold\", 1000], [\"silver\", 300.0]]").unwrap();
    let tier = tier::Tier(config);
    let tell = |facts: &CustomerFacts| shown(&score(&tier, &[], facts));
    let mut returned = customer("returned", &[(1, 100_000)]);
    assert_eq!(
        tell(&returned),
        "Some(1000.0) Some(\"gold\") None Some(0)\nnet_revenue: 1000.00 EUR: gold: 1000.00 EUR or more"
    );
    returned.orders[0].refunds.push((day(2), 1));
    assert_eq!(
        tell(&returned),
        "Some(999.99) Some(\"silver\") None Some(0)\nnet_revenue: 999.99 EUR: silver: 300.00 EUR or more"
    );
    returned.credits.push((day(3), 99_999));
    assert_eq!(
        tell(&returned),
        "Some(0.0) Some(\"bronze\") None Some(0)\nnet_revenue: 0.00 EUR: bronze: less than the 300.00 EUR of silver"
    );
    assert_eq!(
        tell(&customer("new", &[])),
        "Some(0.0) Some(\"none\") None None\nnet_revenue: 0.00 EUR: none: no order known"
    );
}

#[test]
fn tiers_by_share_give_the_best_tenth_gold_and_ties_go_up() {
    let tier = tier::Tier(TierConfig::default());
    let customers: Vec<_> = (1..=100).map(|n| customer(&format!("c{n}"), &[(1, n * 100)])).collect();
    let fitted = fit(&tier, &customers, day(182));
    let bands = |from: usize| fitted.score(&customers[from - 1], day(182), &business("UTC", "EUR")).band.unwrap();
    assert_eq!([91, 90, 61, 60, 1].map(bands), ["gold", "silver", "silver", "bronze", "bronze"]);
    let same: Vec<_> = (1..=100).map(|n| customer(&format!("c{n}"), &[(1, 100)])).collect();
    assert_eq!(fit(&tier, &same, day(182)).card()["tiers"][0]["n"], json!(100));
    let few = score(&tier, &customers[..49], &customers[0]);
    assert_eq!((few.value, few.band), (None, None));
    insta::assert_snapshot!(few.reasons[0].meaning, @r#"
    not enough data: tiers by share need 50 customers who have ordered
    "#);
}

#[test]
fn rfm_is_three_quintiles_and_their_sum() {
    // Customer n orders n times, the last one n days before day 150, for n euros each.
    let customers: Vec<_> = (1..=50)
        .map(|n| customer(&format!("c{n}"), &(0..n).rev().map(|k| (150 - n - k, n * 100)).collect::<Vec<_>>()))
        .collect();
    insta::assert_snapshot!(shown(&score(&rfm::Rfm, &customers, &customers[0])), @r#"
    Some(7.0) Some("511") None Some(50)
    recency_days: 33 days since the last order: 5 of 5 among 50 customers, 5 being the most recent
    n_order_days: 1: 1 of 5 among 50 customers, 5 being the most frequent
    net_revenue: 1.00 EUR: 1 of 5 among 50 customers, 5 being the highest
    "#);
    insta::assert_snapshot!(shown(&score(&rfm::Rfm, &customers, &customers[49])), @r#"
    Some(11.0) Some("155") None Some(50)
    recency_days: 82 days since the last order: 1 of 5 among 50 customers, 5 being the most recent
    n_order_days: 50: 5 of 5 among 50 customers, 5 being the most frequent
    net_revenue: 2500.00 EUR: 5 of 5 among 50 customers, 5 being the highest
    "#);
    insta::assert_snapshot!(shown(&score(&rfm::Rfm, &customers[1..], &customers[49])), @r#"
    None None None None
    n_customers: 49 customers with an order: not enough data: quintiles need 50 customers who have ordered
    "#);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_key() {
    let check = |text: &str, expected: &[&str]| {
        let config: ModelsConfig = toml::from_str(text).unwrap();
        assert_eq!(config.check(), expected, "{text}");
    };
    check("", &[]);
    check(
        "churn_risk.horizon_days = 0\nlifetime_value.horizon_days = 4000",
        &[
            "models.churn_risk: horizon_days = 0 is not 1 to 3650",
            "models.lifetime_value: horizon_days = 4000 is not 1 to 3650",
        ],
    );
    check(
        "churn_risk = { medium_from = 0.7 }",
        &["models.churn_risk: medium_from = 0.7 and high_above = 0.6667 must rise from 0 to 1"],
    );
    let tier = |tiers: &str, expected: &str| {
        let expected = if expected.is_empty() { vec![] } else { vec![expected] };
        check(&format!("tier = {{ {tiers} }}"), &expected);
    };
    tier("by = 'quantiles', tiers = [['a', 0.5], ['b', 0.5]], otherwise = 'rest'", "");
    tier(
        "by = 'quantiles', tiers = [['a', 0.5], ['b', 0.6]]",
        "models.tier: the shares add up to 1.1, more than all customers",
    );
    tier(
        "by = 'quantiles', tiers = [['a', 10]]",
        "models.tier: the share 10 of `a` is not between 0 and 1; write 0.1 for a tenth",
    );
    tier(
        "by = 'thresholds', tiers = [['a', 10], ['b', 10]]",
        "models.tier: `a` must ask for more than `b`: highest first",
    );
    tier("by = 'thresholds', tiers = [['bronze', 10]]", "models.tier: `bronze` names two tiers");
    tier(
        "by = 'thresholds', tiers = [['none', 10]]",
        "models.tier: `none` cannot name a tier; `none` is the tier of customers without an order",
    );
    for unknown in ["churn_risk.horizon = 3", "tier = { by = 'thresholds', tiers = [], els = 'x' }", "rfm = {}"] {
        assert!(toml::from_str::<ModelsConfig>(unknown).is_err(), "{unknown}");
    }
}
