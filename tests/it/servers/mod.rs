//! Real servers for the tests to talk to: they listen on a port of this machine, behave as they are told, and remember
//! every word.

pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod smtp;

use std::sync::{Arc, Mutex};

/// What happened, in order, from whatever side.
#[derive(Clone, Default)]
pub(crate) struct Happenings(Arc<Mutex<Vec<String>>>);

impl Happenings {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How many begin so.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.all().iter().filter(|what| what.starts_with(beginning)).count()
    }
}
