//! Clocks that are set, and days that are longer or shorter than others, end to end for a scheduled rule.

use rekindle::domain::event::names;
use serde_json::json;

use crate::real_daemon::carts::look_into;
use crate::rules::on_order;
use crate::world::{DAY, HOUR, World, at};

/// Asks everybody at every tick of `cron`, and rests so short that a tick fired twice would show.
fn every(cron: &str) -> String {
    format!(
        "const RULE = #{{ trigger: cron(\"{cron}\"), cooldown: minutes(1), max_lateness: hours(48) }};\n\
         fn when(customer) {{ true }}\n\
         fn then(customer) {{ email(\"receipt\"); }}\n"
    )
}

async fn world(cron: &str, catch_up: &str) -> World {
    let schedule = format!("[schedule]\ncatch_up = \"{catch_up}\"\n");
    let mut world = World::with(&schedule, &[("always.rhai", &every(cron))]).await;
    world.consenting("ada").await;
    world
}

/// The ticks that were swept, oldest first; the first of all is when the schedule was first seen.
async fn swept(world: &World) -> Vec<String> {
    let store = look_into(&world.dir.path().join("data/store.db")).await;
    let swept = "SELECT at FROM ticks WHERE schedule = 'always' AND done_at IS NOT NULL ORDER BY at";
    let ticks: Vec<i64> = sqlx::query_scalar(swept).fetch_all(&store).await.unwrap();
    store.close().await;
    ticks[1..].iter().map(|&at| rekindle::domain::clock::Timestamp::from_micros(at).to_string()).collect()
}

async fn occasions(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for delivery in world.deliveries().await {
        let firing = world.store().firing(delivery.firing).await.unwrap().unwrap();
        all.push(firing.occasion.strip_prefix("tick:").unwrap().to_owned());
    }
    all
}

#[tokio::test]
async fn a_clock_set_back_by_a_day_fires_nothing_again() {
    let mut world = world("0 * * * *", "last").await;
    world.advance(DAY).await;
    let before = occasions(&world).await;
    assert_eq!(before.len(), 24);
    let now = world.now();
    world.clock.set(now.minus(DAY));
    // Once as the same process, once as a new one.
    world.advance(HOUR * 12).await;
    world.restart().await;
    world.advance(HOUR * 12).await;
    assert_eq!(world.now(), now);
    assert_eq!(occasions(&world).await, before, "every tick of that day had been swept");
    assert_eq!(world.mails().len(), 24);
    world.advance(HOUR).await;
    assert_eq!(world.mails().len(), 25, "the next one that is new fires");
}

#[tokio::test]
async fn what_is_decided_while_the_clock_is_a_day_behind_is_sent_and_sent_once() {
    let rule = on_order("email(\"receipt\");");
    let mut world = World::with_rules(&[("thanks.rhai", &rule)]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.clock.set(world.now().minus(DAY));
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "2", "total": 10 })).await;
    world.restart().await;
    world.advance(DAY * 2).await;
    assert_eq!(world.ledger().await, ["thanks sent", "thanks sent"]);
    assert_eq!(world.mails().len(), 2);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_by_a_day_makes_up_for_what_the_policy_says() {
    for (catch_up, n_swept, n_mails, first) in [
        ("none", 1, 1, "2026-06-02T10:00:00Z"),
        ("last", 1, 1, "2026-06-02T10:00:00Z"),
        ("all", 24, 1, "2026-06-01T11:00:00Z"),
    ] {
        let world = world("0 * * * *", catch_up).await;
        world.clock.set(world.now().plus(DAY));
        world.engine().step().await.unwrap();
        assert_eq!(swept(&world).await.len(), n_swept, "{catch_up}");
        // However many ticks are made up for in one instant, the cooldown leaves one mail to a customer.
        assert_eq!(world.mails().len(), n_mails, "{catch_up}");
        assert_eq!(occasions(&world).await, [first], "{catch_up}");
        world.engine().step().await.unwrap();
        assert_eq!(world.mails().len(), n_mails, "{catch_up}");
    }
}

#[tokio::test]
async fn an_outage_longer_than_the_rules_patience_is_not_made_up_for() {
    let rule = every("0 9 * * *").replace("hours(48)", "hours(1)");
    let mut world = World::with_rules(&[("always.rhai", &rule)]).await;
    world.consenting("ada").await;
    world.clock.set(at("2026-06-02T12:00:00Z"));
    world.engine().step().await.unwrap();
    assert_eq!(occasions(&world).await, Vec::<String>::new());
    assert_eq!(swept(&world).await, ["2026-06-02T07:00:00Z"], "noted, so that it is not asked for again");
}

#[tokio::test]
async fn days_on_which_the_clocks_change_fire_once_each() {
    // Berlin goes from 02:00 to 03:00 on 29 March and back from 03:00 to 02:00 on 25 October.
    for (begin, n_days, expected) in [
        ("2026-03-27T12:00:00Z", 3, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-23T12:00:00Z", 3, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let mut world = World::with_rules(&[]).await;
        world.consenting("ada").await;
        world.clock.set(at(begin));
        world.write_rule("always.rhai", &every("30 2 * * *"));
        world.restart().await;
        world.advance(DAY * n_days).await;
        assert_eq!(occasions(&world).await, expected);
        assert_eq!(world.mails().len(), expected.len());
    }
}
