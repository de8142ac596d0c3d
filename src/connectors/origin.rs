//! Where facts come from: what every fact of one source has in common, however its records are mapped.

use jiff::SignedDuration;
use serde_json::Map;

use super::SourceConfig;
use super::group::{Group, Key, Rejected, hex};
use super::row::{Problem, Row};
use super::validate::knowledge_delay;
use crate::domain::clock::Timestamp;
use crate::domain::customer::Identity;
use crate::domain::event::Fact;
use crate::domain::id::digest;

/// A way from groups of records to facts: a [`super::mapping::Mapping`], Segment's messages, or a plugin.
pub(super) trait MapRecords: Send {
    /// Columns that a file must have for this mapping.
    fn columns(&self) -> Vec<&str>;

    /// Everything that the numbering of appearances depends on besides the records.
    fn seed(&self) -> Vec<&[u8]>;

    /// Whether a record that repeats another of its group is the same record.
    fn drops_duplicates(&self) -> bool;

    /// Which group a record belongs to.
    fn place(&self, row: &Row) -> Result<super::group::Place, Problem>;

    /// The facts of a complete group. Every record of it is in one of them, rejected, or skipped.
    fn facts(&self, group: Group, now: Timestamp) -> Made;
}

/// What a group has come to.
#[derive(Default)]
pub(super) struct Made {
    pub(super) facts: Vec<Fact>,
    pub(super) rejected: Vec<Rejected>,
    /// Records that the mapping knows and leaves alone: their line, and why.
    pub(super) skipped: Vec<(u64, String)>,
}

/// The source that facts are stamped with.
pub(super) struct Origin {
    pub(super) source: String,
    imported: bool,
    knowledge_delay: SignedDuration,
}

impl Origin {
    pub(super) fn new(config: &SourceConfig) -> Result<Self, String> {
        let knowledge_delay = knowledge_delay(&config.knowledge_delay)?;
        Ok(Origin { source: config.name.clone(), imported: config.imported, knowledge_delay })
    }

    /// A fact that says nothing but who, when and what.
    pub(super) fn fact(
        &self,
        id: String,
        name: &str,
        at: Timestamp,
        identities: Vec<Identity>,
        now: Timestamp,
    ) -> Fact {
        Fact {
            source: self.source.clone(),
            message_id: id,
            name: name.to_owned(),
            occurred_at: at,
            received_at: now,
            known_at: if self.imported { at.plus(self.knowledge_delay) } else { now },
            imported: self.imported,
            identities,
            traits: Map::new(),
            properties: Map::new(),
            context: Map::new(),
        }
    }

    /// The id of an event whose source has none: never the file's name or the line, so the same data has the same id in
    /// any file.
    pub(super) fn hashed_id(&self, key: &Key, ordinal: u32) -> String {
        let (kind, hash): (&[u8], &[u8]) = match key {
            Key::Group(hash) => (b"group", hash),
            Key::Alone(hash) => (b"row", hash),
            Key::Unreadable => (b"unreadable", &[]),
        };
        hex(&digest(&[kind, self.source.as_bytes(), hash, &ordinal.to_be_bytes()])[..16])
    }
}
