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
    Roomy,
    Full { not_before: Option<Instant> },
}

impl Disk {
    pub(super) fn new(ballast: Ballast) -> Self {
        Disk { ballast, state: State::Roomy }
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
        let tried_in_vain = health.ran_out_of_room();
        let not_before = tried_in_vain.then(|| Instant::now() + TRY_AGAIN);
        match &self.state {
            State::Roomy if free < self.ballast.low() || tried_in_vain => {
                self.state = State::Full { not_before };
                health.set_disk_full(true);
                let enough = self.ballast.enough() >> 20;
                tracing::error!(
                    free_bytes = free,
                    "the disk is full: events are refused until {enough} MiB are free beside the database; deliveries go \
                     on in the room of the ballast"
                );
                self.throw_away();
                checkpoint(files).await;
            }
            State::Roomy if !self.ballast.is_there() && free >= self.ballast.enough() => self.lay(),
            State::Full { .. } if tried_in_vain => self.state = State::Full { not_before },
            State::Full { not_before }
                if free >= self.ballast.enough() && not_before.is_none_or(|at| at <= Instant::now()) =>
            {
                self.state = State::Roomy;
                health.set_disk_full(false);
                tracing::info!(free_bytes = free, "there is room again, events are taken in");
                self.lay();
            }
            _ => {}
        }
    }

    fn lay(&self) {
        if let Err(error) = self.ballast.lay() {
            tracing::warn!(error = %error, "no ballast could be laid beside the databases; a full disk will be harder to get out of");
        }
    }

    fn throw_away(&self) {
        if let Err(error) = self.ballast.throw_away() {
            tracing::error!(error = %error, "the ballast could not be thrown away");
        }
    }
}

/// Gives back the room of the write-ahead logs too.
async fn checkpoint(files: &SqliteFiles) {
    if let Err(error) = files.checkpoint().await {
        tracing::warn!(error = %error, "the write-ahead logs could not be folded back");
    }
}
