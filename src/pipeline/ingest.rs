//! Ingest: facts are appended to the log and synced; only then is anybody told that we have them.

use async_trait::async_trait;

use crate::connectors::Quarantined;
use crate::domain::event::Fact;

/// Why facts were not taken in. The sender still has them and should try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// More is waiting to be written than may be; nothing was kept.
    #[error("too much is waiting to be written; try again in {retry_after_seconds} s")]
    Busy {
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// The daemon is stopping.
    #[error("the daemon is shutting down")]
    Draining,
    /// The log could not be written (a full disk, a locked file).
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
}

/// Where doors hand facts in.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Appends `facts` and `quarantined` to the log in one commit. Durable on return.
    async fn submit(&self, facts: Vec<Fact>, quarantined: Vec<Quarantined>) -> Result<(), IntakeError>;
}
