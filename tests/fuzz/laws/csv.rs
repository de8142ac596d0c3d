//! Files of rows: every record is in a fact, a repetition, or put aside, whatever the bytes are; and whoever reads a file
//! while it grows, stays with it or comes back to it, reads the same. The first byte chooses the sort of file, the second
//! how much of it is there when it is first read.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use futures_util::FutureExt;
use jiff::tz::TimeZone;
use rekindle::connectors::{Batch, Connector, SourceConfig, SourceKind};
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::event::Fact;

const GROUPED: &str = "kind = 'csv'\n[mapping]\ngroup_by = 'order'\nevent = 'Order Completed'\ntime = 'day'\n\
     total = 'amount'\nidentities = { user_id = 'who' }\nproperties = { order_id = 'order' }\n\
     products = { sum = 'amount', n = { value = 1 } }";
const SINGLE: &str = "kind = 'csv'\n[mapping]\nevent = 'Visit'\ntime = 'day'\nidentities = { email = 'who' }\n\
     traits = { spent = { column = 'amount', type = 'number' } }\nproducts = { n = { value = 1 } }";
const LINES: &str = "kind = 'jsonl'\n[mapping]\nevent = 'Visit'\ntime = 'day'\nproducts = { n = { value = 1 } }";
const MESSAGES: &str = "kind = 'jsonl'";

static SOURCES: LazyLock<Vec<SourceConfig>> = LazyLock::new(|| {
    let source = |rest| toml::from_str(&format!("name = 's'\nmax_line_bytes = 64\n{rest}")).unwrap();
    [GROUPED, SINGLE, LINES, MESSAGES].into_iter().map(source).collect()
});

pub(crate) fn holds(folder: &Path, data: &[u8]) {
    let [sort, cut, content @ ..] = data else { return };
    let mut config = SOURCES[usize::from(sort % 4)].clone();
    // A file without our header may be anything: without columns, gzipped, in UTF-16.
    let is_ours = sort & 4 == 0;
    let header: &[u8] = if is_ours && config.kind == SourceKind::Csv { b"order,day,amount,who\n" } else { b"" };
    config.imported = sort & 8 == 0;
    let whole = [header, content].concat();
    let n_first = header.len() + usize::from(*cut) * content.len() / 255;

    let file = folder.join("rows");
    fs::write(&file, &whole).unwrap();
    let Some(at_once) = read(&mut open(&config, &file), None) else { return };
    for batch in &at_once {
        check(batch, &config);
    }
    if let Some(n_lines) = n_lines(content, &config).filter(|_| is_ours) {
        assert_eq!(n_records(&at_once), n_lines, "no line is lost");
    }
    let end = at_once.last().map(|batch| batch.cursor.clone());
    let nothing = read(&mut open(&config, &file), end).expect("what was read can be gone on from");
    assert!(nothing.iter().all(|batch| batch.counts.n_records == 0), "nothing is read twice");

    // What is history is taken as complete; only a file that a shop goes on writing may end in the middle of a line.
    // What sort of file it is stands in its first three bytes; nobody writes those apart.
    if config.imported || whole.starts_with(&[0x1f, 0x8b]) || n_first < 3 {
        return;
    }
    fs::write(&file, &whole[..n_first]).unwrap();
    let mut staying = open(&config, &file);
    let Some(first) = read(&mut staying, None) else { return };
    fs::write(&file, &whole).unwrap();
    let stop = first.last().map(|batch| batch.cursor.clone());
    let stayed = read(&mut staying, stop.clone()).expect("it only grew");
    let came_back = read(&mut open(&config, &file), stop).expect("it only grew");
    for batch in &stayed {
        check(batch, &config);
    }
    assert_eq!(facts(&stayed), facts(&came_back));
    assert_eq!(n_records(&stayed), n_records(&came_back));
    assert_eq!(n_records(&first) + n_records(&stayed), n_records(&at_once), "each record once");
}

static BUSINESS: LazyLock<Business> =
    LazyLock::new(|| Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() });

fn open(config: &SourceConfig, file: &Path) -> Option<Box<dyn Connector>> {
    config.open(Some(file), &BUSINESS).ok()
}

/// All that follows `cursor`; `None` where the source says that it cannot be read.
fn read(connector: &mut Option<Box<dyn Connector>>, mut cursor: Option<String>) -> Option<Vec<Batch>> {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let mut batches = Vec::new();
    loop {
        let pulled = connector.as_mut()?.pull(cursor.as_deref(), now).now_or_never();
        let batch = pulled.expect("files are not waited for").ok()?;
        let done = batch.done;
        cursor = Some(batch.cursor.clone());
        batches.push(batch);
        if done {
            return Some(batches);
        }
    }
}

fn check(batch: &Batch, config: &SourceConfig) {
    let counts = batch.counts;
    let n_rows: usize = batch.facts.iter().map(|fact| n_rows(fact, config)).sum();
    assert_eq!(counts.n_facts, batch.facts.len() as u64);
    assert_eq!(counts.n_quarantined, batch.quarantined.len() as u64);
    assert_eq!(counts.n_records, n_rows as u64 + counts.n_duplicate_records + counts.n_quarantined);
    assert!(batch.quarantined.iter().all(|aside| !aside.reason.is_empty() && !aside.message.is_empty()));
    for fact in &batch.facts {
        let stored = serde_json::to_string(fact).unwrap();
        assert_eq!(serde_json::from_str::<Fact>(&stored).unwrap(), *fact);
    }
}

/// Every row of a mapped fact is one of its products; a message is a fact of its own.
fn n_rows(fact: &Fact, config: &SourceConfig) -> usize {
    if config.mapping.is_none() { 1 } else { fact.properties["products"].as_array().unwrap().len() }
}

/// How many lines are records, where that is easily told: without quotes, in which a row of CSV may go on, and marks at the
/// beginning of a file.
fn n_lines(content: &[u8], config: &SourceConfig) -> Option<u64> {
    let is_csv = config.kind == SourceKind::Csv;
    if content.contains(&b'"') && is_csv || content.contains(&b'\r') || !content.first()?.is_ascii_graphic() {
        return None;
    }
    let mut lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    // The last one may still be in the hands of whoever writes the file.
    lines.pop_if(|last| !config.imported || last.is_empty());
    let is_blank = |line: &[u8]| {
        if is_csv { line.is_empty() } else { line.len() < config.max_line_bytes && line.trim_ascii().is_empty() }
    };
    Some(lines.into_iter().filter(|line| !is_blank(line)).count() as u64)
}

fn facts(batches: &[Batch]) -> Vec<&Fact> {
    batches.iter().flat_map(|batch| &batch.facts).collect()
}

fn n_records(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.counts.n_records).sum()
}
