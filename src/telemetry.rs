//! What the daemon counts, for Prometheus. One registry per daemon, handed around as a value: nothing here is global, so
//! two daemons in one test process do not count into each other.
//!
//! Labels have few values and never name a customer: reasons, channels, states, routes, and rule ids.
#![warn(missing_docs)]

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// All counters and gauges. Every method may be called from any task.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events_accepted: Counter,
    events_duplicate: Counter,
    events_quarantined: Counters<1>,
    http_requests: Counters<2>,
    deliveries: Counters<2>,
    refusals: Counters<1>,
    firings: Counters<1>,
    log_backlog: Gauge<u64, AtomicU64>,
    reloads: Counter,
    problems: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero. `version` in `rekindle_build_info` is this crate's.
    pub fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("rekindle"),
            events_accepted: Counter::default(),
            events_duplicate: Counter::default(),
            events_quarantined: Family::default(),
            http_requests: Family::default(),
            deliveries: Family::default(),
            refusals: Family::default(),
            firings: Family::default(),
            log_backlog: Gauge::default(),
            reloads: Counter::default(),
            problems: Gauge::default(),
        };
        // The encoder appends `_total` to counters, `_info` to infos, and a full stop to each help text.
        let registry = &mut metrics.registry;
        registry.register("events_accepted", "Unique events stored", metrics.events_accepted.clone());
        registry.register("events_duplicate", "Events dropped as repetitions", metrics.events_duplicate.clone());
        registry.register(
            "events_quarantined",
            "Records put aside because they could not be used",
            metrics.events_quarantined.clone(),
        );
        registry.register("http_requests", "HTTP requests answered", metrics.http_requests.clone());
        registry.register("deliveries", "Deliveries that came into a state", metrics.deliveries.clone());
        registry.register("refusals", "Messages that were not let through", metrics.refusals.clone());
        registry.register("firings", "Evaluations that said yes and were admitted", metrics.firings.clone());
        registry.register("log_backlog", "Events in the log that are not yet in profiles", metrics.log_backlog.clone());
        registry.register("reloads", "Times that rules and templates were read again", metrics.reloads.clone());
        registry.register("problems", "Errors in rules and templates as last read", metrics.problems.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which build this is", version);
        metrics
    }

    /// `n` events were new and are stored; counted where duplicates are found, so each event counts once.
    pub fn events_accepted(&self, n: u64) {
        self.events_accepted.inc_by(n);
    }

    /// `n` events had been stored before and were dropped.
    pub fn events_duplicate(&self, n: u64) {
        self.events_duplicate.inc_by(n);
    }

    /// `n` records were put aside for `reason` (a [`crate::domain::quarantine::Quarantined::reason`]).
    pub fn events_quarantined(&self, reason: &str, n: u64) {
        self.events_quarantined.get_or_create(&[("reason", reason.to_owned())]).inc_by(n);
    }

    /// A request to `route` (a pattern such as `/u/{token}`, never a path) was answered with `status`.
    pub fn http_request(&self, route: &'static str, status: u16) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        self.http_requests.get_or_create(&labels).inc();
    }

    /// `n` deliveries of `channel` came into `state`
    /// (a [`DeliveryState::as_str`](crate::domain::delivery::DeliveryState::as_str)).
    pub fn deliveries(&self, channel: &str, state: &str, n: u64) {
        let labels = [("channel", channel.to_owned()), ("state", state.to_owned())];
        self.deliveries.get_or_create(&labels).inc_by(n);
    }

    /// `n` messages were refused for `reason` (a [`Refusal::as_str`](crate::domain::consent::Refusal::as_str)).
    pub fn refusals(&self, reason: &str, n: u64) {
        self.refusals.get_or_create(&[("reason", reason.to_owned())]).inc_by(n);
    }

    /// `rule` fired for `n` customers.
    pub fn firings(&self, rule: &str, n: u64) {
        self.firings.get_or_create(&[("rule", rule.to_owned())]).inc_by(n);
    }

    /// `n` events wait in the log.
    pub fn log_backlog(&self, n: u64) {
        self.log_backlog.set(n);
    }

    /// Rules and templates were read again; `n_problems` errors were found.
    pub fn reloaded(&self, n_problems: u64) {
        self.reloads.inc();
        self.problems.set(n_problems);
    }

    /// Rules and templates were read at the start; `n` errors were found.
    pub fn problems(&self, n: u64) {
        self.problems.set(n);
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
        metrics.http_request("/v1/batch", 200);
        metrics.deliveries("email", "sent", 4);
        metrics.refusals("no_consent", 5);
        metrics.firings("win_back", 6);
        metrics.log_backlog(7);
        metrics.reloaded(8);
        let text = metrics.render();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let version = concat!("rekindle_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
        let expected = [
            "rekindle_events_accepted_total 3",
            "rekindle_events_duplicate_total 1",
            "rekindle_events_quarantined_total{reason=\"bad_time\"} 2",
            "rekindle_http_requests_total{route=\"/v1/batch\",status=\"200\"} 1",
            "rekindle_deliveries_total{channel=\"email\",state=\"sent\"} 4",
            "rekindle_refusals_total{reason=\"no_consent\"} 5",
            "rekindle_firings_total{rule=\"win_back\"} 6",
            "rekindle_log_backlog 7",
            "rekindle_reloads_total 1",
            "rekindle_problems 8",
            version,
        ];
        assert_eq!(samples, expected);
        assert!(text.contains("# HELP rekindle_events_accepted Unique events stored.\n"), "{text}");
        assert!(text.contains("# TYPE rekindle_events_accepted counter\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
