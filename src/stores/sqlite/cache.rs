//! Customers as last derived, kept in memory while they fit: a sweep then costs the rules and not the reading. Only the
//! owner of the files keeps them, because only it sees every change.
//!
//! What fits stays, what does not is read each time. Nothing is thrown out to make room: a sweep passes everybody in turn,
//! and a cache that makes room for the next one has always just lost the one after.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::id::CustomerId;
use crate::stores::CustomerState;

/// Bytes of memory for the customers that are kept, by [`weight`].
const MAX_BYTES: usize = 96 << 20;

/// What a customer takes in memory, about: measured with 60,000 small profiles, whose text is 700 bytes and which take
/// 9.5 kB. Maps take room for eleven entries as soon as they have one, so what counts is how many maps there are.
fn weight(state: &CustomerState, n_text: usize) -> usize {
    let history = &state.profile.history.0;
    let n_series: usize = history.values().map(|one| 1 + one.by.values().map(BTreeMap::len).sum::<usize>()).sum();
    n_text + 3_000 + 1_500 * history.len() + 300 * n_series + 1_500 * state.profile.orders.0.len()
}

#[derive(Debug, Default)]
pub(super) struct Cache(Option<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// With the length of the profile's text.
    states: HashMap<CustomerId, (CustomerState, usize)>,
    n_bytes: usize,
    /// Nobody is kept apart from anybody, as in most installations: every batch would ask.
    none_separated: Option<bool>,
    /// Counts commits: what was read before one must not be kept after it.
    generation: u64,
}

/// What was known of the customers that a commit changes.
#[derive(Debug, Default)]
pub(super) struct Before(HashMap<CustomerId, (CustomerState, usize)>);

impl Before {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How long the text of this customer's profile is.
    pub(super) fn n_text(&self, id: CustomerId) -> Option<usize> {
        self.0.get(&id).map(|(_, n_text)| *n_text)
    }

    /// Whether this customer's scores and memberships are known to stand in the file as `state` says.
    pub(super) fn same_judgement(&self, state: &CustomerState) -> bool {
        self.same_segments(state)
            && self.0.get(&state.customer).is_some_and(|(before, _)| before.scores == state.scores)
    }

    /// Whether this customer's memberships are known to stand in the file as `state` says.
    pub(super) fn same_segments(&self, state: &CustomerState) -> bool {
        self.0.get(&state.customer).is_some_and(|(before, _)| before.segments == state.segments)
    }
}

impl Cache {
    pub(super) fn of_the_owner() -> Self {
        Cache(Some(Mutex::default()))
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.0.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that are here, and the generation to hand to [`Cache::keep`] with what had to be read.
    pub(super) fn find(&self, ids: &[CustomerId]) -> (HashMap<CustomerId, CustomerState>, u64) {
        let Some(kept) = self.kept() else { return (HashMap::new(), 0) };
        let found = ids.iter().filter_map(|id| Some((*id, kept.states.get(id)?.0.clone()))).collect();
        (found, kept.generation)
    }

    /// Keeps what was read in that generation, as far as there is room.
    pub(super) fn keep(&self, read: impl IntoIterator<Item = (CustomerState, usize)>, generation: u64) {
        let Some(mut kept) = self.kept() else { return };
        if kept.generation == generation {
            for (state, n_text) in read {
                kept.insert(state, n_text);
            }
        }
    }

    /// Whether it is known that nobody is kept apart.
    pub(super) fn none_separated(&self) -> bool {
        self.kept().is_some_and(|kept| kept.none_separated == Some(true))
    }

    /// What was read about that; `None` before a commit that changes it.
    pub(super) fn note_separated(&self, none: Option<bool>) {
        if let Some(mut kept) = self.kept() {
            kept.none_separated = none;
        }
    }

    /// Everything in the file may be otherwise now.
    pub(super) fn forget_all(&self) {
        let Some(mut kept) = self.kept() else { return };
        kept.generation += 1;
        kept.states.clear();
        kept.none_separated = None;
        kept.n_bytes = 0;
    }

    /// Before a commit that changes these: nobody may find them as they were. Says how that was.
    pub(super) fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a CustomerId>) -> Before {
        let mut forgotten = HashMap::new();
        let Some(mut kept) = self.kept() else { return Before(forgotten) };
        kept.generation += 1;
        for id in ids {
            if let Some((state, n_text)) = kept.states.remove(id) {
                kept.n_bytes -= weight(&state, n_text);
                forgotten.insert(*id, (state, n_text));
            }
        }
        Before(forgotten)
    }

    /// After it: these are as the commit left them.
    pub(super) fn learn(&self, committed: impl IntoIterator<Item = (CustomerState, usize)>) {
        let Some(mut kept) = self.kept() else { return };
        kept.generation += 1;
        for (state, n_text) in committed {
            kept.insert(state, n_text);
        }
    }
}

impl Kept {
    /// Without room the customer is not kept, and least of all as it was before.
    fn insert(&mut self, state: CustomerState, n_text: usize) {
        if let Some((before, n_text)) = self.states.remove(&state.customer) {
            self.n_bytes -= weight(&before, n_text);
        }
        let more = weight(&state, n_text);
        if self.n_bytes + more <= MAX_BYTES {
            self.n_bytes += more;
            self.states.insert(state.customer, (state, n_text));
        }
    }
}
