//! Rules and sweeps.

use super::family::{Books, Counters, Durations};
use super::{Metrics, Stopwatch};

pub(super) struct Decide {
    evaluations: Counters<2>,
    firings: Counters<1>,
    refusals: Counters<1>,
    ticks: Counters<2>,
    sweep_seconds: Durations<1>,
    swept_customers: Counters<1>,
}

impl Decide {
    pub(super) fn new(books: &mut Books) -> Self {
        Decide {
            evaluations: books.counters(
                "evaluations",
                ["rule", "result"],
                "Customers that a rule was asked about: yes, no, failed",
            ),
            firings: books.counters("firings", ["rule"], "Evaluations that said yes and were admitted"),
            refusals: books.counters("refusals", ["reason"], "Messages that were not let through"),
            ticks: books.counters(
                "ticks",
                ["schedule", "fate"],
                "Ticks that were swept, or skipped because they were too late",
            ),
            sweep_seconds: books.durations(
                "sweep_seconds",
                ["schedule"],
                "Sweeps, from the first customer to the last",
            ),
            swept_customers: books.counters("swept_customers", ["schedule"], "Customers looked at by sweeps"),
        }
    }
}

impl Metrics {
    /// `rule` was asked about `n` customers: `yes`, `no`, or `failed` where its script did.
    pub fn evaluations(&self, rule: &str, result: &'static str, n: u64) {
        if n > 0 {
            self.decide.evaluations.add([rule, result], n);
        }
    }

    /// `rule` fired for `n` customers.
    pub fn firings(&self, rule: &str, n: u64) {
        self.decide.firings.add([rule], n);
    }

    /// `n` messages were refused for `reason` (a [`Refusal::as_str`](crate::domain::consent::Refusal::as_str)).
    pub fn refusals(&self, reason: &str, n: u64) {
        self.decide.refusals.add([reason], n);
    }

    /// A tick of `schedule` was missed by too much.
    pub fn tick_skipped(&self, schedule: &str) {
        self.decide.ticks.add([schedule, "skipped"], 1);
    }

    /// A tick of `schedule` was carried out.
    pub fn tick_swept(&self, schedule: &str, since: Stopwatch) {
        self.decide.ticks.add([schedule, "swept"], 1);
        self.decide.sweep_seconds.observe([schedule], since.seconds());
    }

    /// A sweep of `schedule` has looked at `n` more customers.
    pub fn swept(&self, schedule: &str, n: usize) {
        self.decide.swept_customers.add([schedule], n as u64);
        self.step();
    }
}
