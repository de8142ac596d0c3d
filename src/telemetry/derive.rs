//! Behind the log: dedupe, unify, fold, score.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::family::{Books, Counters, Gauge};
use super::{Metrics, Stopwatch};
use crate::domain::clock::Timestamp;

pub(super) struct Derive {
    events_accepted: Counter,
    events_duplicate: Counter,
    customers_merged: Counter,
    log_backlog: Gauge,
    lag_seconds: Gauge,
    batch_seconds: Histogram,
    customers_scored: Counter,
    signals: Counters<2>,
}

impl Derive {
    pub(super) fn new(books: &mut Books) -> Self {
        Derive {
            events_accepted: books.counter("events_accepted", "Unique events stored"),
            events_duplicate: books.counter("events_duplicate", "Events dropped as repetitions"),
            customers_merged: books.counter("customers_merged", "Customers who turned out to be another one"),
            log_backlog: books.gauge("log_backlog", "Events in the log that are not yet in profiles"),
            lag_seconds: books
                .gauge("derive_lag_seconds", "Age of the last event of the last batch when it was stored"),
            batch_seconds: books.duration("derive_batch_seconds", "Batches derived from the log, with their commit"),
            customers_scored: books.counter("customers_scored", "Customers judged by the models and the segments"),
            signals: books.counters("signals", ["segment", "transition"], "Segments entered and left"),
        }
    }
}

impl Metrics {
    /// `n` events were new and are stored; counted where duplicates are found, so each event counts once.
    pub fn events_accepted(&self, n: u64) {
        self.derive.events_accepted.inc_by(n);
    }

    /// `n` events had been stored before and were dropped.
    pub fn events_duplicate(&self, n: u64) {
        self.derive.events_duplicate.inc_by(n);
    }

    /// `n` events wait in the log.
    pub fn log_backlog(&self, n: u64) {
        self.derive.log_backlog.set(n);
    }

    /// A batch was derived and committed at `now`; its last event had come at `received_at`.
    pub fn batch_derived(&self, since: Stopwatch, received_at: Timestamp, now: Timestamp) {
        self.derive.batch_seconds.observe(since.seconds());
        self.derive.lag_seconds.set(u64::try_from(now.since(received_at).as_secs()).unwrap_or(0));
        self.step();
    }

    /// `n` customers were absorbed by others.
    pub fn customers_merged(&self, n: u64) {
        self.derive.customers_merged.inc_by(n);
    }

    /// `n` customers were judged.
    pub fn customers_scored(&self, n: u64) {
        self.derive.customers_scored.inc_by(n);
    }

    /// A customer's membership changed (a [`Transition::as_str`](crate::domain::segment::Transition::as_str)).
    pub fn signal(&self, segment: &str, transition: &str) {
        self.derive.signals.add([segment, transition], 1);
    }
}
