//! What holds of every file, however broken: no record is lost, and where a reader stops makes no difference.

use std::io::Write;
use std::path::Path;

use futures_util::FutureExt;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::file::{BatchLimits, FileConnector};
use super::{Batch, Connector, ConnectorError, SourceConfig};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::event::Fact;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const SMALL: BatchLimits = BatchLimits { n_facts: 2, n_records: 5, n_bytes: 200 };
const HEADER: &str = "order,day,amount,who\n";

fn config(kind: &str, mapping: &str) -> SourceConfig {
    toml::from_str(&format!("name = 'shop'\nkind = '{kind}'\nmax_line_bytes = 64\n{mapping}")).unwrap()
}

fn grouped() -> SourceConfig {
    config(
        "csv",
        "[mapping]\ngroup_by = 'order'\nevent = 'Order Completed'\ntime = 'day'\ntotal = 'amount'\n\
         identities = { user_id = 'who' }\nproperties = { order_id = 'order' }\nproducts = { sum = 'amount' , n = { value = 1 } }",
    )
}

fn single() -> SourceConfig {
    config("csv", "[mapping]\nevent = 'Visit'\ntime = 'day'\nproducts = { n = { value = 1 } }")
}

fn open(config: &SourceConfig, path: &Path, limits: BatchLimits) -> FileConnector {
    let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
    config.open_file(Some(path), &business).unwrap_or_else(|error| panic!("{error}")).with_limits(limits)
}

fn pull(connector: &mut FileConnector, cursor: Option<&str>) -> Result<Batch, ConnectorError> {
    connector.pull(cursor, NOW).now_or_never().expect("a file is read without waiting")
}

fn pull_all(connector: &mut FileConnector, mut cursor: Option<String>) -> Vec<Batch> {
    let mut batches = Vec::new();
    loop {
        let batch = pull(connector, cursor.as_deref()).unwrap();
        cursor = Some(batch.cursor.clone());
        let done = batch.done;
        batches.push(batch);
        if done {
            return batches;
        }
    }
}

fn facts(batches: &[Batch]) -> Vec<&Fact> {
    batches.iter().flat_map(|batch| &batch.facts).collect()
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn lines(n_lines: u32, line: impl Fn(u32) -> String) -> String {
    (0..n_lines).fold(String::new(), |text, n| text + line(n).as_str() + "\n")
}

/// How many rows are in the facts: every row of a fact is one of its products.
fn n_rows_in(facts: &[&Fact]) -> u64 {
    let rows = |fact: &&Fact| fact.properties.get("products").and_then(|p| p.as_array()).map_or(1, Vec::len);
    facts.iter().map(rows).sum::<usize>() as u64
}

fn check_nothing_is_lost(batches: &[Batch]) -> Result<(), TestCaseError> {
    for batch in batches {
        let found = facts(std::slice::from_ref(batch));
        let (counts, n_rows) = (batch.counts, n_rows_in(&found));
        prop_assert_eq!(counts.n_records, n_rows + counts.n_duplicate_records + counts.n_quarantined);
        prop_assert_eq!(counts.n_facts, found.len() as u64);
        prop_assert_eq!(counts.n_quarantined, batch.quarantined.len() as u64);
    }
    Ok(())
}

/// Pieces of CSV, good and bad, with lines beyond the limit of 64 bytes now and then.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let row = (0..3u8, 0..3u8, 0..4u8).prop_map(|(order, amount, who)| {
        let who = if who == 0 { String::new() } else { format!("u{order}") };
        format!("{order},2026-03-01,{amount}.5,{who}\n").into_bytes()
    });
    let piece = prop::sample::select(vec![
        &b"\""[..],
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"\"\"",
        b"\"x\ny\",1,2,3\n",
        b"x\",\"\n",
        b"a,b\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"9,yesterday,1,u\n",
        b"9,2026-03-01,free,u\n",
        b",2026-03-01,1,u\n",
        b"9,,1,u\n",
        "é".as_bytes(),
        b"0123456789012345678901234567890123456789",
    ]);
    let any_piece = prop_oneof![
        6 => row,
        3 => piece.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(any_piece, 0..40).prop_map(|pieces| [HEADER.as_bytes(), &pieces.concat()].concat())
}

proptest! {
    #[test]
    fn no_row_is_lost_and_stopping_anywhere_changes_nothing(content in soup(), by_group in any::<bool>()) {
        let config = if by_group { grouped() } else { single() };
        let file = file(&content);
        let whole = pull_all(&mut open(&config, file.path(), super::file::LIMITS), None);
        check_nothing_is_lost(&whole)?;
        let small = pull_all(&mut open(&config, file.path(), SMALL), None);
        check_nothing_is_lost(&small)?;
        prop_assert_eq!(facts(&small), facts(&whole));
        let quarantined = |batches: &[Batch]| batches.iter().flat_map(|b| b.quarantined.clone()).collect::<Vec<_>>();
        prop_assert_eq!(quarantined(&small), quarantined(&whole));
        for (i, stop) in small.iter().enumerate() {
            let rest = pull_all(&mut open(&config, file.path(), SMALL), Some(stop.cursor.clone()));
            let expected = &small[i + 1..];
            prop_assert_eq!(facts(&rest), facts(expected));
            prop_assert_eq!(quarantined(&rest), quarantined(expected));
        }
    }

    #[test]
    fn no_line_of_json_is_lost(pieces in prop::collection::vec(prop_oneof![
        Just(b"{\"day\":\"2026-03-01\"}\n".to_vec()),
        Just(b"{\"day\":null}\n".to_vec()),
        Just(b"[]\n\n  \r\n".to_vec()),
        Just([b'x'; 70].to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ], 0..20)) {
        let config = config("jsonl", "[mapping]\nevent = 'Visit'\ntime = 'day'");
        let file = file(&pieces.concat());
        if let Ok(connector) = config.open_file(Some(file.path()), &Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() }) {
            let mut connector = connector.with_limits(SMALL);
            if let Ok(batch) = pull(&mut connector, None) {
                let mut batches = vec![batch];
                while !batches[batches.len() - 1].done {
                    let cursor = batches[batches.len() - 1].cursor.clone();
                    let Ok(batch) = pull(&mut connector, Some(&cursor)) else { break };
                    batches.push(batch);
                }
                check_nothing_is_lost(&batches)?;
            }
        }
    }

    #[test]
    fn a_file_that_grows_is_read_on_as_a_stranger_would_resume_it(
        rows in prop::collection::vec((0..3u8, 0..3u8), 1..20), stops in prop::collection::vec(0..20usize, 3),
    ) {
        let config = SourceConfig { imported: false, ..grouped() };
        let rows: Vec<String> = rows.iter().map(|(o, a)| format!("{o},2026-03-01,{a}.5,u{o}\n")).collect();
        let mut file = file(HEADER.as_bytes());
        let mut staying = open(&config, file.path(), SMALL);
        let (mut ours, mut theirs): (Vec<Batch>, Vec<Batch>) = (Vec::new(), Vec::new());
        let mut stops: Vec<usize> = stops.iter().map(|stop| stop % rows.len()).chain([rows.len()]).collect();
        stops.sort_unstable();
        stops.dedup();
        let mut written = 0;
        for stop in stops {
            // The writer is in the middle of a line when the file is read.
            let half = rows.get(stop).map_or("", |row| &row[..4]);
            file.write_all(rows[written..stop].concat().as_bytes()).unwrap();
            file.write_all(half.as_bytes()).unwrap();
            let cursor = ours.last().map(|batch| batch.cursor.clone());
            ours.extend(pull_all(&mut staying, cursor.clone()));
            theirs.extend(pull_all(&mut open(&config, file.path(), SMALL), cursor));
            file.write_all(rows.get(stop).map_or("", |row| &row[4..]).as_bytes()).unwrap();
            written = (stop + 1).min(rows.len());
        }
        prop_assert_eq!(facts(&ours), facts(&theirs));
        prop_assert_eq!(n_rows_in(&facts(&ours)) + ours.iter().map(|b| b.counts.n_duplicate_records).sum::<u64>(), rows.len() as u64);
        let ids: std::collections::BTreeSet<_> = facts(&ours).into_iter().map(|fact| fact.message_id.clone()).collect();
        prop_assert_eq!(ids.len(), facts(&ours).len(), "no id twice");
        let ends: Vec<&String> = [&ours, &theirs].into_iter().filter_map(|b| b.last()).map(|b| &b.cursor).collect();
        prop_assert_eq!(ends[0], ends[1]);
    }
}

#[test]
fn a_stray_quote_costs_its_own_line_only() {
    let rows = lines(500, |n| format!("{n},2026-03-01,1,u{n}"));
    let content = format!("{HEADER}7,2026-03-01,1,\"u7\n{rows}8,2026-03-01,1,\"u8");
    let mut config = grouped();
    for max_line_bytes in [64, 1024 * 1024] {
        config.max_line_bytes = max_line_bytes;
        let file = file(content.as_bytes());
        let batches = pull_all(&mut open(&config, file.path(), super::file::LIMITS), None);
        assert_eq!(facts(&batches).len(), 500);
        let aside: Vec<_> = batches[0].quarantined.iter().map(|q| (q.reason.as_str(), q.record.as_str())).collect();
        let expected = [("unclosed_quote", "7,2026-03-01,1,\"u7"), ("unclosed_quote", "8,2026-03-01,1,\"u8")];
        assert_eq!(aside, expected);
    }
}

#[test]
fn a_long_line_is_put_aside_and_reading_goes_on() {
    let content = format!("{HEADER}1,2026-03-01,1,{}\n2,2026-03-01,1,u\n", "x".repeat(300_000));
    let file = file(content.as_bytes());
    let batches = pull_all(&mut open(&grouped(), file.path(), super::file::LIMITS), None);
    assert_eq!(batches[0].quarantined[0].reason, "line_too_long");
    assert_eq!(facts(&batches).len(), 1);
    assert_eq!(batches[0].quarantined[0].locator.rsplit(':').next(), Some("2"));
}

#[test]
fn an_over_long_line_that_is_still_being_written_is_put_aside_once_when_it_is_over() {
    for (kind, header) in [("csv", HEADER), ("jsonl", "")] {
        let mapping = "imported = false\n[mapping]\nevent = 'Visit'\ntime = 'day'";
        let mut file = file(format!("{header}{}", "x".repeat(100)).as_bytes());
        let mut staying = open(&config(kind, mapping), file.path(), super::file::LIMITS);
        let first = pull(&mut staying, None).unwrap();
        assert_eq!(first.counts.n_records, 0, "{kind}");
        file.write_all(b"xxx").unwrap();
        let second = pull(&mut staying, Some(&first.cursor)).unwrap();
        file.write_all(b"x, and this is its end\n").unwrap();
        for connector in [&mut staying, &mut open(&config(kind, mapping), file.path(), super::file::LIMITS)] {
            let rest = pull(connector, Some(&second.cursor)).unwrap();
            let reasons: Vec<&str> = rest.quarantined.iter().map(|aside| aside.reason.as_str()).collect();
            assert_eq!(reasons, ["line_too_long"], "{kind}");
        }
    }
}

#[test]
fn a_stray_quote_on_a_line_as_long_as_lines_may_be_costs_no_other_line() {
    let long = format!("1,2026-03-01,1,\"{}\n", "x".repeat(64 - 17));
    assert_eq!(long.len(), 64);
    let file = file(format!("{HEADER}{long}2,2026-03-01,1,u\n3,2026-03-01,1,u\n").as_bytes());
    let batches = pull_all(&mut open(&grouped(), file.path(), super::file::LIMITS), None);
    assert_eq!((batches[0].quarantined.len(), facts(&batches).len()), (1, 2));
}

#[test]
fn another_file_under_a_stored_cursor_is_noticed() {
    let before = file(format!("{HEADER}1,2026-03-01,1,u\n2,2026-03-01,1,u\n").as_bytes());
    let cursor = pull(&mut open(&grouped(), before.path(), SMALL), None).unwrap().cursor;
    let check = |content: &str| {
        let after = file(format!("{HEADER}{content}").as_bytes());
        let error = pull(&mut open(&grouped(), after.path(), SMALL), Some(&cursor)).unwrap_err();
        assert!(error.to_string().contains("is not the file that 2 rows of source `shop` were read from"), "{error}");
    };
    check("1,2026-03-01,1,u\n2,2026-03-01,2,u\n");
    check("1,2026-03-01,1,u\n");
    let error = pull(&mut open(&grouped(), before.path(), SMALL), Some("12")).unwrap_err();
    assert!(error.to_string().starts_with("the stored position of source `shop` cannot be read"), "{error}");
}

#[test]
fn what_stands_before_the_damage_in_a_gzip_file_is_handed_over_first() {
    let rows = lines(30_000, |n| format!("{n},2026-03-01,{},u{n}", n * 7919 % 1000));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(format!("{HEADER}{rows}").as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    let file = file(&whole[..whole.len() / 2]);
    let mut connector = open(&grouped(), file.path(), super::file::LIMITS);
    let (mut cursor, mut n_facts) = (None, 0);
    let error = loop {
        match pull(&mut connector, cursor.as_deref()) {
            Ok(batch) => {
                assert!(!batch.done);
                n_facts += batch.facts.len();
                cursor = Some(batch.cursor);
            }
            Err(error) => break error,
        }
    };
    assert!(n_facts > 10_000, "{n_facts}");
    assert!(matches!(&error, ConnectorError::Invalid(message) if message.contains("is damaged")), "{error}");
    assert!(pull(&mut connector, cursor.as_deref()).is_err(), "and it stays damaged");
}

#[test]
fn an_endless_group_is_cut_into_parts_that_add_up() {
    let rows = lines(25_000, |n| format!("1,2026-03-01,{n},u"));
    let file = file(format!("{HEADER}{rows}").as_bytes());
    let batches = pull_all(&mut open(&grouped(), file.path(), super::file::LIMITS), None);
    let facts = facts(&batches);
    let parts: Vec<_> =
        facts.iter().map(|fact| fact.properties.get("order_part").and_then(serde_json::Value::as_u64)).collect();
    assert_eq!(parts, [None, Some(1), Some(2)]);
    let euros = "EUR".parse().unwrap();
    let total: i64 = facts.iter().map(|fact| fact.amount(euros).unwrap().minor).sum();
    assert_eq!(total, 24_999 * 25_000 / 2 * 100);
}

#[test]
fn a_row_that_does_not_belong_leaves_the_rest_of_its_group() {
    let content = format!("{HEADER}1,2026-03-01,1,u1\n1,2026-03-01,2,u2\n1,,3,\n1,2026-02-28,4,u1\n");
    let file = file(content.as_bytes());
    let batches = pull_all(&mut open(&grouped(), file.path(), super::file::LIMITS), None);
    let order = facts(&batches)[0];
    assert_eq!((order.properties["total"].as_str(), order.identities.len()), (Some("8.00"), 1));
    assert_eq!(order.occurred_at.to_string(), "2026-02-28T12:00:00Z");
    assert_eq!(batches[0].quarantined[0].reason, "mixed_customer");
}

#[test]
fn a_newer_version_of_an_order_is_no_part_of_it() {
    let mut config = grouped();
    config.mapping.as_mut().unwrap().event = Some("Order Updated".to_owned());
    let content = format!("{HEADER}1,2026-03-01,1,u\n2,2026-03-01,2,u\n1,2026-03-02,3,u\n");
    let file = file(content.as_bytes());
    let batches = pull_all(&mut open(&config, file.path(), super::file::LIMITS), None);
    let facts = facts(&batches);
    assert!(facts.iter().all(|fact| !fact.properties.contains_key("order_part")));
    assert_ne!(facts[0].message_id, facts[2].message_id);
}
