//! Deriving goes on while the batch before is written: what that batch has decided is taken from memory, and everything else
//! from the store, which may or may not have it by then. Nothing of it is counted twice either way.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::customer::Identity;
use crate::domain::id::CustomerId;
use crate::stores::{Commit, CustomerState, LedgerView, Store, StoreError, StoreResult};
use crate::telemetry::Stopwatch;

/// Dedupe key → hash of the body.
pub(super) type Keys = HashMap<[u8; 16], [u8; 16]>;

/// What is to be counted of a batch once it is written.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) n_records: u64,
    /// Those that were not duplicates.
    pub(super) n_fresh: u64,
    pub(super) since: Stopwatch,
    /// Of the last record.
    pub(super) received_at: Timestamp,
}

/// A batch that is decided and being written.
pub(super) struct Ahead {
    commit: Arc<Commit>,
    keys: Keys,
    customers: HashMap<CustomerId, CustomerState>,
    pub(super) counts: Counts,
    writing: AbortOnDropHandle<StoreResult<()>>,
}

impl Ahead {
    /// Whether a batch can be derived behind `commit` before that is written: a merge, or taking one back, moves rows which
    /// only the store knows.
    pub(super) fn is_possible(commit: &Commit) -> bool {
        commit.merges.is_empty() && commit.split.is_none() && commit.separations.is_empty()
    }

    /// Begins to write `commit`; `keys` are those of its events.
    pub(super) fn begin(store: Arc<dyn Store>, commit: Commit, keys: Keys, counts: Counts) -> Self {
        let commit = Arc::new(commit);
        let customers = commit.customers.iter().map(|state| (state.customer, state.clone())).collect();
        let written = commit.clone();
        let writing = tokio::spawn(async move { store.commit_batch(&written).await });
        Ahead { commit, keys, customers, counts, writing: AbortOnDropHandle::new(writing) }
    }

    /// Where the log is derived from up to, once it is written.
    pub(super) fn last(&self) -> i64 {
        self.commit.position.unwrap_or_default()
    }

    /// Durable on return.
    pub(super) async fn written(self) -> StoreResult<()> {
        let written = self.writing.await;
        written.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("writing a batch was given up: {error}"))))
    }

    pub(super) fn add_keys(&self, known: &mut Keys) {
        known.extend(&self.keys);
    }

    /// Of the handles that were asked for.
    pub(super) fn add_identities(&self, asked: &[Identity], found: &mut HashMap<Identity, CustomerId>) {
        if self.commit.identities.is_empty() {
            return;
        }
        let new: HashMap<&Identity, CustomerId> = self.commit.identities.iter().map(|(i, c)| (i, *c)).collect();
        for identity in asked {
            if let Some(customer) = new.get(identity) {
                found.insert(identity.clone(), *customer);
            }
        }
    }

    /// As that batch leaves it; `None` for a customer that it does not touch.
    pub(super) fn customer(&self, id: CustomerId) -> Option<&CustomerState> {
        self.customers.get(&id)
    }

    /// What that batch adds to the ledger.
    pub(super) fn add_ledger(&self, views: &mut HashMap<CustomerId, LedgerView>) {
        for firing in &self.commit.firings {
            let view = views.entry(firing.customer).or_default();
            view.last_firing
                .entry(firing.rule.clone())
                .and_modify(|at| *at = (*at).max(firing.at))
                .or_insert(firing.at);
            view.occasions.insert((firing.rule.clone(), firing.occasion.clone()));
        }
        for delivery in self.commit.deliveries.iter().filter(|d| d.class == Some(MessageClass::Marketing)) {
            let contacts = &mut views.entry(delivery.customer).or_default().contacts;
            if !contacts.iter().any(|(_, id)| *id == delivery.id) {
                contacts.push((delivery.due_at.max(delivery.decided_at), delivery.id));
                contacts.sort_unstable();
            }
        }
    }
}
