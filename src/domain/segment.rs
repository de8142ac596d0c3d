//! Segments: named sets of customers by condition, and the signals of entering and leaving them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::id::{CustomerId, EventId, SignalId};

/// Segment → whether the customer is in it. A name that is absent was never asked about.
pub type Memberships = BTreeMap<String, bool>;

/// Into a segment, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// The customer now fulfils the condition and did not before.
    Entered,
    /// The other way round.
    Left,
}

impl Transition {
    /// The word that stores and listings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Transition::Entered => "entered",
            Transition::Left => "left",
        }
    }
}

/// A derived fact that wakes rules. Never folded: a signal follows from events, it is not one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Derived from customer, segment, transition and cause, so the same change is the same signal after a crash.
    pub id: SignalId,
    /// Who.
    pub customer: CustomerId,
    /// Which segment.
    pub segment: String,
    /// Which way.
    pub transition: Transition,
    /// When it was noticed.
    pub at: Timestamp,
    /// The event that caused it; `None` when time alone did (the daily rescoring).
    pub cause: Option<EventId>,
}

impl Signal {
    /// A signal under its deterministic id.
    pub fn new(
        customer: CustomerId,
        segment: &str,
        transition: Transition,
        at: Timestamp,
        cause: Option<EventId>,
    ) -> Self {
        let origin = cause.map_or_else(|| at.as_micros().to_be_bytes().to_vec(), |e| e.as_bytes().to_vec());
        let id =
            SignalId::derive(at, &[customer.as_bytes(), segment.as_bytes(), transition.as_str().as_bytes(), &origin]);
        Signal { id, customer, segment: segment.to_owned(), transition, at, cause }
    }
}
