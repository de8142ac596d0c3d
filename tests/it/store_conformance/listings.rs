//! Listings, which only stores in files have.

use rekindle::domain::delivery::Delivery;
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::segment::{Signal, Transition};
use rekindle::stores::listing::{CustomerFilter, EventFilter, FiringFilter, ListStore, SignalFilter};
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Columns, Commit, DeliveryFilter, ProfileStore};
use tempfile::TempDir;

use super::{at, customer, decided, fact, sqlite};

#[tokio::test]
async fn a_listing_is_newest_first_and_goes_on_behind_the_row_that_is_named() {
    let memory = sqlite().await;
    let ana = customer(1);
    let mut commit = Commit { customers: vec![ana.clone(), customer(2)], ..Commit::default() };
    for n in 0..6 {
        let file = |fact: Fact| Event { id: Event::id_of(&fact), customer: Some(ana.customer), fact };
        commit.events.push((n + 1, file(fact(n))));
        let cause = Some(commit.events.last().unwrap().1.id);
        commit.signals.push(Signal::new(ana.customer, "all", Transition::Entered, at(n), cause));
        // Two at one instant are told apart by their ids.
        let decided = decided(ana.customer, "r", &format!("tick:{n}"), n / 2);
        commit.firings.extend(decided.firings);
        commit.deliveries.extend(decided.deliveries);
    }
    memory.store.commit_batch(&commit).await.unwrap();
    let store = &memory.files().store;

    let events = |after, limit| EventFilter { customer: Some(ana.customer), after, limit, ..EventFilter::default() };
    let all = store.list_events(&events(None, 100)).await.unwrap();
    assert!(all.is_sorted_by(|a, b| a.position > b.position) && all.len() == 6);
    let rest = store.list_events(&events(Some(all[1].event.id), 100)).await.unwrap();
    assert_eq!(rest.iter().map(|e| e.position).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(store.event(all[0].event.id).await.unwrap().unwrap().arrived_as, Some(ana.customer));
    let early = EventFilter { until: Some(at(2)), limit: 9, ..EventFilter::default() };
    assert_eq!(store.list_events(&early).await.unwrap().len(), 2);

    let deliveries = |after| DeliveryFilter { after, limit: 100, ..DeliveryFilter::default() };
    let all = memory.store.list_deliveries(&deliveries(None)).await.unwrap();
    for (n, delivery) in all.iter().enumerate() {
        let rest = memory.store.list_deliveries(&deliveries(Some(delivery.id))).await.unwrap();
        assert_eq!(rest, all[n + 1..], "behind row {n}");
    }
    let caused = SignalFilter { cause: commit.signals[2].cause, limit: 9, ..SignalFilter::default() };
    assert_eq!(store.list_signals(&caused).await.unwrap(), [commit.signals[2].clone()]);
    let fired = FiringFilter { occasion: Some("tick:3".to_owned()), limit: 9, ..FiringFilter::default() };
    let fired = store.list_firings(&fired).await.unwrap();
    assert_eq!(store.deliveries_of(fired[0].id).await.unwrap(), [Delivery::id_of(fired[0].id, 0, at(1))]);
    let members = CustomerFilter { segment: Some("all".to_owned()), limit: 9, ..CustomerFilter::default() };
    let members: Vec<_> = store.list_customers(&members).await.unwrap().into_iter().map(|c| c.customer).collect();
    assert_eq!(members, [customer(2).customer, ana.customer]);
    assert_eq!(store.segment_sizes().await.unwrap(), [("all".to_owned(), 2)]);
}

#[tokio::test]
async fn a_customer_of_whom_some_columns_were_read_is_not_taken_for_the_whole() {
    let dir = TempDir::new().unwrap();
    let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
    files.store.commit_batch(&Commit { customers: vec![customer(1)], ..Commit::default() }).await.unwrap();
    files.close().await;

    // Nobody is in memory yet.
    let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
    for (columns, n_segments) in [(Columns::Profile, 0), (Columns::All, 1), (Columns::Profile, 0)] {
        let scanned = files.store.scan_customers(columns, None, None, 10).await.unwrap();
        assert_eq!((scanned.len(), scanned[0].segments.len()), (1, n_segments), "{columns:?}");
    }
}
