//! The same calls, in any order, get the same answers from every store: a generated sequence is made on files and on the
//! maps side by side. What the conformance suite does not name, this still compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use proptest::prelude::*;
use rekindle::domain::action::Action;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::id::CustomerId;
use rekindle::domain::profile::Profile;
use rekindle::domain::segment::{Signal, Transition};
use rekindle::stores::{
    Append, Columns, Commit, CustomerState, DeliveryFilter, Merge, Move, Refused, Separation, Split, StoreResult,
    StoredModel, TickProgress,
};
use serde_json::json;

use crate::store_conformance::{Memory, maps, sqlite};

/// What to do, with whom, about what, and when.
type Call = (u8, usize, usize, i64);

const CUSTOMERS: usize = 5;
const RULES: [&str; 3] = ["again", "hello", "win_back"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_store_gives_the_same_answers(calls in prop::collection::vec((0u8..24, 0..CUSTOMERS, 0usize..3, 0i64..40), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (files, maps) = (sqlite().await, maps());
            let mut merged = Merged::new();
            let begin = Commit { customers: (0..CUSTOMERS).map(|n| state(n, 0)).collect(), ..Commit::default() };
            for memory in [&files, &maps] {
                memory.store.commit_batch(&begin).await.unwrap();
            }
            for (n, call) in calls.iter().enumerate() {
                let said = [answer(&files, *call, &merged).await, answer(&maps, *call, &merged).await];
                assert_eq!(said[0], said[1], "call {n} of {calls:?}");
                match *call {
                    (7, a, b, _) => merged.extend(merge(a, b, &merged)),
                    (22, n, ..) => {
                        let parted = group(n, &merged);
                        merged.retain(|one, _| !parted.contains(one));
                    }
                    _ => {}
                }
            }
            for (ours, theirs) in everything(&files).await.into_iter().zip(everything(&maps).await) {
                assert_eq!(ours, theirs, "after {calls:?}");
            }
        });
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_780_000_000_000_000 + second * 1_000_000)
}

fn who(n: usize) -> CustomerId {
    CustomerId::derive(at(i64::try_from(n).unwrap()), &[b"customer"])
}

/// Who was absorbed by whom.
type Merged = BTreeMap<usize, usize>;

fn merge(a: usize, b: usize, merged: &Merged) -> Option<(usize, usize)> {
    let b = (a + 1 + b) % CUSTOMERS;
    (a != b && !merged.contains_key(&a) && !merged.contains_key(&b)).then_some((a, b))
}

/// Everybody who leads to this living customer, itself not among them.
fn group(n: usize, merged: &Merged) -> Vec<usize> {
    let today = |mut one: usize| {
        while let Some(&survivor) = merged.get(&one) {
            one = survivor;
        }
        one
    };
    merged.keys().copied().filter(|one| today(*one) == n).collect()
}

/// All of them are customers of their own again, and the first is kept apart.
fn parted(n: usize, t: i64, group: &[usize]) -> Commit {
    let everybody = || group.iter().copied().chain([n]);
    let pair = (who(group[0]), who(n));
    Commit {
        split: Some(Split {
            joined: who(n),
            members: everybody().map(|one| (who(one), None, who(one))).collect(),
            arrived: vec![(t, who(group[0]))],
            merges: Vec::new(),
        }),
        separations: vec![Separation { stated: pair, today: pair, position: t }],
        customers: everybody().map(|one| state(one, t)).collect(),
        ..Commit::default()
    }
}

fn fact(n: usize, t: i64) -> Fact {
    let user = Identity::new(IdentityKind::UserId, &format!("u{n}"));
    Fact {
        source: "test".to_owned(),
        message_id: format!("{n}-{t}"),
        name: if t % 2 == 0 { "Ping" } else { "Pong" }.to_owned(),
        occurred_at: at(t),
        received_at: at(t),
        known_at: at(t),
        imported: t % 3 == 0,
        identities: user.into_iter().collect(),
        traits: serde_json::Map::from_iter([("first_name".to_owned(), json!(format!("Zoë {n}")))]),
        properties: serde_json::Map::from_iter([("total".to_owned(), json!(t))]),
        context: serde_json::Map::new(),
    }
}

fn state(n: usize, t: i64) -> CustomerState {
    let business =
        rekindle::domain::clock::Business { zone: jiff::tz::TimeZone::UTC, currency: "EUR".parse().unwrap() };
    let fact = fact(n, t);
    let event = Event { id: Event::id_of(&fact), customer: Some(who(n)), fact };
    let mut segments = BTreeMap::from([("buyers".to_owned(), t % 2 == 0)]);
    if t % 5 == 0 {
        segments.insert("sleepy".to_owned(), t % 3 == 0);
    }
    CustomerState {
        customer: who(n),
        // Never changes.
        created_at: at(0),
        profile: Arc::new(Profile::fold([&event], &business)),
        scores: Arc::default(),
        segments: Arc::new(segments),
    }
}

fn decided(n: usize, rule: usize, t: i64) -> Commit {
    let (now, occasion, rule) = (at(t), format!("tick:{}", t / 4), RULES[rule].to_owned());
    let firing = Firing {
        id: Firing::id_of(&rule, who(n), &occasion, now),
        rule: rule.clone(),
        rule_version: format!("v{t}"),
        customer: who(n),
        occasion: occasion.clone(),
        at: now,
        held_out: t % 7 == 0,
        trace: Vec::new(),
    };
    let action = |step: u32| match step {
        0 => Action::Email { template: "offer".to_owned(), vars: serde_json::Map::new() },
        _ => Action::Task { title: format!("Call {n}"), details: serde_json::Map::new() },
    };
    let delivery = |step: u32| Delivery {
        id: Delivery::id_of(firing.id, step, now),
        firing: firing.id,
        rule: rule.clone(),
        customer: who(n),
        step,
        action: action(step),
        class: (step == 0).then_some(MessageClass::Marketing),
        topic: None,
        state: if t % 2 == 0 { DeliveryState::Due } else { DeliveryState::Held },
        decided_at: now,
        due_at: at(t + t % 3),
        expires_at: at(t + 20),
        n_attempts: 0,
        settled_at: None,
        reason: (t % 2 == 1).then(|| "quiet hours".to_owned()),
        receipt: None,
    };
    let deliveries = (0..2).map(delivery).collect();
    let refused = Refused { rule, customer: who(n), step: 0, reason: "no_consent", occasion, at: now };
    Commit { firings: vec![firing], deliveries, refusals: vec![refused], ..Commit::default() }
}

async fn answer(memory: &Memory, (what, n, k, t): Call, merged: &Merged) -> String {
    let (log, store) = (&memory.log, &memory.store);
    let living = !merged.contains_key(&n);
    match what {
        0 => said(log.append(&Append { facts: vec![fact(n, t)], ..Append::default() }).await),
        1 => said(log.trim(t, at(i64::try_from(k).unwrap() * 10)).await),
        2 if living => {
            let event = Event { id: Event::id_of(&fact(n, t)), customer: Some(who(n)), fact: fact(n, t) };
            let handle = event.fact.identities[0].clone();
            let signal = Signal::new(who(n), "buyers", Transition::Entered, at(t), Some(event.id));
            let commit = Commit {
                events: vec![(t, event)],
                position: Some(t),
                identities: vec![(handle, who(n))],
                customers: vec![state(n, t)],
                signals: vec![signal],
                ..decided(n, k, t)
            };
            said(store.commit_batch(&commit).await)
        }
        3 | 4 if living => said(store.commit_batch(&decided(n, k, t)).await),
        5 if living => {
            // The profile is as it was.
            let before = store.load_customers(&[who(n)]).await.unwrap().remove(&who(n)).unwrap();
            let judged = vec![CustomerState { segments: state(n, t).segments, ..before }];
            said(store.commit_batch(&Commit { judged, ..Commit::default() }).await)
        }
        6 => {
            let tick = TickProgress { schedule: RULES[k].to_owned(), at: at(t), position: Some(who(n)), done_at: None };
            let done = TickProgress { done_at: (t % 2 == 0).then_some(at(t)), ..tick.clone() };
            let begun = said(store.begin_ticks(&[tick]).await);
            begun + said(store.commit_batch(&Commit { tick: Some(done), ..Commit::default() }).await).as_str()
        }
        7 => match merge(n, k, merged) {
            // Decided for the one who is absorbed, in the same commit.
            Some((absorbed, survivor)) => {
                let merge = Merge { absorbed: who(absorbed), survivor: who(survivor), position: t };
                said(store.commit_batch(&Commit { merges: vec![merge], ..decided(absorbed, k, t) }).await)
            }
            None => String::new(),
        },
        8..11 => said(store.claim_deliveries(["email", "task"][n % 2], at(t), at(t + 5), k + 1).await),
        11..16 => {
            let all = store.list_deliveries(&DeliveryFilter { limit: 100, ..DeliveryFilter::default() }).await.unwrap();
            let Some(delivery) = all.get(n * 3 + k) else { return String::new() };
            said(store.apply_moves(&[a_move(delivery, what, t)]).await)
        }
        16 => {
            let mut abandoned = store.abandoned_deliveries((k > 0).then(|| at(t))).await.unwrap();
            abandoned.sort_by_key(|d| d.id);
            said(Ok(abandoned))
        }
        17 => said(store.next_due([None, Some("email"), Some("task")][k]).await),
        18 => {
            let model = StoredModel {
                kind: RULES[k].to_owned(),
                fitted_at: at(t),
                version: n.to_string(),
                fitted: json!(t),
                card: json!({}),
            };
            said(store.save_models(&[model]).await) + said(store.models_at(at(20)).await).as_str()
        }
        19 => said(store.set_meta(RULES[k], &t.to_string()).await),
        20 => {
            let columns = if t % 2 == 0 { Columns::All } else { Columns::Profile };
            said(store.scan_customers(columns, [None, Some("buyers"), Some("sleepy")][k], Some(who(n)), 2).await)
        }
        21 => {
            let all = store.list_deliveries(&DeliveryFilter { limit: 100, ..DeliveryFilter::default() }).await.unwrap();
            let Some(delivery) = all.get(n * 3 + k) else { return String::new() };
            said(store.settle_task(delivery.id, (t % 3 > 0).then(|| at(t))).await)
        }
        22 => match &group(n, merged)[..] {
            [] => String::new(),
            group => said(store.commit_batch(&parted(n, t, group)).await),
        },
        _ => said(store.list_merges((k > 0).then(|| who(n)), (k > 1).then(|| (t, who(n))), 3).await),
    }
}

fn a_move(delivery: &Delivery, what: u8, t: i64) -> Move {
    let (state, due_at) = match what {
        11 => return Move::Commit { delivery: delivery.id, at: at(t) },
        12 if matches!(delivery.action, Action::Task { .. }) => {
            return Move::OpenTask { delivery: Box::new(delivery.clone()), at: at(t) };
        }
        13 => (DeliveryState::Due, Some(at(t + 3))),
        14 => (DeliveryState::Held, Some(at(t + 9))),
        _ => (DeliveryState::ALL[4 + usize::try_from(t).unwrap() % 5], None),
    };
    let reason = (t % 2 == 0).then(|| format!("because {t}"));
    let receipt = (t % 3 == 0).then(|| format!("250 {t}"));
    Move::Settle { delivery: delivery.id, state, due_at, reason, receipt, attempt: t % 4 != 0, at: at(t) }
}

/// An error counts by its kind; its words are the store's own.
fn said<T: Debug>(answer: StoreResult<T>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => error.to_string().split(':').next().unwrap_or_default().to_owned(),
    }
}

fn sorted<K: Debug, V: Debug>(map: &std::collections::HashMap<K, V>) -> String {
    let mut lines: Vec<String> = map.iter().map(|entry| format!("{entry:?}")).collect();
    lines.sort();
    lines.join("\n")
}

/// Every read there is.
async fn everything(memory: &Memory) -> Vec<String> {
    let (log, store) = (&memory.log, &memory.store);
    let mut all = vec![said(log.read_after(0, 100).await), said(log.end().await), said(store.position().await)];
    let ids: Vec<CustomerId> = (0..CUSTOMERS).map(who).collect();
    let own = ids.iter().filter_map(|id| Identity::new(IdentityKind::CustomerId, &id.to_string()));
    let users = (0..CUSTOMERS).filter_map(|n| Identity::new(IdentityKind::UserId, &format!("u{n}")));
    let handles: Vec<Identity> = own.chain(users).collect();
    all.push(sorted(&store.find_identities(&handles).await.unwrap()));
    all.push(sorted(&store.load_customers(&ids).await.unwrap()));
    for (who, view) in store.ledger_of(&ids, at(10)).await.unwrap() {
        let last: BTreeMap<_, _> = view.last_firing.into_iter().collect();
        all.push(format!("{who} {last:?} {:?} {:?}", view.occasions, view.contacts));
    }
    let views = all.split_off(5);
    all.push(views.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n"));
    all.push(sorted(&store.known_keys(&(0..40).map(|t| fact(1, t).dedupe_key()).collect::<Vec<_>>()).await.unwrap()));
    let (newest, open) = store.ticks_of(&RULES).await.unwrap();
    all.push(format!("{} {open:?}", sorted(&newest)));
    let deliveries = store.list_deliveries(&DeliveryFilter { limit: 100, ..DeliveryFilter::default() }).await.unwrap();
    for delivery in &deliveries {
        all.push(said(store.delivery(delivery.id).await));
        all.push(said(store.attempts_of(delivery.id).await));
        all.push(said(store.firing(delivery.firing).await));
    }
    all.push(said(store.known_since(&ids).await));
    all.push(said(store.waiting_deliveries().await));
    for id in ids {
        all.push(said(store.refusals_of(id).await));
        all.push(said(store.signals_of(id).await));
        all.push(said(store.events_of(id, at(25), 3).await));
        all.push(said(store.merge_of(id).await));
        all.push(said(store.merges_into(id).await));
        all.push(said(store.separations_of(&[id]).await));
        all.push(said(store.events_filed(id, 3, 9).await));
        all.push(said(store.handles_of(id).await));
        all.push(said(store.ledger_size(id).await));
    }
    for filter in [
        DeliveryFilter { rule: Some(RULES[0].to_owned()), limit: 3, ..DeliveryFilter::default() },
        DeliveryFilter { state: Some(DeliveryState::Sent), limit: 9, ..DeliveryFilter::default() },
        DeliveryFilter { customer: Some(who(1)), limit: 9, ..DeliveryFilter::default() },
        DeliveryFilter { channel: Some("task".to_owned()), since: Some(at(9)), limit: 9, ..DeliveryFilter::default() },
        DeliveryFilter {
            after: deliveries.get(1).map(|d| d.id),
            until: Some(at(20)),
            limit: 9,
            ..DeliveryFilter::default()
        },
    ] {
        all.push(said(store.list_deliveries(&filter).await));
    }
    all.push(said(store.scan_events(5, 7).await));
    all.push(said(store.ledger_counts().await));
    all.push(said(store.open_tasks(9).await));
    all.push(said(store.event_counts().await));
    for key in RULES {
        all.push(said(store.meta(key).await));
    }
    all
}
