//! The kinds of source. A connector hands over a [`Batch`] of facts and a cursor that says how far it has come; the caller
//! stores both in one commit, so after a crash it is asked again from the last stored cursor and nothing is lost or
//! counted twice.
//!
//! A new kind is one new file and one line in [`SourceKind`].
#![warn(missing_docs)]

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;

pub use crate::domain::quarantine::Quarantined;

/// What a connector hands over at once: bounded by the connector, a few thousand facts at most.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Facts in the order of the source.
    pub facts: Vec<Fact>,
    /// What could not be made into a fact, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// How far the source has been read with this batch; opaque to everybody but the connector.
    pub cursor: String,
    /// Counts of this batch alone.
    pub counts: Counts,
    /// Nothing follows for now.
    pub done: bool,
    /// Bytes read and to be read in all, where the source knows: for the progress bar.
    pub progress: Option<(u64, u64)>,
}

/// What happened to a batch's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records (rows, lines) read.
    pub n_records: u64,
    /// Records dropped because the same record stood in the same group already.
    pub n_duplicate_records: u64,
    /// Facts made.
    pub n_facts: u64,
    /// Records quarantined.
    pub n_quarantined: u64,
}

/// Why nothing could be handed over.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The source does not answer now; ask again later.
    #[error("{0}")]
    Retry(String),
    /// The source cannot be read as configured; asking again will not help.
    #[error("{0}")]
    Invalid(String),
}

/// One configured source.
#[async_trait]
pub trait Connector: Send {
    /// The name under which its events are stored.
    fn source(&self) -> &str;

    /// The next batch after `cursor` (`None`: from the beginning). `now` is when the facts are received.
    async fn pull(&mut self, cursor: Option<&str>, now: Timestamp) -> Result<Batch, ConnectorError>;
}
/// (stub)
#[derive(Clone, Debug, serde::Deserialize)]
pub struct SourceConfig {
    #[doc = "x"]
    pub name: String,
    #[doc = "x"]
    pub path: Option<std::path::PathBuf>,
}
impl SourceConfig {
    #[doc = "x"]
    pub fn validate(&self) -> Vec<String> {
        vec![]
    }
    #[doc = "x"]
    pub fn open(
        &self,
        _: Option<&std::path::Path>,
        _: &crate::domain::clock::Business,
    ) -> Result<Box<dyn Connector>, ConnectorError> {
        Err(ConnectorError::Invalid(String::new()))
    }
}
