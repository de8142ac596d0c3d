//! What a store must do, asked through the contracts alone so that a second store can be held to it: add a line to
//! `every_store!` and all of this runs against it. Each file asks about one subject; `alike.rs` of the simulation compares
//! what nobody asks here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle::domain::action::Action;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::event::Fact;
use rekindle::domain::id::CustomerId;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Commit, CustomerState, DeliveryFilter, Log, Move, Store};
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
        mod on_sqlite { $( #[tokio::test] async fn $case() { super::$case(crate::store_conformance::sqlite().await).await; } )* }
        mod on_memory { $( #[tokio::test] async fn $case() { super::$case(crate::store_conformance::maps()).await; } )* }
    };
}

mod customers;
mod deliveries;
mod listings;
mod log;
mod progress;

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
