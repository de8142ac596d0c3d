//! How a test says that it could not run: one line on standard error, which `./test` finds, lists and counts as skipped.
//!
//! The form of the line is the whole contract, so a test inside `src/`, which cannot see this file, may print it itself.

use std::path::PathBuf;

/// Says that `suite` did not run and `why`. Return from the test right after it.
pub(crate) fn not_run(suite: &str, why: &str) {
    #[expect(clippy::print_stderr, reason = "the line is meant for whoever runs the tests, and libtest captures it")]
    {
        eprintln!("NOT RUN: {suite}: {why}");
    }
}

/// The data set `file`, or `None` after saying that `suite` did not run. The sets are other people's and too large to
/// ship: they are looked for in the folder that `REKINDLE_DATA` names, else in `../shared/data`.
pub(crate) fn data_set(suite: &str, file: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let path = std::env::var_os("REKINDLE_DATA").map_or_else(beside, PathBuf::from).join(file);
    if path.is_file() {
        return Some(path);
    }
    not_run(suite, &format!("{file} is not in the folder that REKINDLE_DATA names"));
    None
}
