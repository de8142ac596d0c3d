//! The pieces of Python and JavaScript that the integrator's guide offers to copy are run: against a real daemon, and (in
//! `channels/documented.rs`) on a real webhook.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rekindle::domain::known_event::KNOWN_EVENTS;
use rekindle::stores::ReadStore;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use serde_json::Value;
use tempfile::TempDir;

use crate::not_run::not_run;
use crate::real_daemon::{RealDaemon, program};
use crate::repository::page;
use crate::until::until;

/// The block of the guide in `language` that has `needle`.
pub(crate) fn code(language: &str, needle: &str) -> String {
    let guide = page("docs/guide/integrator.md");
    let opening = format!("```{language}\n");
    let blocks = guide.split(&opening).skip(1).filter_map(|rest| rest.split("```\n").next());
    blocks.map(str::to_owned).find(|block| block.contains(needle)).expect("the guide shows it")
}

/// What `interpreter` (`python3`, `node`) prints of `script` when it gets `input`; `None` after saying that it is not here.
pub(crate) fn printed(interpreter: &str, script: &str, input: &str) -> Option<String> {
    let mut command = Command::new(interpreter);
    command.args([if interpreter == "node" { "-e" } else { "-c" }, script]);
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        not_run("the code in the integrator's guide", &format!("{interpreter} is not here"));
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A daemon that knows nothing, in `dir`.
fn new_daemon(dir: &TempDir) -> RealDaemon {
    std::fs::write(dir.path().join("config.toml"), "[http]\nlisten = \"127.0.0.1:0\"\n[store]\nballast_mb = 0\n")
        .unwrap();
    RealDaemon::start(dir.path())
}

#[tokio::test]
async fn every_example_of_the_event_reference_is_taken_in_as_what_it_says() {
    let dir = TempDir::new().unwrap();
    let daemon = new_daemon(&dir);
    for event in KNOWN_EVENTS {
        let (path, body) = event.example;
        let request = daemon.request(path).header("content-type", "application/json").body(body);
        assert_eq!(request.send().await.unwrap().status(), 200, "{}", event.name);
    }
    until("all of them are in the books", || async {
        let files = SqliteFiles::open(&dir.path().join("rekindle-data"), Access::Look).await.unwrap();
        let counts = files.store.event_counts().await.unwrap();
        counts.values().sum::<u64>() >= KNOWN_EVENTS.len() as u64
    })
    .await;
    let files = SqliteFiles::open(&dir.path().join("rekindle-data"), Access::Look).await.unwrap();
    let counts = files.store.event_counts().await.unwrap();
    let missing: Vec<&str> = KNOWN_EVENTS.iter().map(|e| e.name).filter(|name| !counts.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[tokio::test]
async fn senders_that_copy_the_guide_are_answered_and_counted_once() {
    let dir = TempDir::new().unwrap();
    let daemon = new_daemon(&dir);
    let host = daemon.url("");
    let python = format!(
        "{}\nfor _ in range(2): print(track('42', 'Order Completed', {{'order_id': '1', 'total': 10}}, host='{host}', \
         message_id='m-1'))",
        code("python", "def track")
    );
    let javascript = format!(
        "{}\ntrack('42', 'Product Viewed', {{ product_id: 'mug' }}, {{ host: '{host}' }}).then((status) => \
         console.log(status));",
        code("js", "function track")
    );
    let python = printed("python3", &python, "");
    let javascript = printed("node", &javascript, "");
    assert!(python.as_ref().is_none_or(|answers| answers == "200\n200"), "{python:?}");
    assert!(javascript.as_ref().is_none_or(|answer| answer == "200"), "{javascript:?}");
    if python.is_none() || javascript.is_none() {
        return;
    }
    let n_events = || {
        let mut show = program(dir.path(), &["customers", "show", "42", "--json"]);
        let shown: Value = serde_json::from_slice(&show.output().unwrap().stdout).unwrap_or_default();
        shown["profile"]["n_events"].as_u64().unwrap_or_default()
    };
    until("both events are in the books", async || n_events() >= 2).await;
    daemon.stop().await;
    assert_eq!(n_events(), 2, "the order that was sent twice counts once");
}
