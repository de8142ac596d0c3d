//! What a store must do, asked through the contracts alone so that a second store can be held to it: add a line to
//! `every_store!` and all of this runs against it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle::domain::action::Action;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::id::CustomerId;
use rekindle::domain::quarantine::Quarantined;
use rekindle::domain::segment::{Signal, Transition};
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{
    Append, Columns, Commit, CustomerState, DeliveryFilter, Log, Merge, Move, Refused, Separation, Split, Store,
    StoreError, StoredModel, TickProgress,
};
use serde_json::json;
use tempfile::TempDir;

use crate::sim::memory::{MemoryLog, MemoryStore};

/// A log and a store, and whatever keeps them alive.
pub(crate) struct Memory {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    kept: Option<(SqliteFiles, TempDir)>,
}

impl Memory {
    /// Of those that are files.
    pub(crate) fn files(&self) -> &SqliteFiles {
        &self.kept.as_ref().expect("asked of stores in files only").0
    }
}

pub(crate) async fn sqlite() -> Memory {
    let dir = TempDir::new().unwrap();
    let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
    Memory { log: Arc::new(files.log.clone()), store: Arc::new(files.store.clone()), kept: Some((files, dir)) }
}

/// The simulator's.
pub(crate) fn maps() -> Memory {
    Memory { log: Arc::new(MemoryLog::default()), store: Arc::new(MemoryStore::default()), kept: None }
}

macro_rules! every_store {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite { $( #[tokio::test] async fn $case() { super::$case(super::sqlite().await).await; } )* }
        mod on_memory { $( #[tokio::test] async fn $case() { super::$case(super::maps()).await; } )* }
    };
}

every_store!(
    the_log_gives_back_what_was_appended_in_order_and_never_reuses_a_position,
    a_batch_its_cursor_and_its_quarantine_are_one,
    a_commit_is_whole_and_its_position_moves_with_it,
    an_absorbed_customer_leads_on_to_the_survivor,
    what_was_decided_for_a_visitor_follows_who_turns_out_to_be_known_in_the_same_commit,
    what_followed_a_merge_goes_back_when_it_is_undone,
    one_occasion_is_one_firing_and_one_delivery,
    a_delivery_is_leased_to_one_worker_only,
    a_worker_that_lost_its_lease_moves_nothing,
    what_was_under_way_is_found_after_a_restart,
    what_waits_is_counted_and_what_is_final_is_not,
    ticks_remember_how_far_they_came,
    the_fit_that_decided_then_is_found_again,
    refusals_count_occasions_not_evaluations,
);

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_780_000_000_000_000 + second * 1_000_000)
}

pub(crate) fn fact(n: i64) -> Fact {
    Fact {
        source: "test".to_owned(),
        message_id: n.to_string(),
        name: "Ping".to_owned(),
        occurred_at: at(n),
        received_at: at(n),
        known_at: at(n),
        imported: false,
        identities: Identity::new(IdentityKind::UserId, &format!("u{n}")).into_iter().collect(),
        traits: serde_json::Map::new(),
        properties: serde_json::Map::from_iter([("text".to_owned(), json!("Grüße \"quoted\" \u{1f600}"))]),
        context: serde_json::Map::new(),
    }
}

pub(crate) fn customer(n: i64) -> CustomerState {
    CustomerState {
        customer: CustomerId::derive(at(n), &[b"customer"]),
        created_at: at(n),
        profile: Arc::default(),
        scores: Arc::default(),
        segments: Arc::new(BTreeMap::from([("all".to_owned(), true)])),
    }
}

pub(crate) fn decided(who: CustomerId, rule: &str, occasion: &str, second: i64) -> Commit {
    let now = at(second);
    let firing = Firing {
        id: Firing::id_of(rule, who, occasion, now),
        rule: rule.to_owned(),
        rule_version: "v1".to_owned(),
        customer: who,
        occasion: occasion.to_owned(),
        at: now,
        held_out: false,
        trace: Vec::new(),
    };
    let delivery = Delivery {
        id: Delivery::id_of(firing.id, 0, now),
        firing: firing.id,
        rule: rule.to_owned(),
        customer: who,
        step: 0,
        action: Action::Email { template: "offer".to_owned(), vars: serde_json::Map::new() },
        class: Some(MessageClass::Marketing),
        topic: None,
        state: DeliveryState::Due,
        decided_at: now,
        due_at: now,
        expires_at: at(second + 86_400),
        n_attempts: 0,
        settled_at: None,
        reason: None,
        receipt: None,
    };
    Commit { firings: vec![firing], deliveries: vec![delivery], ..Commit::default() }
}

fn sent(delivery: &Delivery, second: i64) -> Move {
    Move::Settle {
        delivery: delivery.id,
        state: DeliveryState::Sent,
        due_at: None,
        reason: None,
        receipt: Some("250 ok".to_owned()),
        attempt: true,
        at: at(second),
    }
}

async fn all_deliveries(memory: &Memory) -> Vec<Delivery> {
    memory.store.list_deliveries(&DeliveryFilter { limit: 100, ..DeliveryFilter::default() }).await.unwrap()
}

async fn the_log_gives_back_what_was_appended_in_order_and_never_reuses_a_position(memory: Memory) {
    let facts: Vec<Fact> = (0..5).map(fact).collect();
    memory.log.append(&Append { facts: facts.clone(), ..Append::default() }).await.unwrap();
    let records = memory.log.read_after(0, 100).await.unwrap();
    assert_eq!(records.iter().map(|r| r.fact.clone()).collect::<Vec<_>>(), facts);
    let end = records.last().unwrap().position;
    assert_eq!(memory.log.end().await.unwrap(), end);
    assert_eq!(memory.log.read_after(records[2].position, 1).await.unwrap()[0].fact, facts[3]);
    // Cut off only what was derived from and is old enough.
    assert_eq!(memory.log.trim(records[3].position, at(2)).await.unwrap(), 2);
    assert_eq!(memory.log.trim(end, at(100)).await.unwrap(), 3);
    memory.log.append(&Append { facts: vec![fact(9)], ..Append::default() }).await.unwrap();
    assert!(memory.log.read_after(0, 1).await.unwrap()[0].position > end);
}

async fn a_batch_its_cursor_and_its_quarantine_are_one(memory: Memory) {
    let row = |record: &str| Quarantined {
        source: "orders".to_owned(),
        locator: "orders.csv:7".to_owned(),
        reason: "bad_time".to_owned(),
        message: "no".to_owned(),
        record: record.to_owned(),
        at: at(0),
    };
    let append = Append {
        facts: vec![fact(1)],
        quarantined: vec![row("a"), row("b")],
        cursors: vec![("orders".to_owned(), "7".to_owned(), at(0))],
    };
    memory.log.append(&append).await.unwrap();
    memory.log.append(&Append { quarantined: vec![row("a")], ..Append::default() }).await.unwrap();
    assert_eq!(memory.log.cursor("orders").await.unwrap().as_deref(), Some("7"));
    assert_eq!(memory.log.cursor("other").await.unwrap(), None);
    let counts = memory.log.quarantine_counts().await.unwrap();
    assert_eq!(counts, [("orders".to_owned(), "bad_time".to_owned(), 2)], "a row read twice is put aside once");
}

async fn a_commit_is_whole_and_its_position_moves_with_it(memory: Memory) {
    let ana = customer(1);
    let event = Event { id: Event::id_of(&fact(1)), customer: Some(ana.customer), fact: fact(1) };
    let commit = Commit {
        events: vec![(7, event.clone())],
        position: Some(7),
        identities: vec![(event.fact.identities[0].clone(), ana.customer)],
        customers: vec![ana.clone()],
        ..decided(ana.customer, "rule", "tick:1", 2)
    };
    memory.store.commit_batch(&commit).await.unwrap();
    // The same event again violates its key: nothing of that commit may stay, its position neither.
    let decided = decided(ana.customer, "rule", "tick:2", 3);
    let again = Commit { position: Some(8), events: vec![(8, event.clone())], ..decided };
    assert!(matches!(memory.store.commit_batch(&again).await, Err(StoreError::Unavailable(_))));
    assert_eq!(memory.store.position().await.unwrap(), 7);
    assert_eq!(all_deliveries(&memory).await.len(), 1);
    assert_eq!(memory.store.scan_events(0, 10).await.unwrap(), [(7, event.clone())]);
    let known = memory.store.known_keys(&[event.fact.dedupe_key(), [0; 16]]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [(event.fact.dedupe_key(), event.fact.body_hash())]);
    let loaded = memory.store.load_customers(&[ana.customer]).await.unwrap();
    assert_eq!(loaded[&ana.customer].segments, ana.segments);
    // A scan reads what it is asked for, whatever was read before it.
    for (columns, n_segments) in [(Columns::Profile, 0), (Columns::All, 1), (Columns::Profile, 0)] {
        let scanned = memory.store.scan_customers(columns, None, None, 10).await.unwrap();
        assert_eq!((scanned.len(), scanned[0].segments.len()), (1, n_segments), "{columns:?}");
    }
}

async fn an_absorbed_customer_leads_on_to_the_survivor(memory: Memory) {
    let (a, b, c) = (customer(1), customer(2), customer(3));
    let handle = fact(2).identities[0].clone();
    let begin = Commit {
        customers: vec![a.clone(), b.clone(), c.clone()],
        identities: vec![(handle.clone(), b.customer)],
        ..decided(b.customer, "rule", "tick:1", 2)
    };
    memory.store.commit_batch(&begin).await.unwrap();
    for (absorbed, survivor) in [(&b, &a), (&a, &c)] {
        let merges = vec![Merge { absorbed: absorbed.customer, survivor: survivor.customer, position: 1 }];
        memory.store.commit_batch(&Commit { merges, ..Commit::default() }).await.unwrap();
    }
    assert_eq!(memory.store.find_identities(std::slice::from_ref(&handle)).await.unwrap()[&handle], c.customer);
    let own = Identity::new(IdentityKind::CustomerId, &b.customer.to_string()).unwrap();
    assert_eq!(memory.store.find_identities(std::slice::from_ref(&own)).await.unwrap()[&own], c.customer);
    assert_eq!(memory.store.load_customers(&[b.customer]).await.unwrap()[&b.customer].customer, c.customer);
    let everybody = memory.store.scan_customers(Columns::All, None, None, 10).await.unwrap();
    assert_eq!(everybody.iter().map(|s| s.customer).collect::<Vec<_>>(), [c.customer]);
    // Asked for twice, as when several deliveries of one customer leave together.
    let ledger = memory.store.ledger_of(&[c.customer, c.customer], at(0)).await.unwrap();
    assert!(ledger[&c.customer].last_firing.contains_key("rule"), "cooldowns follow the person");
    assert_eq!(ledger[&c.customer].contacts.len(), 1, "and so does the cap");
}

async fn what_was_decided_for_a_visitor_follows_who_turns_out_to_be_known_in_the_same_commit(memory: Memory) {
    let (visitor, known) = (customer(1), customer(2));
    let commit = Commit {
        customers: vec![visitor.clone(), known.clone()],
        merges: vec![Merge { absorbed: visitor.customer, survivor: known.customer, position: 1 }],
        signals: vec![Signal::new(visitor.customer, "all", Transition::Entered, at(2), None)],
        ..decided(visitor.customer, "rule", "event:1", 2)
    };
    memory.store.commit_batch(&commit).await.unwrap();
    assert_eq!(all_deliveries(&memory).await[0].customer, known.customer);
    let ledger = memory.store.ledger_of(&[known.customer], at(0)).await.unwrap();
    assert!(ledger[&known.customer].last_firing.contains_key("rule"), "the cooldown holds for the person");
    assert_eq!(ledger[&known.customer].contacts.len(), 1, "and the mail counts against the cap");
    assert_eq!(memory.store.signals_of(known.customer).await.unwrap().len(), 1);
}

async fn what_followed_a_merge_goes_back_when_it_is_undone(memory: Memory) {
    let (a, b) = (customer(1), customer(2));
    let event = |n: i64, c: &CustomerState| {
        let fact = fact(n);
        (n, Event { id: Event::id_of(&fact), customer: Some(c.customer), fact })
    };
    let handle = |n: i64| fact(n).identities[0].clone();
    let begin = Commit {
        customers: vec![a.clone(), b.clone()],
        events: vec![event(1, &a), event(2, &b), event(3, &a)],
        identities: vec![(handle(1), a.customer), (handle(2), b.customer)],
        merges: vec![Merge { absorbed: b.customer, survivor: a.customer, position: 3 }],
        ..decided(b.customer, "rule", "tick:1", 2)
    };
    memory.store.commit_batch(&begin).await.unwrap();
    assert_eq!(memory.store.merge_of(b.customer).await.unwrap(), Some(begin.merges[0]));
    assert_eq!(memory.store.merges_into(a.customer).await.unwrap(), begin.merges);
    assert_eq!(memory.store.handles_of(a.customer).await.unwrap().len(), 2);
    assert_eq!(memory.store.ledger_size(a.customer).await.unwrap(), (1, 1, 0));
    let filed = memory.store.events_filed(a.customer, 0, 10).await.unwrap();
    assert_eq!(
        filed.iter().map(|(at, as_, _)| (*at, *as_)).collect::<Vec<_>>(),
        [(1, a.customer), (2, b.customer), (3, a.customer)]
    );

    let pair = (b.customer, a.customer);
    let undone = Commit {
        // The third event would have been b's.
        split: Some(Split {
            joined: a.customer,
            members: vec![(a.customer, None, a.customer), (b.customer, None, b.customer)],
            arrived: vec![(3, b.customer)],
            merges: Vec::new(),
        }),
        separations: vec![Separation { stated: pair, today: pair, position: 3 }],
        customers: vec![a.clone(), b.clone()],
        identities: vec![(handle(1), a.customer), (handle(2), b.customer)],
        ..Commit::default()
    };
    memory.store.commit_batch(&undone).await.unwrap();
    assert_eq!(memory.store.load_customers(&[b.customer]).await.unwrap()[&b.customer].customer, b.customer);
    assert_eq!(memory.store.merge_of(b.customer).await.unwrap(), None);
    assert_eq!(memory.store.ledger_size(b.customer).await.unwrap(), (1, 1, 0), "the ledger follows its subject");
    let filed = memory.store.events_filed(b.customer, 0, 10).await.unwrap();
    assert_eq!(filed.iter().map(|(at, as_, _)| (*at, *as_)).collect::<Vec<_>>(), [(2, b.customer), (3, b.customer)]);
    assert_eq!(memory.store.handles_of(b.customer).await.unwrap(), [handle(2)]);
    assert_eq!(memory.store.separations_of(&[a.customer]).await.unwrap(), undone.separations);
    // Whoever absorbs one of the two is kept apart from the other.
    let c = customer(3);
    let merges = vec![Merge { absorbed: b.customer, survivor: c.customer, position: 4 }];
    memory.store.commit_batch(&Commit { customers: vec![c.clone()], merges, ..Commit::default() }).await.unwrap();
    let today: Vec<_> = memory.store.separations_of(&[c.customer]).await.unwrap().iter().map(|s| s.today).collect();
    assert_eq!(today, [(c.customer, a.customer)]);
}

async fn one_occasion_is_one_firing_and_one_delivery(memory: Memory) {
    let ana = customer(1);
    let first = Commit { customers: vec![ana.clone()], ..decided(ana.customer, "rule", "event:1", 2) };
    memory.store.commit_batch(&first).await.unwrap();
    // Decided again later, by another version of the rule: the same occasion all the same.
    let mut second = decided(ana.customer, "rule", "event:1", 500);
    "v2".clone_into(&mut second.firings[0].rule_version);
    memory.store.commit_batch(&second).await.unwrap();
    let deliveries = all_deliveries(&memory).await;
    assert_eq!(deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), [first.deliveries[0].id]);
    assert_eq!(memory.store.firing(first.firings[0].id).await.unwrap().unwrap().rule_version, "v1");
    assert!(memory.store.firing(second.firings[0].id).await.unwrap().is_none());
}

async fn with_one_delivery(memory: &Memory) -> Delivery {
    let ana = customer(1);
    let commit = Commit { customers: vec![ana.clone()], ..decided(ana.customer, "rule", "event:1", 2) };
    memory.store.commit_batch(&commit).await.unwrap();
    commit.deliveries[0].clone()
}

async fn a_delivery_is_leased_to_one_worker_only(memory: Memory) {
    let delivery = with_one_delivery(&memory).await;
    assert_eq!(memory.store.next_due(Some("email")).await.unwrap(), Some(delivery.due_at));
    assert_eq!(memory.store.next_due(Some("webhook")).await.unwrap(), None);
    let claim = |second| memory.store.claim_deliveries("email", at(second), at(second + 60), 10);
    assert!(claim(1).await.unwrap().is_empty(), "not before it is due");
    assert_eq!(claim(3).await.unwrap()[0].id, delivery.id);
    assert!(claim(4).await.unwrap().is_empty());
    let moves = [Move::Commit { delivery: delivery.id, at: at(4) }, sent(&delivery, 5)];
    assert_eq!(memory.store.apply_moves(&moves).await.unwrap(), [true, true]);
    let settled = memory.store.delivery(delivery.id).await.unwrap().unwrap();
    assert_eq!((settled.state, settled.n_attempts, settled.settled_at), (DeliveryState::Sent, 1, Some(at(5))));
    assert_eq!(memory.store.attempts_of(delivery.id).await.unwrap()[0].detail, "250 ok");
}

async fn a_worker_that_lost_its_lease_moves_nothing(memory: Memory) {
    let delivery = with_one_delivery(&memory).await;
    // Never claimed, so nobody may move it.
    let commit = Move::Commit { delivery: delivery.id, at: at(4) };
    assert_eq!(memory.store.apply_moves(&[commit.clone(), sent(&delivery, 5)]).await.unwrap(), [false, false]);
    memory.store.claim_deliveries("email", at(3), at(63), 10).await.unwrap();
    memory.store.apply_moves(&[commit, sent(&delivery, 5)]).await.unwrap();
    // A row marked sent is never sent again, and never settled again.
    assert_eq!(memory.store.apply_moves(&[sent(&delivery, 9)]).await.unwrap(), [false]);
    assert!(memory.store.claim_deliveries("email", at(900), at(960), 10).await.unwrap().is_empty());
    assert_eq!(memory.store.attempts_of(delivery.id).await.unwrap().len(), 1);
}

async fn what_was_under_way_is_found_after_a_restart(memory: Memory) {
    let delivery = with_one_delivery(&memory).await;
    memory.store.claim_deliveries("email", at(3), at(63), 10).await.unwrap();
    assert!(memory.store.abandoned_deliveries(Some(at(10))).await.unwrap().is_empty());
    assert_eq!(memory.store.abandoned_deliveries(Some(at(64))).await.unwrap()[0].id, delivery.id);
    memory.store.apply_moves(&[Move::Commit { delivery: delivery.id, at: at(4) }]).await.unwrap();
    assert_eq!(memory.store.abandoned_deliveries(None).await.unwrap()[0].state, DeliveryState::Committing);
}

async fn what_waits_is_counted_and_what_is_final_is_not(memory: Memory) {
    let delivery = with_one_delivery(&memory).await;
    let check = async |expected: &[(&str, u64)]| {
        let found = memory.store.waiting_deliveries().await.unwrap();
        let expected: Vec<_> =
            expected.iter().map(|(state, n)| ("email".to_owned(), (*state).to_owned(), *n)).collect();
        assert_eq!(found, expected);
    };
    check(&[("due", 1)]).await;
    memory.store.claim_deliveries("email", at(3), at(63), 10).await.unwrap();
    check(&[("leased", 1)]).await;
    memory.store.apply_moves(&[Move::Commit { delivery: delivery.id, at: at(4) }]).await.unwrap();
    check(&[("committing", 1)]).await;
    let Move::Settle { attempt, receipt, .. } = sent(&delivery, 5) else { unreachable!() };
    let reason = Some("nobody knows".to_owned());
    let unknown = Move::Settle {
        delivery: delivery.id,
        state: DeliveryState::Unknown,
        due_at: None,
        reason,
        receipt,
        attempt,
        at: at(5),
    };
    memory.store.apply_moves(&[unknown]).await.unwrap();
    check(&[("unknown", 1)]).await;
    let other = decided(delivery.customer, "rule", "event:2", 6);
    memory.store.commit_batch(&other).await.unwrap();
    memory.store.claim_deliveries("email", at(7), at(63), 10).await.unwrap();
    let commit = Move::Commit { delivery: other.deliveries[0].id, at: at(7) };
    memory.store.apply_moves(&[commit, sent(&other.deliveries[0], 8)]).await.unwrap();
    check(&[("unknown", 1)]).await;
}

async fn ticks_remember_how_far_they_came(memory: Memory) {
    let tick =
        |second, position, done_at| TickProgress { schedule: "rule".to_owned(), at: at(second), position, done_at };
    memory.store.begin_ticks(&[tick(10, None, None), tick(20, None, None)]).await.unwrap();
    let half = tick(10, Some(customer(1).customer), None);
    memory.store.commit_batch(&Commit { tick: Some(half.clone()), ..Commit::default() }).await.unwrap();
    memory.store.begin_ticks(&[tick(10, None, None)]).await.unwrap();
    let (newest, open) = memory.store.ticks_of(&["rule", "never"]).await.unwrap();
    let newest: Vec<_> = newest.into_iter().collect();
    let expected = (vec![("rule".to_owned(), at(20))], vec![half, tick(20, None, None)]);
    assert_eq!((newest, open), expected, "beginning again keeps the position");
    let done = Commit { tick: Some(tick(10, None, Some(at(11)))), ..Commit::default() };
    memory.store.commit_batch(&done).await.unwrap();
    assert_eq!(memory.store.ticks_of(&[]).await.unwrap().1, [tick(20, None, None)]);
}

async fn the_fit_that_decided_then_is_found_again(memory: Memory) {
    let fit = |second, version: &str| StoredModel {
        kind: "churn_risk".to_owned(),
        fitted_at: at(second),
        version: version.to_owned(),
        fitted: json!({ "cells": [1, 2.5] }),
        card: json!({ "n": second }),
    };
    memory.store.save_models(&[fit(10, "old"), fit(20, "new")]).await.unwrap();
    let version = |found: Vec<StoredModel>| found.into_iter().map(|m| m.version).collect::<Vec<_>>();
    assert_eq!(version(memory.store.models_at(at(15)).await.unwrap()), ["old"]);
    assert_eq!(version(memory.store.models_at(Timestamp::MAX).await.unwrap()), ["new"]);
    assert_eq!(memory.store.models_at(at(20)).await.unwrap()[0].fitted, json!({ "cells": [1, 2.5] }));
}

async fn refusals_count_occasions_not_evaluations(memory: Memory) {
    let ana = customer(1).customer;
    let refused = |occasion: &str, second| Refused {
        rule: "rule".to_owned(),
        customer: ana,
        step: 0,
        reason: "no_consent",
        occasion: occasion.to_owned(),
        at: at(second),
    };
    for refusal in [refused("tick:1", 1), refused("tick:1", 2), refused("tick:2", 3)] {
        memory.store.commit_batch(&Commit { refusals: vec![refusal], ..Commit::default() }).await.unwrap();
    }
    let counted = memory.store.refusals_of(ana).await.unwrap();
    assert_eq!(counted, [("rule".to_owned(), 0, "no_consent".to_owned(), 2, at(3))]);
}
