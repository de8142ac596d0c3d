//! What is true afterwards, read from the files with plain SQL and from what the receivers remember.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use rekindle::domain::event::Fact;
use rekindle::domain::id::{CustomerId, DeliveryId, EventId};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::load::Books;
use super::receivers::{Message, Receiver};
use super::reference::{self, Key, Told};
use super::{Counts, N_CONNECTIONS};
use crate::real_daemon::carts::look_into;

/// A row of the ledger.
struct Entry {
    id: String,
    key: Key,
    state: String,
    reason: String,
}

/// Everything that is promised; what was counted on the way.
pub(super) async fn judge(dir: &Path, books: &Books, mail: &Receiver, webhooks: &Receiver, n_kills: usize) -> Counts {
    let data = dir.join("data");
    let (log, store) = (look_into(&data.join("log.db")).await, look_into(&data.join("store.db")).await);
    for pool in [&log, &store] {
        let word: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(pool).await.unwrap();
        assert_eq!(word, "ok");
    }
    let events = events(&store).await;
    let ledger = ledger(&store).await;
    every_acknowledged_event_is_there_once(&events, books);
    every_profile_has_counted_every_event_once(&store).await;
    let told: Vec<Told> = events.iter().map(|(_, _, told)| told.clone()).collect();
    the_ledger_is_what_the_reference_says(&ledger, &told);
    let traits: Vec<&str> =
        events.iter().filter(|(source, ..)| source == "rekindle").map(|(_, message, _)| message.as_str()).collect();
    what_stays_inside_happened_once(&store, &ledger, &traits).await;
    let mut counts = mails(&ledger, mail, n_kills);
    counts.n_events = events.len();
    counts.n_acknowledged = books.acknowledged.lock().unwrap().len();
    counts.n_deliveries = ledger.len();
    counts.n_webhook_duplicates = webhook_duplicates(&ledger, webhooks, n_kills);
    counts
}

/// Source, message id and what the reference wants to know, in stored order.
async fn events(store: &SqlitePool) -> Vec<(String, String, Told)> {
    let rows = sqlx::query("SELECT id, customer, fact FROM events ORDER BY position").fetch_all(store).await.unwrap();
    rows.iter()
        .map(|row| {
            let fact: Fact = serde_json::from_str(row.get("fact")).unwrap();
            let told = Told {
                id: EventId::from_bytes(bytes(row, "id")).to_string(),
                customer: CustomerId::from_bytes(bytes(row, "customer")).to_string(),
                name: fact.name.clone(),
                occurred_at: fact.occurred_at.as_micros(),
                order: fact.text("order_id"),
                traits: fact.traits.into(),
            };
            (fact.source, fact.message_id, told)
        })
        .collect()
}

async fn ledger(store: &SqlitePool) -> Vec<Entry> {
    let statement =
        "SELECT id, rule, subject, occasion, step, channel, state, coalesce(reason, '') AS reason FROM deliveries";
    let rows = sqlx::query(statement).fetch_all(store).await.unwrap();
    rows.iter()
        .map(|row| {
            let occasion: String = row.get("occasion");
            let occasion = if occasion.starts_with("signal:") { "signal".to_owned() } else { occasion };
            let customer = CustomerId::from_bytes(bytes(row, "subject")).to_string();
            Entry {
                id: DeliveryId::from_bytes(bytes(row, "id")).to_string(),
                key: (row.get("rule"), customer, occasion, row.get("step"), row.get("channel")),
                state: row.get("state"),
                reason: row.get("reason"),
            }
        })
        .collect()
}

fn bytes(row: &SqliteRow, column: &str) -> [u8; 16] {
    row.get::<Vec<u8>, _>(column).try_into().unwrap()
}

fn every_acknowledged_event_is_there_once(events: &[(String, String, Told)], books: &Books) {
    let ours: Vec<&String> = events.iter().filter(|(source, ..)| source == "app").map(|(_, id, _)| id).collect();
    let there: BTreeSet<&String> = ours.iter().copied().collect();
    assert_eq!(there.len(), ours.len(), "an event is there twice");
    let acknowledged = books.acknowledged.lock().unwrap();
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(lost.is_empty(), "{} acknowledged events are lost: {lost:?}", lost.len());
    let sent = books.sent.lock().unwrap();
    let made_up: Vec<&&String> = there.iter().filter(|id| !sent.contains(**id)).collect();
    assert!(made_up.is_empty(), "nobody sent {made_up:?}");
}

async fn every_profile_has_counted_every_event_once(store: &SqlitePool) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "SELECT hex(c.id) FROM customers AS c WHERE c.profile ->> 'n_events'
             IS NOT (SELECT count(*) FROM events AS e WHERE e.customer = c.id)",
    )
    .fetch_all(store)
    .await
    .unwrap();
    assert!(wrong.is_empty(), "the profiles of {wrong:?} have not counted each of their events once");
}

fn the_ledger_is_what_the_reference_says(ledger: &[Entry], told: &[Told]) {
    let expected = reference::expected(told);
    let there: BTreeSet<Key> = ledger.iter().map(|row| row.key.clone()).collect();
    assert_eq!(there.len(), ledger.len(), "one occasion has two deliveries");
    let missing: Vec<&Key> = expected.difference(&there).collect();
    let too_many: Vec<&Key> = there.difference(&expected).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "missing: {missing:#?}\ntoo many: {too_many:#?}");
    for row in ledger {
        // Dropped: the customer withdrew between deciding and sending.
        let allowed = match row.key.4.as_str() {
            "email" => row.state == "sent" || row.state == "unknown" || row.state == "dropped",
            _ => row.state == "sent",
        };
        assert!(allowed, "{} ({}) ended as {}: {}", row.id, row.key.4, row.state, row.reason);
        assert!(row.state != "dropped" || row.reason == "consent_withdrawn", "{} was dropped: {}", row.id, row.reason);
    }
}

/// Tasks are on the list, traits are events: one each.
async fn what_stays_inside_happened_once(store: &SqlitePool, ledger: &[Entry], traits: &[&str]) {
    let of =
        |channel| ledger.iter().filter(|row| row.key.4 == channel).map(|row| row.id.as_str()).collect::<BTreeSet<_>>();
    let tasks = sqlx::query("SELECT delivery FROM tasks").fetch_all(store).await.unwrap();
    let tasks: Vec<String> =
        tasks.iter().map(|row| DeliveryId::from_bytes(bytes(row, "delivery")).to_string()).collect();
    assert_eq!(tasks.iter().map(String::as_str).collect::<BTreeSet<_>>(), of("task"));
    assert_eq!(traits.iter().copied().collect::<BTreeSet<_>>(), of("trait"));
    assert_eq!(traits.len(), of("trait").len());
}

fn mails(ledger: &[Entry], server: &Receiver, n_kills: usize) -> Counts {
    let seen = server.messages();
    let by_id = of_channel(ledger, "email");
    no_ghosts_and_one_content_each(&seen, &by_id);
    let mut counts = Counts::default();
    for (id, row) in &by_id {
        let Message { n_taken, n_answered, .. } = seen.get(id).cloned().unwrap_or_default();
        assert!(n_taken <= 1, "the mail {id} was taken {n_taken} times");
        match row.state.as_str() {
            "sent" => assert_eq!(n_answered, 1, "{id} is sent, and the server never took it"),
            "unknown" if row.reason.starts_with("the daemon stopped") => counts.n_unknown_by_kill += 1,
            "unknown" => counts.n_unknown_by_server += 1,
            _ => assert_eq!(n_taken, 0, "{id} is {} and was taken", row.state),
        }
        counts.n_mails += n_taken;
        counts.n_unknown_that_arrived += usize::from(row.state == "unknown" && n_taken == 1);
    }
    assert!(counts.n_unknown_by_kill <= n_kills * N_CONNECTIONS, "{counts:?}");
    assert!(counts.n_unknown_by_server <= server.seen.n_closed.load(Ordering::SeqCst), "{counts:?}");
    counts
}

fn webhook_duplicates(ledger: &[Entry], receiver: &Receiver, n_kills: usize) -> usize {
    let seen = receiver.messages();
    let by_id = of_channel(ledger, "webhook").into_iter().map(|(id, row)| (id.to_uppercase(), row)).collect();
    no_ghosts_and_one_content_each(&seen, &by_id);
    let mut n_duplicates = 0;
    for (id, row) in &by_id {
        let message = seen.get(id).cloned().unwrap_or_default();
        assert!(message.n_answered >= 1, "{id} is {} and the receiver never answered it", row.state);
        n_duplicates += message.n_taken - 1;
    }
    let most = n_kills * N_CONNECTIONS + receiver.seen.n_closed.load(Ordering::SeqCst);
    assert!(n_duplicates <= most, "{n_duplicates} webhooks came again; kills and hang-ups explain {most}");
    n_duplicates
}

fn of_channel<'a>(ledger: &'a [Entry], channel: &str) -> BTreeMap<String, &'a Entry> {
    ledger.iter().filter(|row| row.key.4 == channel).map(|row| (row.id.clone(), row)).collect()
}

fn no_ghosts_and_one_content_each(seen: &BTreeMap<String, Message>, ledger: &BTreeMap<String, &Entry>) {
    for (id, message) in seen {
        assert!(ledger.contains_key(id), "a receiver got {id}, of which the ledger knows nothing");
        assert_eq!(message.contents.len(), 1, "{id} came with different contents");
    }
}
