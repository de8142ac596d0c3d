//! The log: what was told is kept in order, whole, and cut off only where nobody needs it.

use rekindle::domain::event::Fact;
use rekindle::domain::quarantine::Quarantined;
use rekindle::stores::Append;

use super::{Memory, at, fact, sqlite};

every_store!(
    the_log_gives_back_what_was_appended_in_order_and_never_reuses_a_position,
    a_batch_its_cursor_and_its_quarantine_are_one,
    what_is_cut_off_in_pieces_is_cut_off_to_the_record,
);

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

async fn what_is_cut_off_in_pieces_is_cut_off_to_the_record(memory: Memory) {
    memory.log.append(&Append { facts: (0..2_500).map(fact).collect(), ..Append::default() }).await.unwrap();
    let end = memory.log.end().await.unwrap();
    assert_eq!(memory.log.trim(end, at(2_400)).await.unwrap(), 2_400);
    assert_eq!(memory.log.read_after(0, 1).await.unwrap()[0].fact, fact(2_400));
    assert_eq!(memory.log.trim(end - 50, at(9_999)).await.unwrap(), 50);
    assert_eq!(memory.log.read_after(0, 100).await.unwrap().len(), 50);
}

/// Of files: in memory a cut takes no time.
#[tokio::test]
async fn while_much_is_cut_off_others_get_their_turn_to_append() {
    let memory = sqlite().await;
    memory.log.append(&Append { facts: (0..5_000).map(fact).collect(), ..Append::default() }).await.unwrap();
    let end = memory.log.end().await.unwrap();
    let front = async || memory.log.read_after(0, 1).await.unwrap()[0].position;
    let first = front().await;
    let mut seen = Vec::new();
    let appending = async {
        while seen.last().is_none_or(|position| *position <= end) {
            memory.log.append(&Append { facts: vec![fact(5_000)], ..Append::default() }).await.unwrap();
            seen.push(front().await);
        }
    };
    let (n_removed, ()) = tokio::join!(memory.log.trim(end, at(9_999)), appending);
    assert_eq!(n_removed.unwrap(), 5_000);
    assert!(seen.iter().any(|position| first < *position && *position <= end), "nobody came in between: {seen:?}");
}
