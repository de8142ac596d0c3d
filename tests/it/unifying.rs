//! Taking events in: counted once, filed under one customer, and the same however they arrive.

use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Fact, names};
use rekindle::domain::profile::Profile;
use rekindle::stores::Columns;
use serde_json::json;

use crate::rules::rule;
use crate::world::{DAY, World};

#[tokio::test]
async fn a_message_that_comes_twice_counts_once_also_after_a_restart() {
    let mut world = World::with_rules(&[]).await;
    let order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    world.ingest(vec![order.clone(), order.clone()]).await;
    world.restart().await;
    world.ingest(vec![Fact { received_at: world.now().plus(DAY), ..order }]).await;
    assert_eq!(world.customer("ada").await.profile.n_events, 1);
    assert_eq!(world.store().event_counts().await.unwrap()[names::ORDER_COMPLETED], 1);
}

#[tokio::test]
async fn the_same_id_with_another_body_is_put_aside_and_not_dropped() {
    let mut world = World::with_rules(&[]).await;
    let order = world.fact("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 }));
    let mut other = order.clone();
    other.properties.insert("total".to_owned(), json!(99));
    world.ingest(vec![order]).await;
    world.ingest(vec![other]).await;
    assert_eq!(world.customer("ada").await.profile.n_events, 1);
    let counts = world.engine().pipeline.log.quarantine_counts().await.unwrap();
    assert_eq!(counts, [("app".to_owned(), "same_id_other_body".to_owned(), 1)]);
}

fn anonymous(id: &str) -> Identity {
    Identity::new(IdentityKind::AnonymousId, id).unwrap()
}

#[tokio::test]
async fn an_anonymous_visitor_becomes_the_customer_who_identifies() {
    let mut world = World::with_rules(&[]).await;
    let mut viewed = world.fact("ada", "Product Viewed", json!({ "category": "Books" }));
    viewed.identities = vec![anonymous("browser")];
    world.ingest(vec![viewed.clone()]).await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    let mut known = world.fact("ada", names::IDENTIFIED, json!({}));
    known.identities.push(anonymous("browser"));
    world.ingest(vec![known]).await;

    let state = world.customer("ada").await;
    assert_eq!(state.profile.n_events, 3);
    let events = world.store().events_of(state.customer, Timestamp::MAX, 10).await.unwrap();
    assert_eq!(events.len(), 3, "the visitor's events are filed under the customer");
    let (survivors, found) =
        (world.store().scan_customers(Columns::All, None, None, 10).await.unwrap(), state.customer);
    assert_eq!(survivors.iter().map(|s| s.customer).collect::<Vec<_>>(), [found]);
    // What comes later from the browser is the customer's at once.
    let mut later = world.fact("ada", "Product Viewed", json!({}));
    later.identities = vec![anonymous("browser")];
    world.ingest(vec![later]).await;
    assert_eq!(world.customer("ada").await.profile.n_events, 4);
}

#[tokio::test]
async fn a_shared_browser_never_merges_two_customers() {
    let mut world = World::with_rules(&[]).await;
    for user in ["ada", "bob"] {
        let mut seen = world.fact(user, names::IDENTIFIED, json!({}));
        seen.identities.push(anonymous("kitchen tablet"));
        world.ingest(vec![seen]).await;
    }
    assert_ne!(world.customer("ada").await.customer, world.customer("bob").await.customer);
    let mut same = world.fact("bob", names::MERGED, json!({}));
    same.identities.push(Identity::new(IdentityKind::UserId, "ada").unwrap());
    world.ingest(vec![same]).await;
    assert_eq!(world.customer("ada").await.customer, world.customer("bob").await.customer);
}

#[tokio::test]
async fn what_a_rule_set_stays_with_its_customer_when_all_is_derived_in_one_go() {
    let mut world = World::with_rules(&[]).await;
    let seen = world.fact("ada", "Product Viewed", json!({}));
    world.ingest(vec![seen.clone()]).await;
    let customer = world.customer("ada").await.customer;
    let mut set = world.fact("ada", names::TRAIT_SET, json!({}));
    set.identities = Identity::new(IdentityKind::CustomerId, &customer.to_string()).into_iter().collect();
    set.traits.insert("vip".to_owned(), json!(true));
    // The same two events on an empty disk, in one batch.
    let again = World::with_rules(&[]).await;
    again.ingest(vec![seen, set]).await;
    assert_eq!(again.customer("ada").await.customer, customer);
    assert_eq!(again.customer("ada").await.profile.trait_value("vip"), Some(&json!(true)));
    assert_eq!(again.store().scan_customers(Columns::All, None, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_rule_set_stays_with_its_customer_when_the_batch_in_which_the_customer_begins_is_still_being_written() {
    let mut world = World::with_rules(&[]).await;
    let seen = world.fact("ada", "Product Viewed", json!({}));
    world.ingest(vec![seen.clone()]).await;
    let customer = world.customer("ada").await.customer;
    let mut set = world.fact("ada", names::TRAIT_SET, json!({}));
    set.identities = vec![Identity::own(customer)];
    set.traits.insert("vip".to_owned(), json!(true));
    // On an empty disk: guests fill up the batch that she begins in.
    let mut facts = vec![seen];
    for _ in 1..4_000 {
        let mut guest = world.fact("nobody", "Page Viewed", json!({}));
        guest.identities.clear();
        facts.push(guest);
    }
    facts.push(set);
    let again = World::with_rules(&[]).await;
    again.ingest(facts).await;
    assert_eq!(again.store().scan_customers(Columns::All, None, None, 10).await.unwrap().len(), 1);
    assert_eq!(again.customer("ada").await.profile.trait_value("vip"), Some(&json!(true)));
}

#[tokio::test]
async fn a_visitor_who_logs_in_within_the_same_second_is_not_written_to_twice() {
    let rule = rule("trigger: on(\"Product Viewed\"), cooldown: days(30)", "task(\"Greet\");");
    let mut world = World::with_rules(&[("hello.rhai", &rule)]).await;
    world.consenting("ada").await;
    let mut viewed = world.fact("ada", "Product Viewed", json!({}));
    viewed.identities = vec![anonymous("browser")];
    let mut known = world.fact("ada", names::IDENTIFIED, json!({}));
    known.identities.push(anonymous("browser"));
    world.ingest(vec![viewed, known]).await;
    world.advance(DAY).await;
    world.happens("ada", "Product Viewed", json!({})).await;
    assert_eq!(world.ledger().await, ["hello sent"], "the cooldown follows the person");
}

/// Everything the store derived, against one fold of what it kept.
#[tokio::test]
async fn profiles_grown_batch_by_batch_equal_one_fold_of_their_events() {
    let mut world = World::with_rules(&[]).await;
    for round in 0..30u32 {
        let mut batch = Vec::new();
        for n in 0..7u32 {
            let user = format!("u{}", (round * 7 + n * 3) % 11);
            let order = json!({ "order_id": format!("o{}", (round + n) % 13), "total": round * 10 + n });
            let name = [names::ORDER_COMPLETED, "Product Viewed", names::ORDER_REFUNDED][(round + n) as usize % 3];
            let mut fact = world.fact(&user, name, order);
            fact.occurred_at = world.now().minus(DAY * i32::try_from((round * 5 + n) % 9).unwrap());
            if n % 4 == 0 {
                fact.identities.push(anonymous(&format!("b{}", (round + n) % 5)));
            }
            batch.push(fact);
        }
        world.ingest(batch).await;
    }
    let business = world.engine().pipeline.context().business.clone();
    let customers = world.store().scan_customers(Columns::All, None, None, 1_000).await.unwrap();
    assert!(customers.len() >= 5);
    for state in customers {
        let events = world.store().events_of(state.customer, Timestamp::MAX, u32::MAX).await.unwrap();
        assert_eq!(Profile::fold(&events, &business), *state.profile, "{}", state.customer);
    }
}
