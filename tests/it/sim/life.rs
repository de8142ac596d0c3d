//! The life of one process, from its start to its stop or death. Everything it does to the disk passes through here, so a
//! life can be ended, and a call can fail, at any of them: before it took effect, or after it did and before the caller
//! learned of it. Between calls other tasks of the process get their turn, as many turns as the seed says.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rekindle::stores::{StoreError, StoreResult};
use tokio::sync::Notify;

use super::draw::Draw;
use super::journal::{Journal, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
}

pub(crate) struct Life {
    pub(crate) journal: Journal,
    draw: Mutex<Draw>,
    faults: Mutex<BTreeMap<u64, Fault>>,
    n_calls: AtomicU64,
    dead: AtomicBool,
    died: Notify,
}

impl Life {
    /// One in which `faults` strike at the calls of these numbers.
    pub(crate) fn new(journal: Journal, draw: Draw, faults: BTreeMap<u64, Fault>) -> Self {
        let (n_calls, dead, died) = Default::default();
        Life { journal, draw: Mutex::new(draw), faults: Mutex::new(faults), n_calls, dead, died }
    }

    /// One call to the disk: `work` does not wait, so it and its entry in the journal are one.
    pub(crate) async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = StoreResult<T>>,
        effect: impl FnOnce(&T) -> Option<What>,
    ) -> StoreResult<T> {
        let n = self.n_calls.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().remove(&n);
        self.let_others_run().await;
        let fails = |when: &str| {
            self.journal.note(What::Trouble(format!("call {n} ({name}) fails {when} it took effect")));
            Err(StoreError::Unavailable("simulated".to_owned()))
        };
        match fault {
            Some(Fault::FailsBefore) => return fails("before"),
            Some(Fault::DiesBefore) => self.die(&format!("at call {n} ({name}), before it took effect")).await,
            _ => {}
        }
        let answer = work.await;
        if let Some(what) = answer.as_ref().ok().and_then(effect) {
            self.journal.note(what);
        }
        self.let_others_run().await;
        match fault {
            Some(Fault::FailsAfter) => fails("after"),
            Some(Fault::DiesAfter) => self.die(&format!("at call {n} ({name}), after it took effect")).await,
            _ => answer,
        }
    }

    /// Nobody of this process gets any further than this once it is dead.
    pub(crate) async fn let_others_run(&self) {
        let turns = self.draw.lock().unwrap().below(3);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// `kill -9`.
    pub(crate) async fn die<T>(&self, how: &str) -> T {
        if !self.dead.swap(true, Ordering::SeqCst) {
            self.journal.note(What::Trouble(format!("the process dies {how}")));
            self.died.notify_one();
        }
        std::future::pending().await
    }

    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }

    /// From here on nothing strikes any more.
    pub(crate) fn spare(&self) {
        self.faults.lock().unwrap().clear();
    }
}
