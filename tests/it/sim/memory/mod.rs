//! A log and a store in plain maps: the second store that the conformance suite holds, and the disk of the simulator. It
//! outlives the processes that use it: handles are cheap to clone and lead to the same maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::Identity;
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::id::{CustomerId, DeliveryId, FiringId, SignalId};
use rekindle::domain::profile::Profile;
use rekindle::domain::score::Scores;
use rekindle::domain::segment::Signal;
use rekindle::stores::{Attempt, CustomerState, Merge, Separation, Store, StoredModel, Task};

mod deriving;
mod ledger;
mod log;
mod operating;
mod reading;

#[derive(Clone, Default)]
pub(crate) struct MemoryLog(Arc<Mutex<Inbox>>);

#[derive(Default)]
struct Inbox {
    end: i64,
    facts: BTreeMap<i64, Fact>,
    cursors: BTreeMap<String, String>,
    /// Source, reason, record.
    quarantine: BTreeSet<(String, String, String)>,
}

#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<Tables>>);

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap()
    }
}

impl Store for MemoryStore {}

/// One map per thing that is kept.
#[derive(Default)]
struct Tables {
    position: i64,
    meta: BTreeMap<String, String>,
    events: BTreeMap<i64, Event>,
    /// Position → whose that event was when it came.
    arrived_as: BTreeMap<i64, CustomerId>,
    /// Dedupe key → hash of the body.
    keys: BTreeMap<[u8; 16], [u8; 16]>,
    customers: BTreeMap<CustomerId, Row>,
    judgements: BTreeMap<CustomerId, Judgement>,
    identities: BTreeMap<Identity, CustomerId>,
    signals: BTreeMap<SignalId, Signal>,
    firings: BTreeMap<FiringId, Firing>,
    /// Signal, firing or delivery → whose it was at first.
    subjects: BTreeMap<[u8; 16], CustomerId>,
    /// Rule, customer as decided, occasion: decided once.
    decided: BTreeMap<(String, CustomerId, String), FiringId>,
    deliveries: BTreeMap<DeliveryId, Leased>,
    /// Rule, customer as decided, occasion, step: exists once.
    steps: BTreeSet<(String, CustomerId, String, u32)>,
    attempts: BTreeMap<DeliveryId, Vec<Attempt>>,
    /// By rule, customer as decided, step and reason.
    refusals: BTreeMap<(String, CustomerId, u32, String), Counted>,
    tasks: BTreeMap<DeliveryId, Task>,
    done_tasks: BTreeSet<DeliveryId>,
    /// By who was absorbed.
    merges: BTreeMap<CustomerId, Merge>,
    /// By the two as stated.
    separations: BTreeMap<(CustomerId, CustomerId), Separation>,
    /// Schedule and tick → last customer done, and when it was done.
    ticks: BTreeMap<(String, Timestamp), (Option<CustomerId>, Option<Timestamp>)>,
    models: BTreeMap<(String, Timestamp), StoredModel>,
}

type Judgement = (Arc<Scores>, Arc<BTreeMap<String, bool>>);

struct Row {
    created_at: Timestamp,
    merged_into: Option<CustomerId>,
    profile: Arc<Profile>,
}

struct Counted {
    customer: CustomerId,
    n: u64,
    last_at: Timestamp,
    last_occasion: String,
}

struct Leased {
    delivery: Delivery,
    until: Option<Timestamp>,
}

impl Tables {
    /// Who this is today; `None` for somebody who never was.
    fn today(&self, mut id: CustomerId) -> Option<CustomerId> {
        while let Some(survivor) = self.customers.get(&id)?.merged_into {
            id = survivor;
        }
        Some(id)
    }

    fn state(&self, customer: CustomerId) -> Option<CustomerState> {
        let row = self.customers.get(&customer).filter(|row| row.merged_into.is_none())?;
        let (scores, segments) = self.judgements.get(&customer).cloned().unwrap_or_default();
        Some(CustomerState { customer, created_at: row.created_at, profile: row.profile.clone(), scores, segments })
    }

    fn living(&self) -> impl DoubleEndedIterator<Item = CustomerId> {
        self.customers.iter().filter(|(_, row)| row.merged_into.is_none()).map(|(id, _)| *id)
    }
}

fn waits(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Due | DeliveryState::Held)
}

fn under_way(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Leased | DeliveryState::Committing)
}
