//! Records that were put aside because they could not be used as they came. Nothing is lost; everything can be looked at.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// A record that was put aside: nothing is lost, and it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Which source.
    pub source: String,
    /// Where in it: `orders.csv:1234`, or a message id.
    pub locator: String,
    /// A short code to count by: `bad_time`, `price_not_positive`.
    pub reason: String,
    /// What exactly is wrong and what to do, for people.
    pub message: String,
    /// The record as it came, cut at 64 KiB.
    pub record: String,
    /// When it was put aside.
    pub at: Timestamp,
}
