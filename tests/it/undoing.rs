//! A merge that is taken back leaves no trace: profiles, handles and the ledger are as if it had never been, whatever came
//! in between, and the two are not joined again by the next event that names both.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Fact, OPERATOR, names};
use rekindle::domain::id::CustomerId;
use rekindle::stores::Columns;
use serde_json::{Value, json};

use crate::rules::on_order;
use crate::world::World;

fn handle(text: &str) -> Identity {
    let kind = match text {
        _ if text.contains('@') => IdentityKind::Email,
        _ if text.starts_with('+') => IdentityKind::Phone,
        _ if text.starts_with("browser") => IdentityKind::AnonymousId,
        _ => IdentityKind::UserId,
    };
    Identity::new(kind, text).unwrap()
}

fn fact(world: &mut World, handles: &[&str], name: &str, properties: Value) -> Fact {
    let mut fact = world.fact("nobody", name, properties);
    fact.identities = handles.iter().map(|text| handle(text)).collect();
    fact
}

/// What `rekindle merges join` and `undo` append.
fn stated(world: &mut World, name: &str, about: [CustomerId; 2]) -> Fact {
    let mut fact = world.fact("nobody", name, json!({}));
    OPERATOR.clone_into(&mut fact.source);
    fact.identities = about.into_iter().map(Identity::own).collect();
    fact
}

async fn who(world: &World, text: &str) -> CustomerId {
    let handle = handle(text);
    world.store().find_identities(std::slice::from_ref(&handle)).await.unwrap()[&handle]
}

/// Everything that is derived of everybody, events and handles included, but for the operator's own statements.
async fn everything(world: &World) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for state in world.store().scan_customers(Columns::All, None, None, 10_000).await.unwrap() {
        let events = world.store().events_of(state.customer, Timestamp::MAX, 10_000).await.unwrap();
        let events: Vec<_> = events.iter().filter(|e| !e.fact.is_operators_word()).map(|e| e.id).collect();
        let handles = world.store().handles_of(state.customer).await.unwrap();
        let value =
            json!({ "profile": *state.profile, "since": state.created_at, "events": events, "handles": handles });
        all.insert(state.customer.to_string(), value);
    }
    all
}

const ADA: [&str; 2] = ["ada", "ada@example.com"];
const BOB: [&str; 2] = ["browser-b", "+4930123456"];
const POOL: [&str; 7] =
    ["ada", "ada@example.com", "browser-b", "+4930123456", "browser-x", "browser-y", "other@example.com"];
const NAMES: [&str; 4] = [names::ORDER_COMPLETED, "Product Viewed", names::CONSENT_GIVEN, names::ORDER_REFUNDED];

/// Which handles an event carries, and what it is.
type Step = (Vec<usize>, usize);

fn steps(pool: usize, max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((prop::collection::vec(0..pool, 1..=3), 0..NAMES.len()), 0..max)
}

struct Story {
    /// Of which side, and what.
    before: Vec<(bool, Step)>,
    between: Vec<Step>,
    after: Vec<Step>,
    /// Bob has a number of his own, so that only a statement can join the two.
    numbered: bool,
    /// Joined by an operator, or by an event that carries a handle of each.
    by_operator: bool,
}

fn carried(pool: &[&'static str], step: &Step) -> Vec<&'static str> {
    let mut handles: Vec<&str> = step.0.iter().map(|i| pool[i % pool.len()]).collect();
    handles.sort_unstable();
    handles.dedup();
    handles
}

impl Story {
    /// Tells it with the merge and its undoing, or with the separation in the merge's place.
    async fn told(&self, merged: bool) -> World {
        let mut world = World::with_rules(&[]).await;
        let bob: &[&'static str] = if self.numbered { &["bob", "browser-b", "+4930123456"] } else { &BOB };
        let mut n = 0;
        let mut happens = |world: &mut World, handles: &[&str], kind: usize| {
            n += 1;
            let mut fact = fact(world, handles, NAMES[kind], json!({ "order_id": format!("o{}", n % 5), "total": n }));
            fact.traits.insert("last_step".to_owned(), json!(n));
            fact
        };
        let (first, second) = (happens(&mut world, &ADA, 1), happens(&mut world, bob, 1));
        world.ingest(vec![first, second]).await;
        for (ada, step) in &self.before {
            let fact = happens(&mut world, &carried(if *ada { &ADA } else { bob }, step), step.1);
            world.ingest(vec![fact]).await;
        }
        let pair = [who(&world, bob[0]).await, who(&world, "ada").await];
        let both = happens(&mut world, &["ada", bob[bob.len() - 1]], 1);
        let joins = stated(&mut world, names::MERGED, pair);
        let parts = stated(&mut world, names::SEPARATED, pair);
        if !merged {
            world.ingest(vec![parts.clone()]).await;
        } else if self.by_operator || self.numbered {
            world.ingest(vec![joins]).await;
        }
        world.ingest(vec![both]).await;
        if merged {
            assert_eq!(who(&world, "ada").await, who(&world, bob[0]).await, "they were one for a while");
        }
        for step in &self.between {
            let fact = happens(&mut world, &carried(&POOL, step), step.1);
            world.ingest(vec![fact]).await;
        }
        if merged {
            // In one batch with what comes next.
            let mut batch = vec![Fact { message_id: "undo".to_owned(), ..parts }];
            batch.extend(self.after.iter().map(|step| happens(&mut world, &carried(&POOL, step), step.1)));
            world.ingest(batch).await;
        } else {
            for step in &self.after {
                let fact = happens(&mut world, &carried(&POOL, step), step.1);
                world.ingest(vec![fact]).await;
            }
        }
        assert_ne!(who(&world, "ada").await, who(&world, bob[0]).await, "an event does not undo the undoing");
        world
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_that_is_undone_was_never_there_whatever_came_between_and_after(
        before in prop::collection::vec((any::<bool>(), (prop::collection::vec(0..3usize, 1..=2), 0..NAMES.len())), 0..5),
        between in steps(POOL.len(), 8),
        after in steps(POOL.len(), 6),
        numbered in any::<bool>(),
        by_operator in any::<bool>(),
    ) {
        let story = Story { before, between, after, numbered, by_operator };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let undone = story.told(true).await;
            let never = story.told(false).await;
            let (ours, theirs) = (everything(&undone).await, everything(&never).await);
            prop_assert_eq!(ours, theirs);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_was_decided_about_each_of_the_two_follows_the_merge_and_goes_back_with_it() {
    let mut world = World::with_rules(&[("thanks.rhai", &on_order("task(\"say thanks\");"))]).await;
    for (n, handles) in [&ADA, &BOB].into_iter().enumerate() {
        let order = fact(&mut world, handles, names::ORDER_COMPLETED, json!({ "order_id": n.to_string(), "total": 5 }));
        world.ingest(vec![order]).await;
    }
    let (ada, bob) = (who(&world, "ada").await, who(&world, "browser-b").await);
    let joins = stated(&mut world, names::MERGED, [bob, ada]);
    world.ingest(vec![joins]).await;
    let owners = |world: &World| {
        let store = world.engine().pipeline.store.clone();
        async move {
            let tasks = store.open_tasks(10).await.unwrap();
            let mut owners: Vec<CustomerId> = tasks.iter().map(|t| t.customer).collect();
            owners.sort_unstable();
            (owners, store.ledger_size(ada).await.unwrap(), store.ledger_size(bob).await.unwrap())
        }
    };
    assert_eq!(owners(&world).await, (vec![ada, ada], (2, 2, 0), (0, 0, 0)));
    let parts = stated(&mut world, names::SEPARATED, [bob, ada]);
    world.ingest(vec![parts]).await;
    let mut both = vec![ada, bob];
    both.sort_unstable();
    assert_eq!(owners(&world).await, (both, (1, 1, 0), (1, 1, 0)));
    assert_eq!(world.customer("ada").await.profile.orders.0.len(), 1);
    // A restart does not bring it back.
    world.restart().await;
    let both = fact(&mut world, &["ada", "browser-b"], "Product Viewed", json!({}));
    world.ingest(vec![both]).await;
    assert_eq!((who(&world, "ada").await, who(&world, "browser-b").await), (ada, bob));
    assert!(!world.customer("ada").await.profile.identities.contains(&handle("browser-b")));
}

#[tokio::test]
async fn an_operators_later_word_joins_them_after_all_and_an_applications_does_not() {
    let mut world = World::with_rules(&[]).await;
    for handles in [&ADA, &BOB] {
        let seen = fact(&mut world, handles, "Product Viewed", json!({}));
        world.ingest(vec![seen]).await;
    }
    let pair = [who(&world, "browser-b").await, who(&world, "ada").await];
    for (name, one) in [(names::SEPARATED, false), (names::MERGED, true), (names::SEPARATED, false)] {
        let statement = stated(&mut world, name, pair);
        world.ingest(vec![statement]).await;
        assert_eq!(who(&world, "ada").await == who(&world, "browser-b").await, one, "{name}");
    }
    let alias = fact(&mut world, &["ada", "browser-b"], names::MERGED, json!({}));
    world.ingest(vec![alias]).await;
    assert_ne!(who(&world, "ada").await, who(&world, "browser-b").await);
}
