//! The kinds of delivery. A channel carries one delivery out and says what came of it. It is handed a [`CommitPoint`] to
//! await just before the irreversible byte, and it declares what doubt means.
//!
//! A new kind is one new file and one line in the registry.
#![warn(missing_docs)]

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Delivery, Doubt, Outcome};

/// Everything that a channel is given for one attempt.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What to do, under which key.
    pub delivery: Delivery,
    /// The address, for channels that write to the person.
    pub email: Option<String>,
    /// What templates see as `customer`.
    pub customer: Map<String, Value>,
    /// Where this customer leaves this topic; only on marketing mail.
    pub unsubscribe_url: Option<String>,
    /// When this attempt began.
    pub now: Timestamp,
}

/// Makes the intent durable. A channel awaits it just before the byte that cannot be taken back, and sends nothing when it
/// fails.
#[async_trait]
pub trait CommitPoint: Send + Sync {
    /// Durable on return. An error (the lease was lost, the disk is full) means: do not send.
    async fn commit(&self) -> Result<(), String>;
}

/// One way out.
#[async_trait]
pub trait Channel: Send + Sync {
    /// The [`crate::domain::action::Action::channel`] that this channel carries out.
    fn name(&self) -> &'static str;

    /// What to do with an attempt of which a crash hid the end.
    fn doubt(&self) -> Doubt;

    /// How many attempts it can carry out side by side.
    fn concurrency(&self) -> usize;

    /// One attempt.
    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome;
}
