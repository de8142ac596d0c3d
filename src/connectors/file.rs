//! A file as a source: what `csv` and `jsonl` share. Records are grouped, groups are mapped, and what is complete is
//! handed over with a cursor; see [`super::group`] for what the cursor says.

use std::path::PathBuf;

use async_trait::async_trait;

use super::csv::CsvRecords;
use super::group::{Cursor, Group, Grouper};
use super::input::{Input, read_error};
use super::jsonl::JsonLines;
use super::origin::MapRecords;
use super::plugin::{Plugin, RecordFormat};
use super::row::Records;
use super::{Batch, Connector, ConnectorError, Quarantined, RECORD_BYTES_KEPT, Skipped, SourceConfig};
use crate::domain::clock::{Business, Timestamp};

/// When a batch is full. Looked at where a group ends, so one group may go beyond.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "counts begin with n_ everywhere")]
pub(super) struct BatchLimits {
    pub(super) n_facts: usize,
    pub(super) n_records: u64,
    pub(super) n_bytes: usize,
}

pub(super) const LIMITS: BatchLimits = BatchLimits { n_facts: 2_000, n_records: 20_000, n_bytes: 8 * 1024 * 1024 };

/// One file.
pub(super) struct FileConnector {
    config: SourceConfig,
    path: PathBuf,
    mapper: Box<dyn MapRecords>,
    format: RecordFormat,
    limits: BatchLimits,
    open: Option<Reading>,
}

/// A file that is being read.
struct Reading {
    records: Box<dyn Records>,
    grouper: Grouper,
    /// The cursor that was handed over last; `None` before the first.
    cursor: Option<String>,
    /// A plain file that has grown can be read on; a compressed one must be read again.
    compressed: bool,
    /// How long the file was when its end was reached.
    ended_at: Option<u64>,
    /// Why reading stopped, kept until what was read before has been handed over.
    failed: Option<ConnectorError>,
}

impl FileConnector {
    /// Opens the file and looks at its header, so that what is wrong with either is known at once.
    pub(super) fn open(config: SourceConfig, path: PathBuf, business: &Business) -> Result<Self, ConnectorError> {
        let (mapper, format) = config.mapper(business)?;
        FileConnector::start_with(config, path, mapper, format)
    }

    /// Opens a file of records that `plugin` understands.
    pub(super) fn open_plugin(
        config: SourceConfig,
        path: PathBuf,
        plugin: Plugin,
        business: &Business,
    ) -> Result<Self, ConnectorError> {
        let format = plugin.format();
        let mapper = Box::new(plugin.mapper(&config, business).map_err(ConnectorError::Invalid)?);
        FileConnector::start_with(config, path, mapper, format)
    }

    fn start_with(
        config: SourceConfig,
        path: PathBuf,
        mapper: Box<dyn MapRecords>,
        format: RecordFormat,
    ) -> Result<Self, ConnectorError> {
        let mut connector = FileConnector { config, path, mapper, format, limits: LIMITS, open: None };
        connector.open = Some(connector.start(None)?);
        Ok(connector)
    }

    #[cfg(test)]
    pub(super) fn with_limits(mut self, limits: BatchLimits) -> Self {
        self.limits = limits;
        self
    }

    fn start(&self, cursor: Option<&Cursor>) -> Result<Reading, ConnectorError> {
        let input = Input::open(&self.path)?;
        let compressed = input.compressed();
        // A live file may end in the middle of a line that is being written.
        let (n_bytes_max, growing) = (self.config.max_line_bytes, !self.config.imported && !compressed);
        let records: Box<dyn Records> = match self.format {
            RecordFormat::Csv => {
                let required = self.mapper.columns();
                Box::new(CsvRecords::open(input, &self.path, self.config.delimiter(), n_bytes_max, growing, &required)?)
            }
            RecordFormat::Jsonl => Box::new(JsonLines::new(input, n_bytes_max, growing)),
        };
        let cuts = cursor.map(|cursor| cursor.cuts.clone()).unwrap_or_default();
        let grouper = Grouper::new(&self.mapper.seed(), self.mapper.drops_duplicates(), cuts);
        Ok(Reading { records, grouper, cursor: None, compressed, ended_at: None, failed: None })
    }

    /// Reads up to a stored cursor again, counting what was counted then, and makes sure that it is the same.
    fn resume(&self, text: &str) -> Result<Reading, ConnectorError> {
        let cursor: Cursor = serde_json::from_str(text).map_err(|error| {
            let source = &self.config.name;
            ConnectorError::Invalid(format!("the stored position of source `{source}` cannot be read: {error}"))
        })?;
        let mut reading = self.start(Some(&cursor))?;
        while reading.grouper.n_rows() < cursor.rows {
            let record = reading.records.next().map_err(|error| read_error(&self.path, &error))?;
            let Some(record) = record else { return Err(self.changed(cursor.rows)) };
            reading.grouper.push(record, |row| self.mapper.place(row));
        }
        reading.grouper.finish();
        if reading.grouper.cursor().digest != cursor.digest {
            return Err(self.changed(cursor.rows));
        }
        reading.cursor = Some(text.to_owned());
        Ok(reading)
    }

    fn changed(&self, n_rows: u64) -> ConnectorError {
        ConnectorError::Invalid(format!(
            "{} is not the file that {n_rows} rows of source `{}` were read from (or it is grouped in another way now); \
             read it with `rekindle import --from-start`, and what is known already is not counted twice",
            self.path.display(),
            self.config.name
        ))
    }

    /// The file's place right behind `cursor`: where reading stopped, if that is it.
    fn at(&mut self, cursor: Option<&str>) -> Result<Reading, ConnectorError> {
        match self.open.take() {
            Some(reading) if reading.cursor.as_deref() == cursor && !reading.must_reopen(&self.path) => Ok(reading),
            _ => match cursor {
                None => self.start(None),
                Some(cursor) => self.resume(cursor),
            },
        }
    }

    fn fill(&self, reading: &mut Reading, now: Timestamp) -> Batch {
        let mut batch = Batch::default();
        let mut n_bytes = 0;
        reading.ended_at = None;
        loop {
            let full = batch.facts.len() >= self.limits.n_facts
                || batch.counts.n_records >= self.limits.n_records
                || n_bytes >= self.limits.n_bytes;
            if full {
                break;
            }
            let groups = match reading.records.next() {
                Ok(Some(record)) => reading.grouper.push(record, |row| self.mapper.place(row)),
                Ok(None) => {
                    batch.done = true;
                    reading.ended_at = std::fs::metadata(&self.path).ok().map(|metadata| metadata.len());
                    reading.grouper.finish().into_iter().collect()
                }
                Err(error) => {
                    reading.failed = Some(read_error(&self.path, &error));
                    break;
                }
            };
            for group in groups {
                n_bytes += group.n_bytes;
                self.hand_over(group, now, &mut batch);
            }
            if batch.done {
                break;
            }
        }
        batch.cursor = serde_json::to_string(&reading.grouper.cursor()).expect("numbers and text always serialise");
        batch.progress = Some(reading.records.progress());
        reading.cursor = Some(batch.cursor.clone());
        batch
    }

    fn hand_over(&self, group: Group, now: Timestamp, batch: &mut Batch) {
        batch.counts.n_records += group.n_records;
        batch.counts.n_duplicate_records += group.n_duplicates;
        let made = self.mapper.facts(group, now);
        batch.counts.n_facts += made.facts.len() as u64;
        batch.counts.n_quarantined += made.rejected.len() as u64;
        batch.counts.n_skipped += made.skipped.len() as u64;
        batch.facts.extend(made.facts);
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let skipped = made.skipped.into_iter();
        batch.skipped.extend(skipped.map(|(line, reason)| Skipped { locator: format!("{file}:{line}"), reason }));
        batch.quarantined.extend(made.rejected.into_iter().map(|rejected| {
            let kept = &rejected.raw[..rejected.raw.len().min(RECORD_BYTES_KEPT)];
            let mut record = String::from_utf8_lossy(kept).into_owned();
            record.truncate(record.floor_char_boundary(RECORD_BYTES_KEPT));
            Quarantined {
                source: self.config.name.clone(),
                locator: format!("{file}:{}", rejected.line),
                reason: rejected.problem.reason.into_owned(),
                message: rejected.problem.message,
                record,
                at: now,
            }
        }));
    }
}

impl Reading {
    /// Whether the file behind the open handle is not the one to go on with.
    fn must_reopen(&self, path: &std::path::Path) -> bool {
        let Some(ended_at) = self.ended_at else { return false };
        let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if self.compressed { length != ended_at } else { length < ended_at }
    }
}

#[async_trait]
impl Connector for FileConnector {
    fn source(&self) -> &str {
        &self.config.name
    }

    /// Reads from the disk without giving way: a batch takes milliseconds, and a file has no other way to be read than a
    /// thread that waits for it. Only a resumed file is read from its start first, about a second for a million rows.
    async fn pull(&mut self, cursor: Option<&str>, now: Timestamp) -> Result<Batch, ConnectorError> {
        self.read_batch(cursor, now)
    }
}

impl FileConnector {
    /// [`Connector::pull`] for those who cannot wait.
    pub(super) fn read_batch(&mut self, cursor: Option<&str>, now: Timestamp) -> Result<Batch, ConnectorError> {
        let mut reading = self.at(cursor)?;
        if let Some(error) = reading.failed.take() {
            return Err(error);
        }
        let batch = self.fill(&mut reading, now);
        if batch.counts.n_records == 0
            && let Some(error) = reading.failed.take()
        {
            return Err(error);
        }
        self.open = Some(reading);
        Ok(batch)
    }
}
