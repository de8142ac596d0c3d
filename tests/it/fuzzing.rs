//! What the fuzzer runs (`tests/fuzz`), without the fuzzer: the laws that it holds readers of foreign text to, on all that
//! it begins with and on what it found, so that they are held in every test run and follow the code.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::repository::{ROOT, page};

#[path = "../fuzz/laws/config.rs"]
mod config;
#[path = "../fuzz/laws/cron.rs"]
mod cron;
#[path = "../fuzz/laws/csv.rs"]
mod csv;
#[path = "../fuzz/laws/event.rs"]
mod event;
#[path = "../fuzz/laws/rule.rs"]
mod rule;

/// Calls `law` with what lies directly in each of `folders`.
fn each_file(folders: &[&str], law: impl Fn(&[u8])) {
    for folder in folders {
        let files = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{folder} is empty");
        for path in paths {
            let data = std::fs::read(&path).unwrap();
            let held = catch_unwind(AssertUnwindSafe(|| law(&data)));
            assert!(held.is_ok(), "it breaks on {}", path.display());
        }
    }
}

/// As the fuzzer does: what is not UTF-8 is no text.
fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

#[test]
fn laws_of_events_hold_for_all_that_the_fuzzer_found() {
    each_file(&["tests/fuzz/seeds/event"], event::holds);
}

#[test]
fn laws_of_files_of_rows_hold_for_all_that_the_fuzzer_found() {
    let folder = tempfile::tempdir().unwrap();
    each_file(&["tests/fuzz/seeds/csv"], |data| csv::holds(folder.path(), data));
}

#[test]
fn laws_of_schedules_hold_for_all_that_the_fuzzer_found() {
    each_file(&["tests/fuzz/seeds/cron"], |data| cron::holds(text(data)));
}

#[test]
fn laws_of_rules_hold_for_all_that_the_fuzzer_found() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["tests/fuzz/seeds/rule", "rules", "rules/shared", "tests/fixtures/bad_rules"];
    each_file(&folders, |data| rule::holds(folder.path(), text(data)));
}

#[test]
fn laws_of_the_configuration_hold_for_all_that_the_fuzzer_found() {
    let folder = tempfile::tempdir().unwrap();
    each_file(&["tests/fuzz/seeds/config", "docs/guide/examples"], |data| config::holds(folder.path(), text(data)));
}

/// Its `Cargo.lock` follows ours by hand. Where they part, the fuzzer runs code that nobody ships.
#[test]
fn the_fuzzer_is_built_of_the_versions_that_we_ship() {
    let (ours, theirs) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    let other = |(name, versions): (&String, &BTreeSet<String>)| {
        let shipped = ours.get(name)?;
        (!versions.is_subset(shipped)).then(|| format!("{name}: {versions:?}, and we ship {shipped:?}"))
    };
    let apart: Vec<String> = theirs.iter().filter_map(other).collect();
    assert_eq!(apart, [""; 0], "run `cargo update --precise` in tests/fuzz for each of them");

    let manifest: toml::Table = page("Cargo.toml").parse().unwrap();
    let missing: Vec<&String> =
        manifest["dependencies"].as_table().unwrap().keys().filter(|name| !theirs.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0], "run `cargo update --workspace` in tests/fuzz");
}

/// Name → versions.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lock: toml::Table = page(path).parse().unwrap();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let of = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(of("name")).or_default().insert(of("version"));
    }
    assert!(versions.len() > 100, "{path}");
    versions
}
