//! The ledger: decided once, held by one worker, settled once, and counted while it waits.

use rekindle::domain::delivery::{Delivery, DeliveryState};
use rekindle::stores::{Commit, Move, Refused};

use super::{Memory, all_deliveries, at, customer, decided, sent};

every_store!(
    one_occasion_is_one_firing_and_one_delivery,
    a_delivery_is_leased_to_one_worker_only,
    a_worker_that_lost_its_lease_moves_nothing,
    what_was_under_way_is_found_after_a_restart,
    what_waits_is_counted_and_what_is_final_is_not,
    refusals_count_occasions_not_evaluations,
);

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
