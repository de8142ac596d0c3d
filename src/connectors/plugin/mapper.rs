//! Carries out a plugin: each record is a run of its `map`, and what that stated becomes facts.

use jiff::tz::TimeZone;
use rhai::Dynamic;

use super::Plugin;
use super::draft::Outcome;
use crate::connectors::group::{Group, Line, Place, Rejected};
use crate::connectors::origin::{Made, MapRecords, Origin};
use crate::connectors::row::{Problem, Row};
use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::script::to_dynamic;

/// Makes facts of one source's records.
pub(in crate::connectors) struct PluginMapper {
    pub(super) origin: Origin,
    /// Of times that state none.
    pub(super) zone: TimeZone,
    pub(super) plugin: Plugin,
}

impl MapRecords for PluginMapper {
    fn columns(&self) -> Vec<&str> {
        self.plugin.manifest.columns.iter().map(String::as_str).collect()
    }

    /// The script is no part of it: whoever mends a plugin goes on where the broken one stopped.
    fn seed(&self) -> Vec<&[u8]> {
        vec![self.origin.source.as_bytes(), b"plugin"]
    }

    fn drops_duplicates(&self) -> bool {
        true
    }

    /// Whether the record has an id of its own is known only after `map` has run, so appearances are counted in any case.
    fn place(&self, _row: &Row) -> Result<Place, Problem> {
        Ok(Place::Alone { has_id: false })
    }

    fn facts(&self, group: Group, now: Timestamp) -> Made {
        let Group { key, ordinal, lines, rejected, .. } = group;
        let mut made = Made { rejected, ..Made::default() };
        let id = self.origin.hashed_id(&key, ordinal);
        for Line { number, raw, row } in lines {
            match self.plugin.program.run(record(&row), &self.zone) {
                Ok(Outcome::Events(events, identities)) => {
                    let facts = events.into_iter().enumerate().map(|(n, stated)| {
                        // Of several events without an id of their own each needs one.
                        let hashed = || if n == 0 { id.clone() } else { format!("{id}/{n}") };
                        let id = stated.message_id.unwrap_or_else(hashed);
                        let fact = self.origin.fact(id, &stated.name, stated.occurred_at, identities.clone(), now);
                        Fact { traits: stated.traits, properties: stated.properties, ..fact }
                    });
                    made.facts.extend(facts);
                }
                Ok(Outcome::Skipped(reason)) => made.skipped.push((number, reason)),
                Err(problem) => made.rejected.push(Rejected { line: number, raw, problem }),
            }
        }
        made
    }
}

/// A record as the script sees it: a JSON object as it is; a CSV row as texts by column, an empty cell as missing.
fn record(row: &Row) -> Dynamic {
    let map: rhai::Map = match row {
        Row::Object(object) => object.iter().map(|(key, value)| (key.as_str().into(), to_dynamic(value))).collect(),
        Row::Cells { columns, text, ends } => {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let cells = columns.iter().zip(starts.zip(ends)).map(|(column, (from, &to))| {
                let cell = text[from..to].trim();
                (column.as_str().into(), if cell.is_empty() { Dynamic::UNIT } else { cell.into() })
            });
            cells.collect()
        }
    };
    map.into()
}
