//! One run of a script over one subject: what it may do now, what it has looked at, and what it wants done. A run belongs
//! to one call on one thread; nothing outlives it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rhai::{EvalAltResult, Position};
use serde_json::Value;

use crate::domain::action::Action;
use crate::domain::rule::Seen;
use crate::domain::subject::Subject;

/// More than this in one firing is a runaway loop, not a campaign.
const MOST_ACTIONS: usize = 20;

/// More reads than this are no longer an explanation.
const MOST_SEEN: usize = 200;

/// Which function is being run: reading is always allowed, acting only in `then`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Phase {
    /// A function of `segments.rhai`.
    Segment,
    /// A rule's `when`.
    When,
    /// A rule's `then`.
    Then,
}

#[derive(Debug)]
struct Notes {
    phase: Phase,
    seen: Vec<Seen>,
    actions: Vec<Action>,
}

/// One run.
#[derive(Debug)]
pub(in crate::rules) struct Run {
    pub(in crate::rules) subject: Subject,
    traced: bool,
    notes: Mutex<Notes>,
}

impl Run {
    /// With `traced`, every value read is noted for `why`.
    pub(in crate::rules) fn new(subject: &Subject, phase: Phase, traced: bool) -> Self {
        let notes = Notes { phase, seen: Vec::new(), actions: Vec::new() };
        Run { subject: subject.clone(), traced, notes: Mutex::new(notes) }
    }

    // A panic inside a native function leaves only notes behind that are as good as before.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From `when` on to `then`.
    pub(in crate::rules) fn enter(&self, phase: Phase) {
        self.notes().phase = phase;
    }

    pub(super) fn phase(&self) -> Phase {
        self.notes().phase
    }

    /// Notes that `what` was read, once: the subject does not change during a run, so neither does the value.
    pub(super) fn see(&self, what: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        if !self.traced {
            return;
        }
        let what = what();
        let mut notes = self.notes();
        if notes.seen.len() < MOST_SEEN && !notes.seen.iter().any(|seen| seen.what == what) {
            notes.seen.push(Seen { what, value: value() });
        }
    }

    /// Notes that `action` is wanted.
    pub(super) fn record(&self, action: Action) -> Result<(), String> {
        let mut notes = self.notes();
        if notes.actions.len() >= MOST_ACTIONS {
            return Err(format!("one firing may want at most {MOST_ACTIONS} actions"));
        }
        notes.actions.push(action);
        Ok(())
    }

    /// What was read, in order.
    pub(in crate::rules) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.notes().seen)
    }

    /// What is wanted, in order.
    pub(in crate::rules) fn take_actions(&self) -> Vec<Action> {
        std::mem::take(&mut self.notes().actions)
    }
}

/// An error for the script; Rhai adds the position of the call.
#[expect(clippy::unnecessary_box_returns, reason = "a native function must answer with a box")]
pub(super) fn raise(message: String) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}
