//! The doors and the log.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::family::{Books, Counters, Durations, Gauge};
use super::{Metrics, Stopwatch};

pub(super) struct Ingest {
    http_requests: Counters<2>,
    http_request_seconds: Durations<1>,
    intake_refusals: Counters<1>,
    events_logged: Counter,
    log_append_seconds: Histogram,
    inbox_waiting: Gauge,
    events_quarantined: Counters<1>,
}

impl Ingest {
    pub(super) fn new(books: &mut Books) -> Self {
        Ingest {
            http_requests: books.counters("http_requests", ["route", "status"], "HTTP requests answered"),
            http_request_seconds: books.durations(
                "http_request_seconds",
                ["route"],
                "From a request's head to its answer",
            ),
            intake_refusals: books.counters(
                "intake_refusals",
                ["reason"],
                "Times that events were sent away, to come again",
            ),
            events_logged: books.counter("events_logged", "Events acknowledged, repetitions among them"),
            log_append_seconds: books.duration(
                "log_append_seconds",
                "Commits of the log with their sync; each acknowledges all that waited",
            ),
            inbox_waiting: books.gauge("inbox_waiting", "Records handed in that the log has not written yet"),
            events_quarantined: books.counters(
                "events_quarantined",
                ["reason"],
                "Records put aside because they could not be used",
            ),
        }
    }
}

impl Metrics {
    /// A request to `route` (a pattern such as `/u/{token}`, never a path) was answered with `status`.
    pub fn http_request(&self, route: &'static str, status: u16, since: Stopwatch) {
        self.ingest.http_requests.add([route, &status.to_string()], 1);
        self.ingest.http_request_seconds.observe([route], since.seconds());
    }

    /// Events were not taken in for `reason` (`busy`, `draining`, `unavailable`).
    pub fn intake_refused(&self, reason: &'static str) {
        self.ingest.intake_refusals.add([reason], 1);
    }

    /// One commit of the log acknowledged `n_events`; `n_waiting` records came meanwhile.
    pub fn log_appended(&self, since: Stopwatch, n_events: usize, n_waiting: usize) {
        self.ingest.events_logged.inc_by(n_events as u64);
        self.ingest.log_append_seconds.observe(since.seconds());
        self.ingest.inbox_waiting.set(n_waiting as u64);
    }

    /// `n` records were put aside for `reason` (a [`crate::domain::quarantine::Quarantined::reason`]).
    pub fn events_quarantined(&self, reason: &str, n: u64) {
        self.ingest.events_quarantined.add([reason], n);
    }
}
