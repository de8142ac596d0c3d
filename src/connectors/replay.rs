//! Replay: a record that was put aside is read once more, by today's configuration.
//!
//! A row that stands alone gets the id that it would have had in its file, so it cannot count twice. A row of a group is
//! harder: the rest of its group has long been an event. Where nothing of the group is known its rows are the group, as in
//! the file. Where it is known the row becomes a further part of the order (or a further refund), under a number that no
//! reader gives, because readers count up from 0. What is neither order nor refund cannot be added to, and stays aside.

use std::collections::BTreeMap;
use std::path::Path;

use super::csv::CsvRecords;
use super::group::{Group, Key, Line, Place};
use super::input::Input;
use super::jsonl::JsonLines;
use super::origin::MapRecords;
use super::plugin::RecordFormat;
use super::row::{Problem, Record, Records};
use super::{ConnectorError, Quarantined, RECORD_BYTES_KEPT, SourceConfig};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::event::{Fact, names};
use crate::domain::id::digest;

/// Parts from here on are replayed rows; readers number appearances from 0 and never come this far.
const REPLAYED: u32 = 1 << 31;

/// Reads records of one source once more.
pub struct Replay {
    config: SourceConfig,
    mapper: Box<dyn MapRecords>,
    /// Of a CSV file: the row that names the columns.
    header: Option<String>,
}

/// Rows that make one event, or one part of one.
pub struct Pending {
    key: Key,
    rows: Vec<(usize, Record)>,
}

impl Pending {
    /// Whether its rows may be part of something that is known already.
    pub fn is_group(&self) -> bool {
        matches!(self.key, Key::Group(_))
    }
}

/// What a record has come to; the number is its place among those that were given.
pub type Replayed = (usize, Result<(), Quarantined>);

impl SourceConfig {
    /// For records of this source that were put aside. The columns of a CSV row are named by the header of `file`, else of
    /// the source's own path.
    pub fn replay(&self, file: Option<&Path>, business: &Business) -> Result<Replay, ConnectorError> {
        let problems = self.validate();
        if !problems.is_empty() {
            let all = problems.join("; ");
            return Err(ConnectorError::Invalid(format!("source `{}` is not usable: {all}", self.name)));
        }
        let (mapper, format) = self.mapper(business)?;
        let header = match format {
            RecordFormat::Jsonl => None,
            RecordFormat::Csv => {
                let path = file.or(self.path.as_deref()).ok_or_else(|| {
                    let help = "name the file (or one with the same header) with --file";
                    ConnectorError::Invalid(format!(
                        "source `{}` has no `path` to read the header from; {help}",
                        self.name
                    ))
                })?;
                let required = mapper.columns();
                let input = Input::open(path)?;
                let delimiter = self.delimiter();
                let records = CsvRecords::open(input, path, delimiter, self.max_line_bytes, false, &required)?;
                Some(records.header())
            }
        };
        Ok(Replay { config: self.clone(), mapper, header })
    }
}

impl Replay {
    /// Reads these records again and puts together what is one event. A record that still cannot be read is answered at
    /// once.
    pub fn read(&self, records: &[Quarantined]) -> (Vec<Pending>, Vec<Replayed>) {
        let mut groups: BTreeMap<Vec<String>, Pending> = BTreeMap::new();
        let mut pending = Vec::new();
        let mut failed = Vec::new();
        for (i, quarantined) in records.iter().enumerate() {
            match self.again(quarantined) {
                Err(problem) => failed.push((i, Err(still(quarantined, problem)))),
                Ok((Place::Alone { .. }, record)) => {
                    let key = Key::Alone(digest(&[&record.raw]));
                    pending.push(Pending { key, rows: vec![(i, record)] });
                }
                Ok((Place::Group(parts), record)) => {
                    let bytes: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
                    let key = Key::Group(digest(&bytes));
                    groups.entry(parts).or_insert_with(|| Pending { key, rows: Vec::new() }).rows.push((i, record));
                }
            }
        }
        for mut group in groups.into_values() {
            group.rows.sort_by_key(|(_, record)| record.line);
            pending.push(group);
        }
        (pending, failed)
    }

    /// The events that `pending` makes if nothing of it is known yet.
    pub fn whole(&self, pending: &Pending, records: &[Quarantined], now: Timestamp) -> (Vec<Fact>, Vec<Replayed>) {
        self.map(pending.key, 0, &pending.rows, records, now)
    }

    /// The events that each row of `pending` adds to a group that is known.
    pub fn added(&self, pending: &Pending, records: &[Quarantined], now: Timestamp) -> (Vec<Fact>, Vec<Replayed>) {
        let (mut facts, mut replayed) = (Vec::new(), Vec::new());
        for row in &pending.rows {
            let hash = digest(&[&row.1.raw]);
            let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) | REPLAYED;
            let (made, told) = self.map(pending.key, number, std::slice::from_ref(row), records, now);
            match made.iter().find_map(cannot_be_added) {
                None => {
                    facts.extend(made);
                    replayed.extend(told);
                }
                Some(problem) => replayed.push((row.0, Err(still(&records[row.0], problem)))),
            }
        }
        (facts, replayed)
    }

    fn map(
        &self,
        key: Key,
        ordinal: u32,
        rows: &[(usize, Record)],
        records: &[Quarantined],
        now: Timestamp,
    ) -> (Vec<Fact>, Vec<Replayed>) {
        let mut group = Group::of(key, ordinal);
        // The place among the records stands in for the line, so that what is rejected is found again.
        for (i, record) in rows {
            if let Ok(row) = &record.row {
                group.lines.push(Line { number: *i as u64, raw: record.raw.clone(), row: row.clone() });
            }
        }
        let made = self.mapper.facts(group, now);
        let told = rows.iter().map(|(i, _)| {
            let rejected = made.rejected.iter().find(|rejected| rejected.line == *i as u64);
            let still_wrong = rejected.map(|rejected| still(&records[*i], rejected.problem.clone()));
            (*i, still_wrong.map_or(Ok(()), Err))
        });
        let told = told.collect();
        (made.facts, told)
    }

    fn again(&self, quarantined: &Quarantined) -> Result<(Place, Record), Problem> {
        let text = &quarantined.record;
        if text.len() >= RECORD_BYTES_KEPT || text.contains('\u{fffd}') {
            let why = "not all bytes of the record were kept; correct the file and import it again";
            return Err(Problem::new("record_cut", why));
        }
        let unreadable = |error: std::io::Error| Problem::new("unreadable", error.to_string());
        let (limit, path) = (self.config.max_line_bytes, Path::new("the record"));
        let mut record = match &self.header {
            None => JsonLines::new(Input::of(text), limit, false).next(),
            Some(header) => {
                let input = Input::of(&format!("{header}\n{text}\n"));
                let records = CsvRecords::open(input, path, self.config.delimiter(), limit, false, &[]);
                records.map_err(|error| Problem::new("unreadable", error.to_string()))?.next()
            }
        }
        .map_err(unreadable)?
        .ok_or_else(|| Problem::new("unreadable", "the record is empty"))?;
        if let Err(problem) = &record.row {
            return Err(problem.clone());
        }
        record.line = quarantined.locator.rsplit(':').next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let row = record.row.as_ref().expect("looked at above");
        Ok((self.mapper.place(row)?, record))
    }
}

/// Why an event of a replayed row cannot be added to what is known of its group.
fn cannot_be_added(fact: &Fact) -> Option<Problem> {
    let consent = matches!(fact.name.as_str(), names::CONSENT_GIVEN | names::CONSENT_WITHDRAWN);
    let refund = fact.name == names::ORDER_REFUNDED && !fact.properties.contains_key("refund_id");
    if fact.name == names::ORDER_COMPLETED || refund || consent {
        return None;
    }
    let why = format!(
        "the rest of its group is a `{}` that is known already, and a row cannot be added to that; correct the file and \
         import it under another message id",
        fact.name
    );
    Some(Problem::new("group_is_known", why))
}

fn still(quarantined: &Quarantined, problem: Problem) -> Quarantined {
    Quarantined { reason: problem.reason.into_owned(), message: problem.message, ..quarantined.clone() }
}
