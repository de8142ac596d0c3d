//! What a daemon is fed that nobody should feed it: each is told apart by a clear error or a quarantine entry, nothing is
//! lost, and the daemon goes on. The table in docs/guide/operator.md says what happens to each, and names its test.

mod files;
mod hostile_profile;
mod parsers;
mod receivers;
mod start;
mod values;

use std::collections::BTreeSet;

use crate::repository::{files_under, page};

#[test]
fn the_table_of_bad_input_names_tests_that_exist() {
    let guide = page("docs/guide/operator.md");
    let section = guide.split("\n## What happens with bad input\n").nth(1).expect("the guide has the section");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fed"));
    let named: Vec<&str> = rows.map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap().trim()).collect();
    assert!(named.len() >= 30, "the table has lost rows: {named:?}");
    let sources: Vec<String> =
        files_under("src", "rs").into_iter().chain(files_under("tests/it", "rs")).map(|path| page(&path)).collect();
    let functions: BTreeSet<&str> = sources
        .iter()
        .flat_map(|text| text.split("fn ").skip(1).filter_map(|rest| rest.split_once('(').map(|(name, _)| name)))
        .collect();
    let words = |cell: &&str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    for cell in &named {
        assert!(!words(cell).is_empty(), "a row names no test: {cell}");
        for test in words(cell) {
            assert!(functions.contains(test.as_str()), "there is no test `{test}`");
        }
    }
}
