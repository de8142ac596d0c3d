//! `docs/reference/` is what this version of the program says of itself. `UPDATE=1 ./test references` rewrites it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::repository::ROOT;

fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rekindle")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn compare(file: &str, arguments: &[&str]) {
    let path = Path::new(ROOT).join("docs/reference").join(file);
    let now = said(arguments);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/reference/{file} is not what `rekindle {}` prints; UPDATE=1 ./test references rewrites it",
        arguments.join(" ")
    );
}

#[test]
fn the_references_are_those_of_this_version() {
    compare("config.md", &["reference", "config"]);
    compare("config.schema.json", &["config", "schema"]);
    compare("cli.md", &["reference", "cli"]);
    compare("rhai-api.md", &["reference", "rhai-api"]);
    compare("events.md", &["reference", "events"]);
}
