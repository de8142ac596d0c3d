//! What the daemon counts, for Prometheus: one file for each stage of the pipeline. One registry per daemon, handed around as
//! a value: nothing here is global, so two daemons in one test process do not count into each other.
//!
//! Labels have few values and never name a customer: reasons, channels, states, routes, rule ids and segments. Times are in
//! seconds. `docs/reference/metrics.md` is made of [`Metrics::catalogue`] and held to it.
#![warn(missing_docs)]

mod decide;
mod deliver;
mod derive;
mod family;
mod ingest;

use std::fmt;
use std::time::Instant;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::decide::Decide;
use self::deliver::Deliver;
pub use self::deliver::InFlight;
use self::derive::Derive;
pub use self::family::Entry;
use self::family::{Books, Gauge};
use self::ingest::Ingest;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All counters, gauges and histograms. Every method may be called from any task.
pub struct Metrics {
    registry: Registry,
    entries: Vec<Entry>,
    ingest: Ingest,
    derive: Derive,
    decide: Decide,
    deliver: Deliver,
    reloads: Counter,
    problems: Gauge,
    steps: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// Since when something has been going on. For figures only: nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

impl Metrics {
    /// All at zero. `version` in `rekindle_build_info` is this crate's.
    pub fn new() -> Self {
        let mut books = Books::new("rekindle");
        let ingest = Ingest::new(&mut books);
        let derive = Derive::new(&mut books);
        let decide = Decide::new(&mut books);
        let deliver = Deliver::new(&mut books);
        let reloads = books.counter("reloads", "Times that rules and templates were read again");
        let problems = books.gauge("problems", "Errors in rules and templates as last read");
        let steps = books.counter("steps", "Steps of the deciding loop: rounds, batches, chunks of sweeps");
        books.info("build", "Which build this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]), &["version"]);
        let Books { registry, entries, .. } = books;
        Metrics { registry, entries, ingest, derive, decide, deliver, reloads, problems, steps }
    }

    /// Rules and templates were read again; `n_problems` errors were found.
    pub fn reloaded(&self, n_problems: u64) {
        self.reloads.inc();
        self.problems(n_problems);
    }

    /// Rules and templates were read at the start; `n` errors were found.
    pub fn problems(&self, n: u64) {
        self.problems.set(n);
    }

    /// Whoever decides has come one step further. The watchdog believes in nothing else.
    pub fn step(&self) {
        self.steps.inc();
    }

    /// How many steps that were so far.
    pub fn n_steps(&self) -> u64 {
        self.steps.get()
    }

    /// Everything that there is to be seen, in the order of the stages.
    pub fn catalogue(&self) -> &[Entry] {
        &self.entries
    }

    /// All values as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_the_name_that_dashboards_ask_for() {
        let metrics = Metrics::new();
        metrics.events_accepted(3);
        metrics.events_duplicate(1);
        metrics.events_quarantined("bad_time", 2);
        metrics.http_request("/v1/batch", 200, Stopwatch::start());
        metrics.deliveries("email", "sent", 4);
        metrics.refusals("no_consent", 5);
        metrics.firings("win_back", 6);
        metrics.log_backlog(7);
        metrics.reloaded(8);
        let text = metrics.render();
        let version = concat!("rekindle_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
        for line in [
            "rekindle_events_accepted_total 3",
            "rekindle_events_duplicate_total 1",
            "rekindle_events_quarantined_total{reason=\"bad_time\"} 2",
            "rekindle_http_requests_total{route=\"/v1/batch\",status=\"200\"} 1",
            "rekindle_http_request_seconds_count{route=\"/v1/batch\"} 1",
            "rekindle_deliveries_total{channel=\"email\",state=\"sent\"} 4",
            "rekindle_refusals_total{reason=\"no_consent\"} 5",
            "rekindle_firings_total{rule=\"win_back\"} 6",
            "rekindle_log_backlog 7",
            "rekindle_reloads_total 1",
            "rekindle_problems 8",
            version,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
        assert!(text.contains("# HELP rekindle_events_accepted Unique events stored.\n"), "{text}");
        assert!(text.contains("# TYPE rekindle_events_accepted counter\n") && text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn what_is_in_flight_is_counted_down_however_it_ends() {
        let metrics = Metrics::new();
        let line = |n: u32| format!("rekindle_deliveries_in_flight{{channel=\"email\"}} {n}\n");
        let (one, two) = (metrics.in_flight("email"), metrics.in_flight("email"));
        assert!(metrics.render().contains(&line(2)), "{}", metrics.render());
        drop((one, two));
        assert!(metrics.render().contains(&line(0)), "{}", metrics.render());
    }

    #[test]
    fn a_queue_that_has_become_empty_shows_nothing_waiting() {
        let metrics = Metrics::new();
        metrics.waiting(&[("email".to_owned(), "held".to_owned(), 3)]);
        assert!(metrics.render().contains("rekindle_deliveries_waiting{channel=\"email\",state=\"held\"} 3"));
        metrics.waiting(&[]);
        assert!(!metrics.render().contains("rekindle_deliveries_waiting{"), "{}", metrics.render());
    }
}
