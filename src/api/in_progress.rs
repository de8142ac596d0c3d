//! Which requests are being answered at this moment, so that a stop can name those it had to cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All requests in progress, by route: a path can hold a token, or anything that a stranger asks for.
#[derive(Clone, Default)]
pub(super) struct InProgress(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// One of them; it ends when this is dropped.
pub(super) struct Request {
    all: InProgress,
    route: &'static str,
}

impl InProgress {
    pub(super) fn begin(&self, route: &'static str) -> Request {
        *self.lock().entry(route).or_default() += 1;
        Request { all: self.clone(), route }
    }

    /// `2 x /v1/batch, 1 x /v1/track`
    pub(super) fn in_words(&self) -> String {
        let all: Vec<String> =
            self.lock().iter().filter(|(_, n)| **n > 0).map(|(route, n)| format!("{n} x {route}")).collect();
        all.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        *self.all.lock().entry(self.route).or_default() -= 1;
    }
}
