//! `rekindle run` as it is run: files that a shop goes on writing are read on, whatever is wrong beside them.

use std::fs;
use std::io::Write;
use std::path::Path;

use rekindle::domain::event::names;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Log, ReadStore};
use tempfile::TempDir;

use crate::real_daemon::RealDaemon;
use crate::until::until;

const CONFIG: &str = r#"
[store]
path = "data"
[http]
listen = "127.0.0.1:0"
[[sources]]
name = "web"
kind = "jsonl"
path = "web.jsonl"
imported = false
[[sources]]
name = "club"
kind = "plugin"
plugin = "points"
path = "club.jsonl"
imported = false
[[sources]]
name = "late"
kind = "jsonl"
path = "late.jsonl"
imported = false
"#;

const MANIFEST: &str = "name = \"points\"\nversion = \"0.1.0\"\ndescription = \"Points\"\nlicense = \"MIT\"\nprotocol = 1\n\
                        format = \"jsonl\"\nrecord = \"one booking\"\n";

fn message(id: &str) -> String {
    format!(
        "{{\"type\":\"track\",\"event\":\"Product Viewed\",\"messageId\":\"{id}\",\"userId\":\"ana\",\
         \"timestamp\":\"2026-03-01T10:00:00Z\"}}"
    )
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// How many events of this name are in profiles, and how many records were put aside.
async fn found(dir: &Path, name: &str) -> (u64, u64) {
    // Not there yet, or just being made: nothing was written.
    let Ok(files) = SqliteFiles::open(&dir.join("data"), Access::Look).await else { return (0, 0) };
    let counts = files.store.event_counts().await.unwrap_or_default();
    let quarantined = files.log.quarantine_counts().await.unwrap_or_default();
    files.close().await;
    (counts.get(name).copied().unwrap_or(0), quarantined.iter().map(|(_, _, n)| n).sum())
}

async fn until_found(dir: &Path, name: &str, expected: (u64, u64)) {
    let what = format!("{expected:?} of {name} are there and put aside");
    until(&what, async || found(dir, name).await == expected).await;
}

#[tokio::test]
async fn files_that_are_still_written_are_read_on_and_a_broken_source_stops_nobody() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    fs::write(dir.join("config.toml"), CONFIG).unwrap();
    fs::create_dir_all(dir.join("plugins/points")).unwrap();
    fs::write(dir.join("plugins/points/plugin.toml"), MANIFEST).unwrap();
    fs::write(dir.join("plugins/points/map.rhai"), "fn map(record) { trak(\"Points Earned\"); }\n").unwrap();
    append(
        &dir.join("club.jsonl"),
        "{\"member\":\"ana\",\"day\":\"2026-05-01\"}\n{\"member\":\"bob\",\"day\":\"soon\"}\n",
    );
    // The second line is in the middle of being written.
    let second = message("2");
    append(&dir.join("web.jsonl"), &format!("{}\n{}", message("1"), &second[..40]));

    let daemon = RealDaemon::start(dir);
    until_found(dir, "Product Viewed", (1, 0)).await;
    append(&dir.join("web.jsonl"), &format!("{}\nnot JSON\n", &second[40..]));
    until_found(dir, "Product Viewed", (2, 1)).await;

    // A file that was not there comes; a plugin that was broken is mended, and puts aside what it cannot use.
    append(&dir.join("late.jsonl"), &format!("{}\n", message("1")));
    until_found(dir, "Product Viewed", (3, 1)).await;
    let script = "fn map(record) { user_id(record.member); occurred_at(record.day); track(\"Points Earned\"); }\n";
    fs::write(dir.join("plugins/points/map.rhai"), script).unwrap();
    until_found(dir, "Points Earned", (1, 2)).await;

    // A plugin that is broken while it runs keeps its last good version.
    fs::write(dir.join("plugins/points/map.rhai"), "fn map(record) {").unwrap();
    append(&dir.join("club.jsonl"), "{\"member\":\"eve\",\"day\":\"2026-05-02\"}\n");
    until_found(dir, "Points Earned", (2, 2)).await;

    // Killed, the daemon goes on where it was.
    let before = daemon.kill();
    fs::write(dir.join("plugins/points/map.rhai"), script).unwrap();
    append(&dir.join("web.jsonl"), &format!("{}\n{}\n", message("3"), message("2")));
    let daemon = RealDaemon::start(dir);
    until_found(dir, "Product Viewed", (4, 2)).await;
    until_found(dir, "Points Earned", (2, 2)).await;

    let log = format!("{before}\n{}", daemon.log());
    for said in ["unknown function `trak`", "did you mean `track`?", "late.jsonl", "the source can be read again"] {
        assert!(log.contains(said), "{said} is not in the log:\n{log}");
    }
    assert_eq!(log.matches("unknown function `trak`").count(), 1, "it is said once and not every few seconds");
    let woken = SqliteFiles::open(&dir.join("data"), Access::Look).await.unwrap();
    let events = woken.store.scan_events(0, usize::MAX).await.unwrap();
    assert!(events.iter().all(|(_, event)| !event.fact.imported && event.fact.name != names::IDENTIFIED));
}
