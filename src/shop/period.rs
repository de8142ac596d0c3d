//! What happened, ready to be written down: the whole history, or one day of June.

use std::path::Path;
use std::sync::Arc;

use super::ShopError;
use super::blemishes::Plan;
use super::files::{self, ExportSummary};
use super::records::Record;
use super::scene::Stage;
use super::sheet::Mode;
use crate::domain::clock::Timestamp;

/// What happened in some days, sorted by time, to be written down.
#[derive(Debug)]
pub struct Period {
    stage: Arc<Stage>,
    days: std::ops::Range<usize>,
    pub(super) records: Vec<Record>,
    plan: Plan,
}

impl Period {
    pub(super) fn new(
        stage: Arc<Stage>,
        days: std::ops::Range<usize>,
        mut records: Vec<Record>,
        plan: impl FnOnce(&[Record]) -> Plan,
    ) -> Self {
        records.sort_unstable_by_key(Record::key);
        let plan = plan(&records);
        Period { stage, days, records, plan }
    }

    /// The first instant of the period, and the first after it.
    pub fn bounds(&self) -> (Timestamp, Timestamp) {
        self.stage.calendar.bounds(self.days.clone())
    }

    /// Writes the whole period into `dir` as `customers.csv`, `orders.csv`, `refunds.csv` and `events.jsonl`.
    pub fn write(&self, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<ExportSummary, ShopError> {
        files::write(&self.stage, &self.records, &self.plan, 0..self.records.len(), dir, Mode::Anew, progress)
    }

    /// Appends what happened at or after `from` and before `until` to the same four files, which are begun where they do
    /// not exist: a shop that writes on while it is watched. Call it for one stretch of time after another. After a
    /// restart remove the files and append again what had been appended: the bytes are the same.
    pub fn append_between(&self, dir: &Path, from: Timestamp, until: Timestamp) -> Result<ExportSummary, ShopError> {
        let position = |at: Timestamp| self.records.partition_point(|r| r.at * 1_000_000 < at.as_micros());
        let range = position(from)..position(until).max(position(from));
        files::write(&self.stage, &self.records, &self.plan, range, dir, Mode::Append, &mut |_, _| {})
    }
}
