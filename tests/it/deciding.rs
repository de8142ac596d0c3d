//! Deciding, end to end on a clock that stands: who is written to, when, how often, and who is not and why.

use serde_json::json;

use rekindle::domain::event::names;
use rekindle::domain::profile::Profile;

use crate::rules::{on_order, rule};
use crate::world::{DAY, HOUR, World, at};

const ON_ORDER: (&str, &str) = (
    "thanks.rhai",
    r#"
//! Say thanks, and offer something.
const RULE = #{ trigger: on("Order Completed"), cooldown: days(30) };
fn when(customer) { customer.n_orders >= 1 }
fn then(customer) { email("offer"); }
"#,
);

const EVERY_MORNING: (&str, &str) = (
    "quiet.rhai",
    r#"
//! Whoever has not ordered for ten days.
const RULE = #{ trigger: daily("09:00"), cooldown: days(20) };
fn when(customer) { customer.days_since("Order Completed") >= 10 }
fn then(customer) { email("offer"); }
"#,
);

#[tokio::test]
async fn an_order_leads_to_one_mail_and_then_to_rest() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "2", "total": 10 })).await;
    assert_eq!(world.recipients(), ["ada@example.com"]);
    world.advance(DAY * 31).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "3", "total": 10 })).await;
    assert_eq!(world.recipients().len(), 2);
    assert!(world.mails()[0].contains("Hello ada"));
}

#[tokio::test]
async fn without_consent_nothing_leaves_and_the_refusal_is_counted() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    let mut known = world.fact("bob", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    known.traits.insert("email".to_owned(), json!("bob@example.com"));
    world.ingest(vec![known]).await;
    assert_eq!(world.ledger().await, Vec::<String>::new());
    assert_eq!(world.refusals("bob").await, ["thanks no_consent x1"]);
    // A refusal starts no cooldown: whoever consents can be written to at the next occasion.
    world.consenting("bob").await;
    world.happens("bob", names::ORDER_COMPLETED, json!({ "order_id": "2", "total": 10 })).await;
    assert_eq!(world.ledger().await, ["thanks sent"]);
}

#[tokio::test]
async fn a_schedule_asks_once_a_tick_and_a_restart_asks_nobody_again() {
    let mut world = World::with_rules(&[EVERY_MORNING]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.advance(DAY * 9).await;
    assert_eq!(world.mails().len(), 0);
    world.advance(DAY * 2).await;
    assert_eq!(world.ledger().await, ["quiet sent"]);
    world.restart().await;
    world.engine().step().await.unwrap();
    world.advance(DAY * 18).await;
    assert_eq!(world.mails().len(), 1, "the cooldown of twenty days outlives a restart");
    world.advance(DAY * 2).await;
    assert_eq!(world.mails().len(), 2);
}

#[tokio::test]
async fn a_tick_missed_while_nobody_ran_is_made_up_once() {
    let mut world = World::with_rules(&[EVERY_MORNING]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.engine.take().unwrap().close().await;
    // Twelve mornings pass; it starts again two hours after the last of them.
    world.clock.set(at("2026-06-13T09:00:00Z"));
    world.start().await;
    let firing = world.store().firing(world.deliveries().await[0].firing).await.unwrap().unwrap();
    assert_eq!(firing.occasion, "tick:2026-06-13T07:00:00Z");
    assert_eq!(world.ledger().await, ["quiet sent"]);
}

#[tokio::test]
async fn editing_a_rule_sends_nothing_again() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    let order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    world.write_rule(ON_ORDER.0, &ON_ORDER.1.replace("cooldown: days(30)", "cooldown: minutes(1)"));
    world.restart().await;
    world.advance(HOUR).await;
    // The same message once more, as a client does that missed our answer.
    let again = rekindle::domain::event::Fact { message_id: "m3".to_owned(), ..order };
    world.ingest(vec![again]).await;
    assert_eq!(world.ledger().await, ["thanks sent"]);
}

#[tokio::test]
async fn at_night_a_mail_waits_for_the_customers_morning() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    world.consenting("ada").await;
    world.advance(HOUR * 11).await; // 23:00 in Berlin
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    assert_eq!(world.ledger().await, ["thanks held (quiet hours)"]);
    world.advance(HOUR * 8).await;
    assert_eq!(world.mails().len(), 0);
    world.advance(HOUR + HOUR).await;
    assert_eq!(world.ledger().await, ["thanks sent"]);
    assert_eq!(world.deliveries().await[0].settled_at, Some(at("2026-06-02T06:00:00Z")));
}

#[tokio::test]
async fn consent_withdrawn_during_the_night_stops_the_waiting_mail() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    world.consenting("ada").await;
    world.advance(HOUR * 11).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.happens("ada", names::CONSENT_WITHDRAWN, json!({ "channel": "email" })).await;
    world.advance(DAY).await;
    assert_eq!(world.ledger().await, ["thanks dropped (consent_withdrawn)"]);
    assert_eq!(world.mails().len(), 0);
}

#[tokio::test]
async fn the_cap_holds_over_all_rules_and_lets_receipts_through() {
    let on_ping = |template: &str| rule("trigger: on(\"Ping\")", &format!("email(\"{template}\");"));
    let files = [
        ("a.rhai", on_ping("offer")),
        ("b.rhai", on_ping("offer")),
        ("c.rhai", on_ping("offer")),
        ("d.rhai", on_ping("receipt")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut world = World::with_rules(&files).await;
    world.consenting("ada").await;
    world.happens("ada", "Ping", json!({})).await;
    let mut ledger = world.ledger().await;
    ledger.sort();
    assert_eq!(ledger, ["a sent", "b sent", "d sent"]);
    // The window is seven days and a rule's patience one: that is a refusal, not a hold for nothing.
    assert_eq!(world.refusals("ada").await, ["c frequency_cap x1"]);
}

#[tokio::test]
async fn a_morning_of_many_held_mails_keeps_to_the_cap() {
    // More than leave side by side: those that wait for a free place must still see what left before them.
    let names: Vec<String> = (0..24).map(|n| format!("r{n}.rhai")).collect();
    let rule = rule("trigger: on(\"Ping\")", "email(\"offer\");");
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), rule.as_str())).collect();
    let mut world = World::with_rules(&files).await;
    world.consenting("ada").await;
    world.advance(HOUR * 11).await; // 23:00 in Berlin
    world.happens("ada", "Ping", json!({})).await;
    world.engine.take().unwrap().close().await;
    world.clock.set(at("2026-06-02T06:30:00Z"));
    world.start().await;
    assert_eq!(world.recipients().len(), 2);
}

#[tokio::test]
async fn a_crash_at_the_end_of_the_first_rescoring_does_not_silence_the_second() {
    let rule = rule("trigger: entering(\"sleepy\")", "task(\"Call\");");
    let segments = ("segments.rhai", "fn sleepy(customer) { customer.days_since(\"Order Completed\") >= 1 }\n");
    let mut world = World::with_rules(&[("back.rhai", &rule), segments]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.advance(DAY).await;
    // As it stands when the last chunk was committed and what follows it was not: only the tick is known.
    let first = at("2026-06-02T01:00:00Z").as_micros().to_string();
    world.store().set_meta("scored_once", &first).await.unwrap();
    world.restart().await;
    world.advance(DAY).await;
    assert_eq!(world.ledger().await, ["back sent"]);
}

#[tokio::test]
async fn the_control_group_is_recorded_and_gets_nothing() {
    let held = ON_ORDER.1.replace("cooldown: days(30)", "cooldown: days(30), holdout: 0.5");
    let mut world = World::with_rules(&[(ON_ORDER.0, &held)]).await;
    for n in 0..40 {
        let user = format!("u{n}");
        world.consenting(&user).await;
        world.happens(&user, names::ORDER_COMPLETED, json!({ "order_id": user, "total": 10 })).await;
    }
    let counts = world.store().ledger_counts().await.unwrap();
    let n_held = counts.iter().find(|(_, channel, ..)| channel == "held out").unwrap().3;
    assert!((8..=32).contains(&n_held), "{n_held}");
    assert_eq!(world.mails().len() as u64 + n_held, 40);
}

#[tokio::test]
async fn imported_history_wakes_no_rule_but_a_sweep_may_act_on_it() {
    let entering = (
        "welcome.rhai",
        "const RULE = #{ trigger: entering(\"buyers\") };\nfn when(customer) { true }\nfn then(customer) { email(\"receipt\"); }\n",
    );
    let segments = ("segments.rhai", "fn buyers(customer) { customer.n_orders >= 1 }\n");
    let mut world = World::with_rules(&[ON_ORDER, EVERY_MORNING, entering, segments]).await;
    world.consenting("ada").await;
    let mut order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    order.imported = true;
    order.occurred_at = world.now().minus(DAY * 40);
    order.known_at = order.occurred_at;
    world.ingest(vec![order]).await;
    world.engine().pipeline.settle_import().await.unwrap();
    world.engine().step().await.unwrap();
    assert_eq!(world.ledger().await, Vec::<String>::new());
    assert_eq!(world.customer("ada").await.segments.get("buyers"), Some(&true));
    world.advance(DAY).await;
    assert_eq!(world.ledger().await, ["quiet sent"]);
}

#[tokio::test]
async fn days_passing_move_a_customer_into_a_segment_and_wake_its_rule() {
    let rule = rule("trigger: entering(\"sleepy\")", "task(`Call ${customer.first_name ?? \"\"}`);");
    let segments = ("segments.rhai", "fn sleepy(customer) { customer.days_since(\"Order Completed\") >= 3 }\n");
    let mut world = World::with_rules(&[("back.rhai", &rule), segments]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    // The first rescoring is quiet by intent; it sets what later ones compare with.
    world.advance(DAY * 2).await;
    assert_eq!(world.ledger().await, Vec::<String>::new());
    world.advance(DAY * 2).await;
    assert_eq!(world.ledger().await, ["back sent"]);
    let tasks = world.store().open_tasks(10).await.unwrap();
    assert_eq!(tasks[0].title, "Call ada");
    world.advance(DAY * 5).await;
    assert_eq!(world.ledger().await.len(), 1, "staying in a segment is not entering it");
}

#[tokio::test]
async fn a_segment_added_later_starts_quietly() {
    let mut world = World::with_rules(&[("segments.rhai", "fn everybody(customer) { true }\n")]).await;
    world.consenting("ada").await;
    world.advance(DAY).await;
    let rule = "const RULE = #{ trigger: entering(\"known\") };\nfn when(customer) { true }\nfn then(customer) { email(\"receipt\"); }\n";
    world.write_rule("segments.rhai", "fn everybody(customer) { true }\nfn known(customer) { true }\n");
    world.write_rule("hello.rhai", rule);
    world.restart().await;
    world.advance(DAY * 2).await;
    assert_eq!(world.ledger().await, Vec::<String>::new());
    assert_eq!(world.customer("ada").await.segments.get("known"), Some(&true));
    world.consenting("bob").await;
    assert_eq!(world.recipients(), ["bob@example.com"], "a new customer does enter");
}

#[tokio::test]
async fn an_event_that_comes_too_late_is_refused_as_late() {
    let mut world = World::with_rules(&[ON_ORDER]).await;
    world.consenting("ada").await;
    let mut order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    order.occurred_at = world.now().minus(DAY * 3);
    world.ingest(vec![order]).await;
    assert_eq!(world.refusals("ada").await, ["thanks too_late x1"]);
    assert_eq!(world.mails().len(), 0);
}

#[tokio::test]
async fn a_trait_set_by_a_rule_is_an_event_and_visible_to_rules() {
    let rule = rule("trigger: on(\"Order Completed\"), cooldown: days(1)", "set_trait(\"buyer\", true);");
    let mut world = World::with_rules(&[("mark.rhai", &rule)]).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    let state = world.customer("ada").await;
    assert_eq!(state.profile.trait_value("buyer"), Some(&json!(true)));
    let events = world.store().events_of(state.customer, world.now(), 10).await.unwrap();
    assert_eq!(events[0].fact.name, names::TRAIT_SET);
    let business = world.engine().pipeline.context().business.clone();
    assert_eq!(Profile::fold(&events, &business), *state.profile);
}

#[tokio::test]
async fn a_batch_that_is_still_being_written_counts_for_the_next_one() {
    let rule = r#"
//! A call for whoever orders.
const RULE = #{ trigger: on("Order Completed"), cooldown: days(30) };
fn when(customer) { customer.n_orders >= 1 }
fn then(customer) { task(`Call after order ${customer.n_orders}`); }
"#;
    let mut world = World::with_rules(&[("call.rhai", rule)]).await;
    let order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    let mut facts = vec![order.clone()];
    // Guests fill up the batch that ada's first order is in; its repetition and her second order are in the next.
    for _ in 1..4_000 {
        let mut guest = world.fact("nobody", "Page Viewed", json!({}));
        guest.identities.clear();
        facts.push(guest);
    }
    facts.push(order);
    facts.push(world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "2", "total": 5 })));
    world.ingest(facts).await;
    let ada = world.customer("ada").await;
    assert_eq!((ada.profile.n_events, ada.profile.orders.0.len()), (2, 2));
    assert_eq!(world.ledger().await, ["call sent"], "the second order came within the cooldown");
}

#[tokio::test]
async fn two_messages_within_the_cap_that_leave_together_both_leave() {
    let rule = on_order("email(\"offer\"); email(\"offer\");");
    let mut world = World::with("[contact]\ncap = { messages = 2, days = 7 }\n", &[("two.rhai", &rule)]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    assert_eq!(world.ledger().await, ["two sent", "two sent"]);
}
