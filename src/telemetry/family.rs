//! Families of figures: made together with their line in the catalogue, and asked for with exactly the labels that they
//! were made with.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// A whole number that goes up and down.
pub(super) type Gauge = gauge::Gauge<u64, AtomicU64>;

type Labels<const N: usize> = [(&'static str, String); N];

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it is scraped, without `_total`, `_bucket` and so on: `rekindle_events_accepted`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Which labels its samples have.
    pub labels: Vec<&'static str>,
    /// What it says.
    pub help: &'static str,
}

/// Where families are entered while they are made.
pub(super) struct Books {
    pub(super) registry: Registry,
    pub(super) entries: Vec<Entry>,
    prefix: &'static str,
}

/// Counters apart by labels.
pub(super) struct Counters<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Counter>,
}

/// Gauges apart by labels.
pub(super) struct Gauges<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Gauge>,
}

/// Durations apart by labels.
pub(super) struct Durations<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Histogram, fn() -> Histogram>,
}

impl Books {
    pub(super) fn new(prefix: &'static str) -> Self {
        Books { registry: Registry::with_prefix(prefix), entries: Vec::new(), prefix }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.enter(name, "counter", &[], help, Counter::default())
    }

    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &'static str,
        names: [&'static str; N],
        help: &'static str,
    ) -> Counters<N> {
        Counters { names, family: self.enter(name, "counter", &names, help, Family::default()) }
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.enter(name, "gauge", &[], help, Gauge::default())
    }

    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &'static str,
        names: [&'static str; N],
        help: &'static str,
    ) -> Gauges<N> {
        Gauges { names, family: self.enter(name, "gauge", &names, help, Family::default()) }
    }

    pub(super) fn duration(&mut self, name: &'static str, help: &'static str) -> Histogram {
        self.enter(name, "histogram", &[], help, seconds())
    }

    pub(super) fn durations<const N: usize>(
        &mut self,
        name: &'static str,
        names: [&'static str; N],
        help: &'static str,
    ) -> Durations<N> {
        let family = Family::new_with_constructor(seconds as fn() -> Histogram);
        Durations { names, family: self.enter(name, "histogram", &names, help, family) }
    }

    pub(super) fn info<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        info: Info<[(&'static str, &'static str); N]>,
        names: &[&'static str],
    ) {
        self.registry.register(name, help, info);
        self.note(name, "info", names, help);
    }

    /// The encoder appends `_total` to counters, `_info` to infos, and a full stop to each help text.
    fn enter<M: Metric + Clone>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        names: &[&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        self.registry.register(name, help, metric.clone());
        self.note(name, kind, names, help);
        metric
    }

    fn note(&mut self, name: &str, kind: &'static str, names: &[&'static str], help: &'static str) {
        self.entries.push(Entry { name: format!("{}_{name}", self.prefix), kind, labels: names.to_vec(), help });
    }
}

impl<const N: usize> Counters<N> {
    pub(super) fn add(&self, values: [&str; N], n: u64) {
        self.family.get_or_create(&labels(self.names, values)).inc_by(n);
    }
}

impl<const N: usize> Gauges<N> {
    pub(super) fn of(&self, values: [&str; N]) -> Gauge {
        self.family.get_or_create(&labels(self.names, values)).clone()
    }

    /// Forgets what is not stated anew.
    pub(super) fn clear(&self) {
        self.family.clear();
    }
}

impl<const N: usize> Durations<N> {
    pub(super) fn observe(&self, values: [&str; N], seconds: f64) {
        self.family.get_or_create(&labels(self.names, values)).observe(seconds);
    }
}

fn labels<const N: usize>(names: [&'static str; N], values: [&str; N]) -> Labels<N> {
    let mut values = values.into_iter().map(str::to_owned);
    names.map(|name| (name, values.next().unwrap_or_default()))
}

/// From half a millisecond to half a minute: a sync of the disk lies near the one end, a receiver's patience near the other.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 17))
}
