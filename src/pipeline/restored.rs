//! After a restore: what happened between the backup and now is decided once more, into the ledger and not into the world.
//!
//! A backup does not know what the daemon sent after it was made. The events that had not been derived, and the ticks that
//! were due since, would be decided again as if nobody had. So they are, before anything else runs, and every delivery that
//! comes of it is born `unknown`: cooldowns and caps hold from it, people see it, and nothing of it is sent.

use std::sync::Arc;

use super::{Pipeline, PipelineError};
use crate::schedule::CatchUp;
use crate::stores::RESTORED;

impl Pipeline {
    /// At the start of a store that was restored; on any other it does nothing. A crash in the middle begins it anew, and
    /// what is in the ledger already stays as it is.
    pub async fn settle_restored(&self) -> Result<(), PipelineError> {
        let reason = self.store.meta(RESTORED).await?.filter(|reason| !reason.is_empty());
        let Some(reason) = reason else { return Ok(()) };
        tracing::warn!(reason = %reason, "what may have been sent after the backup is settled as unknown, and not sent");
        let before = self.context();
        self.replace_context(|context| {
            context.doubt = Some(Arc::from(reason.as_str()));
            // A tick that was missed, however late, may have been swept by the daemon that is lost.
            context.catch_up = CatchUp::Last;
            for (_, _, max_lateness) in &mut context.schedules {
                *max_lateness = None;
            }
        });
        let settled = self.settle_all().await;
        self.replace_context(|context| {
            context.doubt = None;
            context.catch_up = before.catch_up;
            context.schedules.clone_from(&before.schedules);
        });
        settled?;
        Ok(self.store.set_meta(RESTORED, "").await?)
    }

    async fn settle_all(&self) -> Result<(), PipelineError> {
        self.settle_edited_segments().await?;
        self.derive_all(|_| ()).await?;
        for tick in self.due_ticks(self.clock.now()).await? {
            self.sweep(tick).await?;
        }
        Ok(())
    }
}
