//! The kinds of source. A connector hands over a [`Batch`] of facts and a cursor that says how far it has come; the caller
//! stores both in one commit, so after a crash it is asked again from the last stored cursor and nothing is lost or
//! counted twice.
//!
//! A new kind is one new file and one line in [`SourceKind`]. Those that there are read files: `input` (bytes) → `csv`,
//! `jsonl` (records) → `group` (which rows are one event) → `mapper` (which carries out a [`mapping`]) or [`plugin`]
//! (which runs a script).
#![warn(missing_docs)]

mod cells;
mod csv;
mod file;
mod group;
mod input;
mod jsonl;
mod mapper;
pub mod mapping;
mod origin;
pub mod plugin;
pub mod replay;
mod row;
mod segment;
mod times;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::clock::{Business, Timestamp};
use crate::domain::event::Fact;

use origin::MapRecords;
use plugin::RecordFormat;

pub use crate::domain::quarantine::Quarantined;

/// So much of a record is kept in quarantine.
const RECORD_BYTES_KEPT: usize = 64 * 1024;

/// What a connector hands over at once: bounded by the connector, a few thousand facts at most.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Facts in the order of the source.
    pub facts: Vec<Fact>,
    /// What could not be made into a fact, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// What the mapping knows and leaves alone.
    pub skipped: Vec<Skipped>,
    /// How far the source has been read with this batch; opaque to everybody but the connector.
    pub cursor: String,
    /// Counts of this batch alone.
    pub counts: Counts,
    /// Nothing follows for now.
    pub done: bool,
    /// Bytes read and to be read in all, where the source knows: for the progress bar.
    pub progress: Option<(u64, u64)>,
}

/// A record that a plugin leaves alone on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it stands: `orders.jsonl:12`.
    pub locator: String,
    /// Why, in the plugin's words.
    pub reason: String,
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
    /// Records that a plugin left alone on purpose.
    pub n_skipped: u64,
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

/// The kinds of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A CSV file whose first row names the columns.
    Csv,
    /// A file with one JSON object a line.
    Jsonl,
    /// A file whose records a plugin understands.
    Plugin,
}

/// One `[[sources]]` of the configuration. Files may be gzipped, whatever their name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The name under which its events are stored. It is part of every event's id: the same data under another name is
    /// other events.
    pub name: String,
    /// What it is: `csv`, `jsonl` or `plugin`.
    pub kind: SourceKind,
    /// Which plugin understands the records of a source of kind `plugin`: the name of its folder.
    pub plugin: Option<String>,
    /// Which file, unless the command line says.
    pub path: Option<PathBuf>,
    /// History (`true`, the default) is folded into profiles but wakes no rule. `false` for a file that a shop goes on
    /// writing: its events are news when they are read.
    #[serde(default = "yes")]
    pub imported: bool,
    /// How long after an event of imported history one could have known of it: `0d`, `2d`, `36h`. Backtests see it only
    /// then.
    #[serde(default = "no_delay")]
    pub knowledge_delay: String,
    /// What separates the cells of a CSV row: `,` by default.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Numbers are written `1.234,50`.
    #[serde(default)]
    pub decimal_comma: bool,
    /// A longer line is put aside; 1 MiB by default.
    #[serde(default = "one_mebibyte")]
    pub max_line_bytes: usize,
    /// What the columns mean. JSON lines without it are messages as Segment's libraries write them.
    pub mapping: Option<mapping::Mapping>,
    /// The folder of plugins, `[files] plugins`; set by whoever reads the configuration.
    #[serde(skip, default = "plugin::default_folder")]
    pub plugin_folder: PathBuf,
}

fn yes() -> bool {
    true
}

fn no_delay() -> String {
    "0d".to_owned()
}

fn comma() -> char {
    ','
}

fn one_mebibyte() -> usize {
    1024 * 1024
}

impl SourceConfig {
    /// Opens `file`, else the configured path. Nothing is read yet but the header; what is wrong with the configuration,
    /// the file or its header is said at once.
    pub fn open(&self, file: Option<&Path>, business: &Business) -> Result<Box<dyn Connector>, ConnectorError> {
        Ok(Box::new(self.open_file(file, business)?))
    }

    fn delimiter(&self) -> u8 {
        u8::try_from(self.delimiter).unwrap_or(b',')
    }

    fn open_file(&self, file: Option<&Path>, business: &Business) -> Result<file::FileConnector, ConnectorError> {
        let problems = self.validate();
        if !problems.is_empty() {
            let all = problems.join("; ");
            return Err(ConnectorError::Invalid(format!("source `{}` is not usable: {all}", self.name)));
        }
        let no_path =
            || format!("source `{}` has no `path`; state one, or name the file on the command line", self.name);
        let path = file.or(self.path.as_deref()).ok_or_else(|| ConnectorError::Invalid(no_path()))?;
        file::FileConnector::open(self.clone(), path.to_owned(), business)
    }

    /// What its records look like, and how they become facts.
    fn mapper(&self, business: &Business) -> Result<(Box<dyn MapRecords>, RecordFormat), ConnectorError> {
        let invalid = ConnectorError::Invalid;
        if let Some(name) = &self.plugin {
            let plugin = plugin::load(&self.plugin_folder, name).into_plugin().map_err(invalid)?;
            let format = plugin.format();
            return Ok((Box::new(plugin.mapper(self, business).map_err(invalid)?), format));
        }
        let format = if self.kind == SourceKind::Csv { RecordFormat::Csv } else { RecordFormat::Jsonl };
        Ok((Box::new(mapper::Mapper::new(self, business).map_err(invalid)?), format))
    }

    /// The name under which it is kept how far `file`, else the configured path, was read.
    pub fn place(&self, file: Option<&Path>) -> String {
        let path = file.or(self.path.as_deref());
        path.and_then(|path| path.canonicalize().ok()).unwrap_or_default().display().to_string()
    }
}
