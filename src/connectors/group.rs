//! Cuts a stream of records into groups and numbers their appearances, so that every event gets the same id whenever and
//! from whatever file it is read.
//!
//! Rows with one key that stand together are one appearance. A key that comes again later is a further appearance of the
//! same group, numbered 0, 1, 2 and so on. A record that cannot be read belongs to no group and ends none. A group of more
//! than [`ROWS_MAX`] rows is cut, and the rest is its next appearance: memory stays bounded whatever the key is.
//!
//! The cursor counts the records before the group that is still open, so it moves only where a group ends, and carries a
//! hash of them. A gzip file cannot be entered in the middle: whoever resumes reads from the start, numbers appearances as
//! the first reader did, and compares the hash.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::row::{Problem, Record, Row};
use crate::domain::id::digest;

/// So many rows, or so many bytes of them, are one appearance at most.
const ROWS_MAX: usize = 10_000;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a readable record belongs.
pub(super) enum Place {
    /// To the group with this key.
    Group(Vec<String>),
    /// To itself. It is numbered among records of the same content, unless it has an id of its own.
    Alone { has_id: bool },
}

/// What names a group. Hashed rather than kept, so that every key takes the same little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Group([u8; 32]),
    Alone([u8; 32]),
    /// Records that cannot be read and stand in no group.
    Unreadable,
}

/// A record that was read.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) raw: Vec<u8>,
    pub(super) row: Row,
}

/// A record that is put aside.
pub(super) struct Rejected {
    pub(super) line: u64,
    pub(super) raw: Vec<u8>,
    pub(super) problem: Problem,
}

/// One appearance of a group, complete.
pub(super) struct Group {
    pub(super) key: Key,
    /// How often this key has come before.
    pub(super) ordinal: u32,
    pub(super) lines: Vec<Line>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) n_records: u64,
    pub(super) n_duplicates: u64,
    pub(super) n_bytes: usize,
    seen: HashSet<[u8; 32]>,
}

impl Group {
    /// Without rows yet.
    pub(super) fn of(key: Key, ordinal: u32) -> Self {
        begin(key, ordinal)
    }

    fn has_room(&self) -> bool {
        self.n_records < ROWS_MAX as u64 && self.n_bytes < BYTES_MAX
    }

    fn count(&mut self, raw: &[u8]) {
        self.n_records += 1;
        self.n_bytes += raw.len();
    }
}

/// How far a file has been read: what is stored between two pulls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Records before the point, those that could not be read among them.
    pub(super) rows: u64,
    /// Hash of these records and of the way they are grouped.
    pub(super) digest: String,
    /// Where the file once ended in the middle of what is one group now that the file has grown: the group stays cut there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) cuts: BTreeSet<u64>,
}

/// See the module.
pub(super) struct Grouper {
    drop_duplicates: bool,
    open: Option<Group>,
    /// Half a hash of the key → appearances so far: 12 bytes and a little room for each distinct key, so some 25 MB for a
    /// million invoices. Two keys that share a half would only share their numbering, not their id.
    appearances: HashMap<u64, u32>,
    n_rows: u64,
    hash: Sha256,
    /// `n_rows` and `hash` as they were before the open group began.
    settled: (u64, Sha256),
    cuts: BTreeSet<u64>,
    /// The group that was ended although the next record might have belonged to it: where, its key, whether it was full.
    ended_early: Option<(u64, Key, bool)>,
}

impl Grouper {
    /// `seed` is whatever the numbering depends on besides the records: the same file read in another way is another file.
    pub(super) fn new(seed: &[&[u8]], drop_duplicates: bool, cuts: BTreeSet<u64>) -> Self {
        let hash = Sha256::new_with_prefix(digest(seed));
        Grouper {
            drop_duplicates,
            open: None,
            appearances: HashMap::new(),
            n_rows: 0,
            settled: (0, hash.clone()),
            hash,
            cuts,
            ended_early: None,
        }
    }

    /// Takes one record in; returns the groups that are complete now.
    pub(super) fn push(&mut self, record: Record, place: impl FnOnce(&Row) -> Result<Place, Problem>) -> Vec<Group> {
        let mut complete = Vec::new();
        if self.cuts.contains(&self.n_rows) {
            complete.extend(self.open.take());
        }
        let hash = digest(&[&record.raw]);
        let Record { line, raw, row } = record;
        match row.and_then(|row| Ok((place(&row)?, row))) {
            Err(problem) => {
                let rejected = Rejected { line, raw, problem };
                if !self.open.as_ref().is_some_and(Group::has_room) {
                    complete.extend(self.open.take());
                    let mut group = begin(Key::Unreadable, 0);
                    group.reject(rejected);
                    complete.push(group);
                } else if let Some(open) = &mut self.open {
                    open.reject(rejected);
                }
            }
            Ok((Place::Alone { has_id }, row)) => {
                complete.extend(self.open.take());
                let ordinal = if has_id { 0 } else { self.appearance(&hash) };
                let mut group = begin(Key::Alone(hash), ordinal);
                group.count(&raw);
                group.lines.push(Line { number: line, raw, row });
                complete.push(group);
            }
            Ok((Place::Group(key), row)) => {
                let parts: Vec<&[u8]> = key.iter().map(String::as_bytes).collect();
                let key = Key::Group(digest(&parts));
                if !self.open.as_ref().is_some_and(|open| open.key == key && open.has_room()) {
                    complete.extend(self.open.take());
                    self.settle();
                    self.open = Some(self.begin_group(key));
                }
                let open = self.open.as_mut().expect("a group was opened above, or was open");
                open.count(&raw);
                if self.drop_duplicates && !open.seen.insert(hash) {
                    open.n_duplicates += 1;
                } else {
                    open.lines.push(Line { number: line, raw, row });
                }
            }
        }
        self.n_rows += 1;
        self.hash.update(hash);
        if self.open.is_none() {
            self.settle();
        }
        complete
    }

    /// Ends the open group: nothing follows for now.
    pub(super) fn finish(&mut self) -> Option<Group> {
        let group = self.open.take();
        if let Some(group) = &group {
            self.ended_early = Some((self.n_rows, group.key, !group.has_room()));
        }
        self.settle();
        group
    }

    /// How many records have been taken in.
    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The end of the last complete group.
    pub(super) fn cursor(&self) -> Cursor {
        let (rows, hash) = &self.settled;
        let digest = hex(&hash.clone().finalize()[..16]);
        Cursor { rows: *rows, digest, cuts: self.cuts.clone() }
    }

    fn settle(&mut self) {
        self.settled = (self.n_rows, self.hash.clone());
    }

    fn begin_group(&mut self, key: Key) -> Group {
        if let Some((n_rows, ended, was_full)) = self.ended_early.take()
            && ended == key
            && !was_full
        {
            self.cuts.insert(n_rows);
        }
        let ordinal = match &key {
            Key::Group(hash) | Key::Alone(hash) => self.appearance(hash),
            Key::Unreadable => 0,
        };
        begin(key, ordinal)
    }

    fn appearance(&mut self, hash: &[u8; 32]) -> u32 {
        let half = u64::from_be_bytes(hash[..8].try_into().expect("a hash has eight bytes"));
        let next = self.appearances.entry(half).or_default();
        let ordinal = *next;
        *next = next.saturating_add(1);
        ordinal
    }
}

impl Group {
    fn reject(&mut self, rejected: Rejected) {
        self.count(&rejected.raw);
        self.rejected.push(rejected);
    }
}

fn begin(key: Key, ordinal: u32) -> Group {
    Group {
        key,
        ordinal,
        lines: Vec::new(),
        rejected: Vec::new(),
        n_records: 0,
        n_duplicates: 0,
        n_bytes: 0,
        seen: HashSet::new(),
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
