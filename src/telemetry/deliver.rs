//! Deliveries on their way.

use super::family::{Books, Counters, Durations, Gauge, Gauges};
use super::{Metrics, Stopwatch};

pub(super) struct Deliver {
    deliveries: Counters<2>,
    waiting: Gauges<2>,
    in_flight: Gauges<1>,
    attempt_seconds: Durations<1>,
}

/// Counts one delivery as in flight for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Deliver {
    pub(super) fn new(books: &mut Books) -> Self {
        Deliver {
            deliveries: books.counters("deliveries", ["channel", "state"], "Deliveries that came into a state"),
            waiting: books.gauges(
                "deliveries_waiting",
                ["channel", "state"],
                "Deliveries that are due, held, under way, or unknown",
            ),
            in_flight: books.gauges(
                "deliveries_in_flight",
                ["channel"],
                "Deliveries that this process is carrying out",
            ),
            attempt_seconds: books.durations(
                "delivery_attempt_seconds",
                ["channel"],
                "Attempts, from the rendering to the receiver's answer",
            ),
        }
    }
}

impl Metrics {
    /// `n` deliveries of `channel` came into `state`
    /// (a [`DeliveryState::as_str`](crate::domain::delivery::DeliveryState::as_str)).
    pub fn deliveries(&self, channel: &str, state: &str, n: u64) {
        self.deliver.deliveries.add([channel, state], n);
    }

    /// A delivery of `channel` is being carried out until the returned value is dropped.
    pub fn in_flight(&self, channel: &str) -> InFlight {
        let gauge = self.deliver.in_flight.of([channel]);
        gauge.inc();
        InFlight(gauge)
    }

    /// An attempt through `channel` has ended, however.
    pub fn attempted(&self, channel: &str, since: Stopwatch) {
        self.deliver.attempt_seconds.observe([channel], since.seconds());
    }

    /// All deliveries that are not final, and the unknown ones: channel, state, how many.
    pub fn waiting(&self, counts: &[(String, String, u64)]) {
        self.deliver.waiting.clear();
        for (channel, state, n) in counts {
            self.deliver.waiting.of([channel, state]).set(*n);
        }
    }
}
