//! Customers as last derived, kept in memory while they fit: a sweep then costs the rules and not the reading. Only the
//! owner of the files keeps them, because only it sees every change.
//!
//! What fits stays, what does not is read each time. Nothing is thrown out to make room: a sweep passes everybody in turn,
//! and a cache that makes room for the next one has always just lost the one after.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::id::CustomerId;
use crate::stores::CustomerState;

/// Stored text, in bytes, of the customers that are kept. In memory they take two to three times as much.
const MAX_TEXT: usize = 40 << 20;

#[derive(Debug, Default)]
pub(super) struct Cache(Option<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    states: HashMap<CustomerId, (CustomerState, usize)>,
    n_text: usize,
    /// Nobody is kept apart from anybody, as in most installations: every batch would ask.
    none_separated: Option<bool>,
    /// Counts commits: what was read before one must not be kept after it.
    generation: u64,
}

/// What was known of the customers that a commit changes.
#[derive(Debug, Default)]
pub(super) struct Before(HashMap<CustomerId, (CustomerState, usize)>);

impl Before {
    /// How long the text of this customer's profile is.
    pub(super) fn n_text(&self, id: CustomerId) -> Option<usize> {
        self.0.get(&id).map(|(_, n_text)| *n_text)
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
        kept.n_text = 0;
    }

    /// Before a commit that changes these: nobody may find them as they were. Says how that was.
    pub(super) fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a CustomerId>) -> Before {
        let mut forgotten = HashMap::new();
        let Some(mut kept) = self.kept() else { return Before(forgotten) };
        kept.generation += 1;
        for id in ids {
            if let Some((state, n_text)) = kept.states.remove(id) {
                kept.n_text -= n_text;
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
        if let Some((_, before)) = self.states.remove(&state.customer) {
            self.n_text -= before;
        }
        if self.n_text + n_text <= MAX_TEXT {
            self.n_text += n_text;
            self.states.insert(state.customer, (state, n_text));
        }
    }
}
