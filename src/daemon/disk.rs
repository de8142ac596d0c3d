//! What happens when the disk is full: events are refused, the ballast is thrown away, and what is under way is written down
//! in the room that this gives back. It is laid again, and events are taken in again, when there is room.
//!
//! ```text
//!          free < a quarter of the ballast, or a write found no room
//!  roomy ───────────────────────────────────────────────────────────▶ full: 507, /readyz 503, ballast gone
//!        ◀───────────────────────────────────────────────────────────
//!          free ≥ one and a half times the ballast
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::health::Health;
use crate::stores::sqlite::SqliteFiles;
use crate::stores::sqlite::ballast::Ballast;

/// Where a quota is the cause, free room says nothing, and the only way to find out is to try. Not more often than this.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The disk under the databases.
pub(super) struct Disk {
    ballast: Ballast,
    state: State,
}

enum State {
    /// Not looked at yet.
    New,
    Roomy,
    Full {
        not_before: Option<Instant>,
    },
}

impl Disk {
    pub(super) fn new(ballast: Ballast) -> Self {
        Disk { ballast, state: State::New }
    }

    /// One look; says what changes, once.
    pub(super) async fn look(&mut self, health: &Health, files: &SqliteFiles) {
        let free = match self.ballast.free() {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(error = %error, "free room cannot be told");
                return;
            }
        };
        let (low, enough) = (self.ballast.low(), self.ballast.enough());
        let tried_in_vain = health.ran_out_of_room();
        let not_before = tried_in_vain.then(|| Instant::now() + TRY_AGAIN);
        let stays_full =
            |not_before: &Option<Instant>| not_before.is_some_and(|at| at > Instant::now()) || free < enough;
        match &self.state {
            // A start on a disk that was full, and still is.
            State::New if !self.ballast.is_there() && free < enough => self.fills_up(free, None, health, files).await,
            State::New | State::Roomy if free < low || tried_in_vain => {
                self.fills_up(free, not_before, health, files).await;
            }
            State::New | State::Roomy => {
                self.state = State::Roomy;
                if free >= enough {
                    self.lay();
                }
            }
            State::Full { .. } if tried_in_vain => self.state = State::Full { not_before },
            State::Full { not_before } if stays_full(not_before) => {}
            State::Full { .. } => {
                self.state = State::Roomy;
                health.set_disk_full(false);
                tracing::info!(free_bytes = free, "there is room again, events are taken in");
                self.lay();
            }
        }
    }

    async fn fills_up(&mut self, free: u64, not_before: Option<Instant>, health: &Health, files: &SqliteFiles) {
        self.state = State::Full { not_before };
        health.set_disk_full(true);
        let enough = self.ballast.enough() >> 20;
        tracing::error!(
            free_bytes = free,
            "the disk is full: events are refused until {enough} MiB are free beside the database; deliveries go on in the \
             room of the ballast"
        );
        if let Err(error) = self.ballast.throw_away() {
            tracing::error!(error = %error, "the ballast could not be thrown away");
        }
        // The room of the write-ahead logs too.
        if let Err(error) = files.checkpoint().await {
            tracing::warn!(error = %error, "the write-ahead logs could not be folded back");
        }
    }

    fn lay(&self) {
        if let Err(error) = self.ballast.lay() {
            tracing::warn!(error = %error, "no ballast could be laid beside the databases; a full disk will be harder to get out of");
        }
    }
}
