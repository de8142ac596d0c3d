//! Golden fixtures: `fixtures/CASE.in.jsonl` (or `.csv`) holds records, `fixtures/CASE.expect.json` everything that must
//! come of them. They are read by the same code as a source's file and compared to the last letter.
//!
//! A fixture knows nothing of the installation: times that state no zone are UTC, and the source is called as the plugin.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Plugin, SourceConfig};
use crate::connectors::file::FileConnector;
use crate::connectors::{Batch, SourceKind, one_mebibyte};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::event::Fact;

/// More differences than this are one: everything is different.
const MOST_DIFFERENCES: usize = 20;
/// A value in a difference is shown up to here, in characters.
const MOST_SHOWN: usize = 200;

/// What came of one fixture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FixtureReport {
    /// Whose it is.
    pub plugin: String,
    /// Its `CASE`; empty where the plugin has no fixtures at all.
    pub case: String,
    /// Events that its records came to.
    pub n_events: usize,
    /// Records that were put aside.
    pub n_quarantined: usize,
    /// Records that were left alone on purpose.
    pub n_skipped: usize,
    /// The expectation was written anew and says something else now.
    pub updated: bool,
    /// What is otherwise than expected, each in one line; empty when it passed.
    pub differences: Vec<String>,
}

impl FixtureReport {
    /// Whether it came out as expected, or was told to be what is expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    fn failed(plugin: &str, case: &str, difference: String) -> Self {
        FixtureReport {
            plugin: plugin.to_owned(),
            case: case.to_owned(),
            n_events: 0,
            n_quarantined: 0,
            n_skipped: 0,
            updated: false,
            differences: vec![difference],
        }
    }
}

impl fmt::Display for FixtureReport {
    /// `ok    shopify/orders: 5 events, 2 put aside, 1 skipped`, or what is different.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match (self.passed(), self.updated) {
            (true, true) => "new ",
            (true, false) => "ok  ",
            (false, _) => "FAIL",
        };
        write!(f, "{word}  {}", self.plugin)?;
        if !self.case.is_empty() {
            write!(f, "/{}", self.case)?;
        }
        if self.passed() {
            let (n_events, n_quarantined) = (self.n_events, self.n_quarantined);
            write!(f, ": {n_events} events, {n_quarantined} put aside, {} skipped", self.n_skipped)?;
        }
        self.differences.iter().try_for_each(|difference| write!(f, "\n      {difference}"))
    }
}

/// Runs all fixtures of `plugin`, whose folder is `folder`. With `update`, what came out is written down as what is
/// expected.
pub fn run_fixtures(plugin: &Plugin, folder: &Path, update: bool) -> Vec<FixtureReport> {
    let name = &plugin.manifest.name;
    let fixtures = folder.join("fixtures");
    let ending = format!(".in.{}", plugin.manifest.format.as_str());
    let mut files: Vec<String> = std::fs::read_dir(&fixtures)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    files.sort();
    let cases: Vec<&str> = files.iter().filter_map(|file| file.strip_suffix(&ending)).collect();
    let mut reports: Vec<FixtureReport> =
        cases.iter().map(|case| run_fixture(plugin, folder, &fixtures, case, &ending, update)).collect();
    for file in &files {
        let is_known = file.strip_suffix(&ending).is_some()
            || file.strip_suffix(".expect.json").is_some_and(|case| cases.contains(&case));
        if !is_known {
            let help = format!("`{file}` is neither CASE{ending} nor the CASE.expect.json of one");
            reports.push(FixtureReport::failed(name, file, help));
        }
    }
    if reports.is_empty() {
        let help = format!("there are no fixtures; put records into {}/CASE{ending}", fixtures.display());
        reports.push(FixtureReport::failed(name, "", help));
    }
    reports
}

fn run_fixture(
    plugin: &Plugin,
    folder: &Path,
    fixtures: &Path,
    case: &str,
    ending: &str,
    update: bool,
) -> FixtureReport {
    let name = &plugin.manifest.name;
    let batches = match read(plugin, &fixtures.join(format!("{case}{ending}"))) {
        Ok(batches) => batches,
        Err(error) => return FixtureReport::failed(name, case, error),
    };
    let script = folder.join("map.rhai").display().to_string();
    let found = described(&batches, &script);
    let n_of = |key: &str| found[key].as_array().map_or(0, Vec::len);
    let mut report = FixtureReport {
        plugin: name.clone(),
        case: case.to_owned(),
        n_events: n_of("events"),
        n_quarantined: n_of("quarantined"),
        n_skipped: n_of("skipped"),
        updated: false,
        differences: Vec::new(),
    };
    let path = fixtures.join(format!("{case}.expect.json"));
    let expected: Option<Value> = match std::fs::read_to_string(&path) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(expected) => Some(expected),
            Err(_) if update => None,
            Err(error) => {
                report.differences.push(format!("{} is not JSON: {error}", path.display()));
                return report;
            }
        },
        Err(_) => None,
    };
    if update {
        report.updated = expected.as_ref() != Some(&found);
        if report.updated
            && let Err(error) = std::fs::write(&path, format!("{found:#}\n"))
        {
            report.differences.push(format!("{} cannot be written: {error}", path.display()));
        }
        return report;
    }
    match expected {
        None => {
            let help = "write it with `--update`, then read whether it is what you mean";
            report.differences.push(format!("{} is missing; {help}", path.display()));
        }
        Some(expected) => compare("", Some(&expected), Some(&found), &mut report.differences),
    }
    report
}

fn read(plugin: &Plugin, path: &Path) -> Result<Vec<Batch>, String> {
    let name = &plugin.manifest.name;
    let config = SourceConfig {
        name: name.clone(),
        kind: SourceKind::Plugin,
        plugin: Some(name.clone()),
        path: None,
        imported: true,
        knowledge_delay: "0d".to_owned(),
        delimiter: ',',
        decimal_comma: false,
        max_line_bytes: one_mebibyte(),
        mapping: None,
        plugin_folder: PathBuf::new(),
    };
    let currency = "EUR".parse().expect("EUR is a currency");
    let business = Business { zone: TimeZone::UTC, currency };
    let mut file = FileConnector::open_plugin(config, path.to_owned(), plugin.clone(), &business)
        .map_err(|error| error.to_string())?;
    let mut batches: Vec<Batch> = Vec::new();
    while batches.last().is_none_or(|batch| !batch.done) {
        let cursor = batches.last().map(|batch| batch.cursor.clone());
        let batch = file.read_batch(cursor.as_deref(), Timestamp::MAX).map_err(|error| error.to_string())?;
        batches.push(batch);
    }
    Ok(batches)
}

/// All that came of a fixture, as its expectation states it.
fn described(batches: &[Batch], script: &str) -> Value {
    let events: Vec<Value> = batches.iter().flat_map(|batch| &batch.facts).map(event).collect();
    let line = |locator: &str| locator.rsplit(':').next().and_then(|line| line.parse::<u64>().ok());
    let quarantined = batches.iter().flat_map(|batch| &batch.quarantined).map(|one| {
        let message = without_place(&one.message, script);
        json!({ "line": line(&one.locator), "reason": one.reason, "message": message })
    });
    let skipped = batches.iter().flat_map(|batch| &batch.skipped);
    let skipped = skipped.map(|one| json!({ "line": line(&one.locator), "reason": one.reason }));
    json!({
        "events": events,
        "quarantined": quarantined.collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

fn event(fact: &Fact) -> Value {
    let handles = fact.identities.iter().map(|one| (one.kind.as_str().to_owned(), Value::from(one.value.as_str())));
    let mut event = json!({
        "event": fact.name,
        "message_id": fact.message_id,
        "occurred_at": fact.occurred_at.to_string(),
        "customer": handles.collect::<Map<_, _>>(),
    });
    for (key, map) in [("traits", &fact.traits), ("properties", &fact.properties)] {
        if !map.is_empty() {
            event[key] = Value::Object(map.clone());
        }
    }
    event
}

/// `plugins/shopify/map.rhai:12:5: no time` → `no time`: where in the script it was said is no part of what is promised,
/// and an edit further up must not change it.
fn without_place<'a>(message: &'a str, script: &str) -> &'a str {
    let Some(place) = message.strip_prefix(script) else { return message };
    place.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit()).trim_start()
}

/// Every place at which `found` is not `expected`.
fn compare(path: &str, expected: Option<&Value>, found: Option<&Value>, differences: &mut Vec<String>) {
    if expected == found || differences.len() > MOST_DIFFERENCES {
        return;
    }
    if differences.len() == MOST_DIFFERENCES {
        return differences.push("and more".to_owned());
    }
    match (expected, found) {
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let keys = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, ours.get(key), theirs.get(key), differences);
            }
        }
        (Some(Value::Array(ours)), Some(Value::Array(theirs))) => {
            for n in 0..ours.len().max(theirs.len()) {
                compare(&format!("{path}[{n}]"), ours.get(n), theirs.get(n), differences);
            }
        }
        _ => differences.push(format!("{path}: expected {}, got {}", shown(expected), shown(found))),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    match text.char_indices().nth(MOST_SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
