//! Customers: a commit is whole, and what is known of two who are joined goes with the person, there and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::Event;
use rekindle::domain::score::{Score, ScoreKind};
use rekindle::domain::segment::{Signal, Transition};
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Columns, Commit, CustomerState, Merge, ProfileStore, Separation, Split, StoreError};

use super::{Memory, all_deliveries, at, customer, decided, fact, sqlite};

every_store!(
    a_commit_is_whole_and_its_position_moves_with_it,
    an_absorbed_customer_leads_on_to_the_survivor,
    what_was_decided_for_a_visitor_follows_who_turns_out_to_be_known_in_the_same_commit,
    what_followed_a_merge_goes_back_when_it_is_undone,
);

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

/// The owner answers from memory; a command beside it, and the next start, read the file.
#[tokio::test]
async fn whoever_reads_the_file_finds_the_scores_and_segments_that_changed_last() {
    let memory = sqlite().await;
    let score =
        |value| Score { value: Some(value), band: None, interval: None, n: None, reasons: vec![], model: "m".into() };
    let ana = |value, is| CustomerState {
        scores: Arc::new(BTreeMap::from([(ScoreKind::ChurnRisk, score(value))])),
        segments: Arc::new(BTreeMap::from([("all".to_owned(), is)])),
        ..customer(1)
    };
    let dir = memory.kept.as_ref().unwrap().1.path();
    let beside = SqliteFiles::open(dir, Access::Look).await.unwrap().store;
    // By an event or by a rescoring; only the scores, only the segments, nothing.
    for (n, (value, is)) in [(0.1, true), (0.2, true), (0.2, false), (0.2, false), (0.3, true)].into_iter().enumerate()
    {
        let state = vec![ana(value, is)];
        let changed = Commit { customers: state.clone(), ..Commit::default() };
        let judged = Commit { judged: state.clone(), ..Commit::default() };
        memory.store.commit_batch(if n % 2 == 0 { &changed } else { &judged }).await.unwrap();
        let read = beside.load_customers(&[state[0].customer]).await.unwrap().remove(&state[0].customer).unwrap();
        assert_eq!((&read.scores, &read.segments), (&state[0].scores, &state[0].segments));
        let members = beside.scan_customers(Columns::All, Some("all"), None, 10).await.unwrap();
        assert_eq!(members.len(), usize::from(is), "{value} {is}");
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
