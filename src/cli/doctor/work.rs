//! What the daemon does: what waits, what is in doubt, what was put aside, what should have run.

use jiff::SignedDuration;

use super::{Check, Patient};
use crate::cli::local;
use crate::cli::output::grouped;
use crate::domain::clock::Timestamp;
use crate::stores::listing::{EventFilter, ListStore};
use crate::stores::{LedgerStore, Log, ModelStore, ProfileStore, ReadStore, StoreResult, TickStore};

/// More records than this that were acknowledged and not derived from are a backlog.
const BACKLOG: u64 = 10_000;
/// A delivery that is due waits seconds, not this long.
const DUE_WAITS: SignedDuration = SignedDuration::from_mins(15);
/// A sweep takes minutes, not this long.
const SWEEP_TAKES: SignedDuration = SignedDuration::from_hours(1);
/// Two daily rescorings and a bit.
const FIT_LASTS: SignedDuration = SignedDuration::from_hours(50);
/// Clocks of senders differ by so much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// Events that are looked at for the future.
const NEWEST: u32 = 1_000;

pub(super) async fn checks(patient: &Patient<'_>) -> Vec<Check> {
    vec![
        Check::of("log", patient.backlog().await),
        Check::of("due", patient.due().await),
        Check::of("ledger", patient.ledger().await),
        Check::of("quarantine", patient.quarantine().await),
        Check::of("schedules", patient.schedules().await),
        Check::of("models", patient.models().await),
        Check::of("clock", patient.clock().await),
    ]
}

impl Patient<'_> {
    async fn backlog(&self) -> StoreResult<Check> {
        let behind = self.files.log.end().await?.saturating_sub(self.files.store.position().await?);
        let behind = behind.max(0).unsigned_abs();
        let found = format!("{} events are acknowledged and not yet derived from", grouped(behind));
        Ok(match (behind, self.is_running) {
            (0, _) => Check::ok("log", "everything that was acknowledged is derived from"),
            (n, true) if n > BACKLOG => {
                Check::warn("log", found, "wait while it falls; if it does not, read the daemon's log for errors")
            }
            (_, true) => Check::ok("log", found),
            (_, false) => Check::warn("log", found, "start the daemon: it goes on where it stopped"),
        })
    }

    async fn due(&self) -> StoreResult<Check> {
        let Some(oldest) = self.files.store.next_due(None).await? else {
            return Ok(Check::ok("due", "nothing waits to leave"));
        };
        if oldest.plus(DUE_WAITS) > self.now {
            return Ok(Check::ok("due", format!("the next delivery leaves {}", self.local(oldest))));
        }
        let found = format!("the oldest delivery has been due since {}", self.local(oldest));
        Ok(if self.is_running {
            let remedy = "its channel refuses or hangs: `rekindle deliveries list --state due`, then `smtp` and `webhooks` below";
            Check::fail("due", found, remedy)
        } else {
            Check::warn("due", found, "start the daemon; what has become too late will expire and not be sent")
        })
    }

    async fn ledger(&self) -> StoreResult<Check> {
        let counts = self.files.store.ledger_counts().await?;
        let n = |state: &str| -> u64 {
            counts.iter().filter(|count| count.1 != "refused" && count.2 == state).map(|count| count.3).sum()
        };
        let (unknown, failed, sent) = (n("unknown"), n("failed"), n("sent"));
        Ok(if unknown > 0 {
            let found = format!("{} deliveries are unknown: they may or may not have arrived", grouped(unknown));
            let remedy = "`rekindle deliveries list --state unknown`; ask the mail server's log for the Message-ID";
            Check::warn("ledger", found, remedy)
        } else if failed > 0 {
            let found = format!("{} deliveries failed for good, {} were sent", grouped(failed), grouped(sent));
            Check::warn("ledger", found, "`rekindle deliveries list --state failed`: have many the same reason?")
        } else {
            Check::ok("ledger", format!("{} deliveries sent, none failed, none unknown", grouped(sent)))
        })
    }

    async fn quarantine(&self) -> StoreResult<Check> {
        let counts = self.files.log.quarantine_counts().await?;
        if counts.is_empty() {
            return Ok(Check::ok("quarantine", "nothing is put aside"));
        }
        let each: Vec<String> = counts.iter().map(|(s, reason, n)| format!("{} {reason} ({s})", grouped(*n))).collect();
        let remedy = "`rekindle quarantine list`; correct the sender or the mapping";
        Ok(Check::warn("quarantine", each.join(", "), remedy))
    }

    async fn schedules(&self) -> StoreResult<Check> {
        let (_, open) = self.files.store.ticks_of(&[]).await?;
        let late = open.iter().filter(|tick| tick.at.plus(SWEEP_TAKES) < self.now);
        let late: Vec<String> = late.map(|tick| format!("{} of {}", tick.schedule, self.local(tick.at))).collect();
        Ok(if late.is_empty() {
            Check::ok("schedules", "no run was begun and left unfinished")
        } else {
            let remedy = "a running daemon goes on with them; if it does not, its log says why";
            Check::warn("schedules", format!("begun and not finished: {}", late.join(", ")), remedy)
        })
    }

    async fn models(&self) -> StoreResult<Check> {
        let fits = self.files.store.models_at(Timestamp::MAX).await?;
        let rescore = self.config.models.rescore;
        let Some(oldest) = fits.iter().map(|fit| fit.fitted_at).min() else {
            let remedy = format!("they are fitted daily at {rescore} ([models] rescore) and after every import");
            return Ok(Check::warn("models", "none is fitted yet, so nobody has scores", remedy));
        };
        let found = format!("{} models, fitted {}", fits.len(), self.local(oldest));
        Ok(if oldest.plus(FIT_LASTS) < self.now {
            let remedy = format!("the daily rescoring at {rescore} has not run: is the daemon up at that hour?");
            Check::warn("models", found, remedy)
        } else {
            Check::ok("models", found)
        })
    }

    /// Our clock against what came in.
    async fn clock(&self) -> StoreResult<Check> {
        let filter = EventFilter { limit: NEWEST, ..EventFilter::default() };
        let events = self.files.store.list_events(&filter).await?;
        let ahead = |at: Timestamp| at > self.now.plus(CLOCKS_DIFFER);
        let received = events.iter().map(|event| event.event.fact.received_at).max();
        if let Some(received) = received.filter(|received| ahead(*received)) {
            let found = format!("it is {}, and an event was received {}", self.local(self.now), self.local(received));
            return Ok(Check::fail("clock", found, "this machine's clock was set back: set it right (NTP)"));
        }
        let n = events.iter().filter(|event| ahead(event.event.fact.occurred_at)).count();
        Ok(if n > 0 {
            let found = format!("{n} of the last {} events happened in the future", events.len());
            let remedy = "`rekindle events list` shows their source: its clock or its time zone is wrong";
            Check::warn("clock", found, remedy)
        } else {
            Check::ok("clock", format!("{}, no event from the future", self.local(self.now)))
        })
    }

    fn local(&self, at: Timestamp) -> String {
        local(at, self.config)
    }
}
