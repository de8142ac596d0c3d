//! What the shop promises, checked on its files as a connector would read them.

mod history;
mod live;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::*;

/// The demo's history, lived and written once for all tests of this run.
struct Written {
    dir: PathBuf,
    summary: ExportSummary,
    shop: Shop,
    truths: Vec<Truth>,
    _keep: tempfile::TempDir,
}

fn history() -> &'static Written {
    static HISTORY: OnceLock<Written> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let keep = tempfile::tempdir().unwrap();
        let mut shop = Shop::new(SEED).unwrap();
        let summary = shop.write_history(keep.path(), &mut |_, _| {}).unwrap();
        Written { dir: keep.path().to_owned(), summary, truths: shop.truths(), shop, _keep: keep }
    })
}

/// The shop after its history.
fn in_june() -> Shop {
    history().shop.clone()
}

/// A row of a CSV file by its column names.
type Row = BTreeMap<String, String>;

fn rows(dir: &Path, name: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(dir.join(name)).unwrap();
    reader.deserialize().map(|row| row.expect("every row is whole CSV")).collect()
}

/// What the tests look at in a line of `events.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    message_id: String,
    user_id: Option<String>,
    anonymous_id: Option<String>,
    #[serde(default, rename = "event")]
    name: String,
    timestamp: String,
    #[serde(default)]
    properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    #[serde(default)]
    product_id: String,
    #[serde(default)]
    category: String,
    rating: Option<usize>,
}

impl Event {
    /// The day in UTC; `None` where the time is a mistake.
    fn day(&self) -> Option<Date> {
        self.timestamp.get(..10)?.parse().ok()
    }
}

/// The lines of the history's `events.jsonl` that are JSON, and how many are not. Read once: there are many.
fn events() -> (&'static [Event], usize) {
    static EVENTS: OnceLock<(Vec<Event>, usize)> = OnceLock::new();
    let (events, n_broken) = EVENTS.get_or_init(|| {
        let text = std::fs::read_to_string(history().dir.join("events.jsonl")).unwrap();
        let events: Vec<Event> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let n_broken = text.lines().count() - events.len();
        (events, n_broken)
    });
    (events, *n_broken)
}

/// The true lines of the history's orders: without the mistakes, guests' orders included.
fn order_lines() -> &'static [Row] {
    static LINES: OnceLock<Vec<Row>> = OnceLock::new();
    LINES.get_or_init(|| {
        let mut seen = BTreeSet::new();
        let true_line = |row: &Row| !row["order_id"].ends_with('X') && seen.insert(row.clone());
        rows(&history().dir, "orders.csv").into_iter().filter(true_line).collect()
    })
}

fn cents(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap()
}

fn line_total(row: &Row) -> i64 {
    row["quantity"].parse::<i64>().unwrap() * cents(&row["unit_price"])
}

/// `part` of `whole` in per mille.
fn per_mille(part: usize, whole: usize) -> usize {
    part * 1_000 / whole
}
