//! Carries out a plugin: each record is a run of its `map`, and what that stated becomes facts.

use jiff::tz::TimeZone;
use rhai::Dynamic;

use super::Plugin;
use super::draft::{Outcome, Stated};
use crate::connectors::group::{Group, Line, Place, Rejected};
use crate::connectors::origin::{Made, MapRecords, Origin};
use crate::connectors::row::{Problem, Row};
use crate::domain::clock::Timestamp;
use crate::domain::customer::Identity;
use crate::domain::event::Fact;
use crate::domain::occurred;
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
                Ok(Outcome::Events(events, identities)) => match self.facts_of(events, &identities, &id, now) {
                    Ok(facts) => made.facts.extend(facts),
                    Err(why) => {
                        made.rejected.push(Rejected { line: number, raw, problem: Problem::new("bad_time", why) });
                    }
                },
                Ok(Outcome::Skipped(reason)) => made.skipped.push((number, reason)),
                Err(problem) => made.rejected.push(Rejected { line: number, raw, problem }),
            }
        }
        made
    }
}

impl PluginMapper {
    /// Of several events without an id of their own each needs one.
    fn facts_of(
        &self,
        events: Vec<Stated>,
        identities: &[Identity],
        id: &str,
        now: Timestamp,
    ) -> Result<Vec<Fact>, String> {
        let fact = |(n, stated): (usize, Stated)| {
            let at = occurred::in_file(stated.occurred_at, now)?;
            let hashed = || if n == 0 { id.to_owned() } else { format!("{id}/{n}") };
            let id = stated.message_id.unwrap_or_else(hashed);
            let fact = self.origin.fact(id, &stated.name, at, identities.to_vec(), now);
            Ok(Fact { traits: stated.traits, properties: stated.properties, ..fact })
        };
        events.into_iter().enumerate().map(fact).collect()
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
