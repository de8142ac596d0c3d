//! What the shop promises, checked on its files as a connector would read them.

mod history;
mod live;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

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

/// The lines of `events.jsonl` that are JSON, and how many are not.
fn events(dir: &Path) -> (Vec<Value>, usize) {
    let text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let n_broken = text.lines().count() - events.len();
    (events, n_broken)
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
