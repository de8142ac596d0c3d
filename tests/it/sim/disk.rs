//! The surviving disk as one process sees it: every call passes through its [`Life`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::Identity;
use rekindle::domain::delivery::{Delivery, Firing};
use rekindle::domain::event::Event;
use rekindle::domain::id::{CustomerId, DeliveryId, FiringId};
use rekindle::domain::segment::Signal;
use rekindle::stores::{
    Append, Attempt, Columns, Commit, CustomerState, DeliveryFilter, LedgerCount, LedgerStore, LedgerView, ListedMerge,
    Log, LogRecord, Merge, ModelStore, Move, OperatorStore, ProfileStore, ReadStore, Separation, Store, StoreResult,
    StoredModel, Task, TickProgress, TickStore,
};

use super::journal::What;
use super::life::Life;
use super::memory::{MemoryLog, MemoryStore};

pub(crate) struct Disk {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) life: Arc<Life>,
}

impl Store for Disk {}

/// One part of the contract: first what changes nothing, then the rest.
macro_rules! part {
    ($trait:ident of $part:ident, reads { $($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)* } writes { $($rest:tt)* }) => {
        #[async_trait]
        impl $trait for Disk {
            $(async fn $name(&self, $($arg: $type),*) -> StoreResult<$answer> {
                self.life.call(stringify!($name), self.$part.$name($($arg),*), |_| None).await
            })*
            $($rest)*
        }
    };
}

part! { Log of log,
    reads {
        read_after(position: i64, max: usize) -> Vec<LogRecord>;
        end() -> i64;
        cursor(source: &str) -> Option<String>;
        trim(position: i64, before: Timestamp) -> u64;
        quarantine_counts() -> Vec<(String, String, u64)>;
    }
    writes {
        async fn append(&self, append: &Append) -> StoreResult<()> {
            let facts = append.facts.clone();
            self.life.call("append", self.log.append(append), |()| Some(What::Appended(facts))).await
        }
    }
}

part! { ProfileStore of store,
    reads {
        position() -> i64;
        known_keys(keys: &[[u8; 16]]) -> HashMap<[u8; 16], [u8; 16]>;
        find_identities(identities: &[Identity]) -> HashMap<Identity, CustomerId>;
        load_customers(ids: &[CustomerId]) -> HashMap<CustomerId, CustomerState>;
        scan_customers(columns: Columns, segment: Option<&str>, after: Option<CustomerId>, max: usize) -> Vec<CustomerState>;
        ledger_of(ids: &[CustomerId], since: Timestamp) -> HashMap<CustomerId, LedgerView>;
    }
    writes {
        async fn commit_batch(&self, commit: &Commit) -> StoreResult<()> {
            let copy = Box::new(commit.clone());
            self.life.call("commit_batch", self.store.commit_batch(commit), |()| Some(What::Committed(copy))).await
        }
    }
}

part! { TickStore of store,
    reads {
        ticks_of(schedules: &[&str]) -> (HashMap<String, Timestamp>, Vec<TickProgress>);
    }
    writes {
        async fn begin_ticks(&self, ticks: &[TickProgress]) -> StoreResult<()> {
            let copy = ticks.to_vec();
            self.life.call("begin_ticks", self.store.begin_ticks(ticks), |()| Some(What::TicksBegun(copy))).await
        }
    }
}

part! { ModelStore of store,
    reads {
        meta(key: &str) -> Option<String>;
        save_models(models: &[StoredModel]) -> ();
        models_at(at: Timestamp) -> Vec<StoredModel>;
    }
    writes {
        async fn set_meta(&self, key: &str, value: &str) -> StoreResult<()> {
            let copy = format!("{key} = {value}");
            self.life.call("set_meta", self.store.set_meta(key, value), |()| Some(What::MetaSet(copy))).await
        }
    }
}

part! { LedgerStore of store,
    reads {
        abandoned_deliveries(now: Option<Timestamp>) -> Vec<Delivery>;
        next_due(channel: Option<&str>) -> Option<Timestamp>;
    }
    writes {
        async fn claim_deliveries(
            &self,
            channel: &str,
            now: Timestamp,
            lease_until: Timestamp,
            max: usize,
        ) -> StoreResult<Vec<Delivery>> {
            let claim = self.store.claim_deliveries(channel, now, lease_until, max);
            let effect = |claimed: &Vec<Delivery>| (!claimed.is_empty()).then(|| What::Claimed(claimed.clone()));
            self.life.call("claim_deliveries", claim, effect).await
        }
        async fn apply_moves(&self, moves: &[Move]) -> StoreResult<Vec<bool>> {
            let effect = |made: &Vec<bool>| Some(What::Moved(moves.iter().cloned().zip(made.iter().copied()).collect()));
            self.life.call("apply_moves", self.store.apply_moves(moves), effect).await
        }
    }
}

part! { ReadStore of store,
    reads {
        delivery(id: DeliveryId) -> Option<Delivery>;
        attempts_of(id: DeliveryId) -> Vec<Attempt>;
        firing(id: FiringId) -> Option<Firing>;
        list_deliveries(filter: &DeliveryFilter) -> Vec<Delivery>;
        refusals_of(customer: CustomerId) -> Vec<(String, u32, String, u64, Timestamp)>;
        signals_of(customer: CustomerId) -> Vec<Signal>;
        events_of(customer: CustomerId, until: Timestamp, max: u32) -> Vec<Event>;
        scan_events(after: i64, max: usize) -> Vec<(i64, Event)>;
        ledger_counts() -> Vec<LedgerCount>;
        open_tasks(max: u32) -> Vec<Task>;
        event_counts() -> BTreeMap<String, u64>;
        waiting_deliveries() -> Vec<(String, String, u64)>;
    }
    writes {}
}

part! { OperatorStore of store,
    reads {
        list_merges(living: Option<CustomerId>, after: Option<(i64, CustomerId)>, max: u32) -> Vec<ListedMerge>;
        merge_of(absorbed: CustomerId) -> Option<Merge>;
        merges_into(living: CustomerId) -> Vec<Merge>;
        separations_of(living: &[CustomerId]) -> Vec<Separation>;
        events_filed(customer: CustomerId, position: i64, max: usize) -> Vec<(i64, CustomerId, Event)>;
        known_since(ids: &[CustomerId]) -> Vec<(CustomerId, Timestamp)>;
        handles_of(customer: CustomerId) -> Vec<Identity>;
        ledger_size(customer: CustomerId) -> (u64, u64, u64);
        settle_task(delivery: DeliveryId, done_at: Option<Timestamp>) -> bool;
    }
    writes {}
}
