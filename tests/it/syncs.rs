//! What a `kill -9` cannot show: that an acknowledgement waits for the disk. `strace` sees every call of the real binary to
//! the system; before each answer there must be the write of that very event into the log and, after it, a sync that ended.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::not_run::not_run;
use crate::real_daemon::carts::install;
use crate::real_daemon::{RealDaemon, client, post_batch};
use crate::servers::http::{Behaviour, Receiver};

const N_CLIENTS: usize = 8;
const N_EACH: usize = 5;

/// One call to the system: when it began and ended, as line numbers.
#[derive(Debug)]
struct Call {
    begin: usize,
    end: usize,
    name: String,
    text: String,
}

#[tokio::test]
async fn no_acknowledgement_leaves_before_the_sync_that_follows_its_write() {
    let strace = match strace() {
        Ok(strace) => strace,
        Err(why) => return not_run("Acknowledged after the sync", &why),
    };
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[], "ballast_mb = 1");
    let trace = dir.path().join("trace");
    let calls = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,read,recvfrom";
    // -D: the daemon stays our child. -y: which file is meant.
    let words = ["-f", "-D", "-y", "-s", "8192", "-e", calls, "-e", "signal=none", "-o"].map(OsStr::new);
    let mut command = vec![strace.as_os_str()];
    command.extend(words);
    command.push(trace.as_os_str());
    let daemon = RealDaemon::start_under(&command, dir.path(), &[]);
    let address = daemon.address();
    let one = |n: usize| async move {
        let client = client();
        for m in 0..N_EACH {
            let event = serde_json::json!({
                "type": "track", "userId": format!("u{n}"), "event": "Ping", "messageId": format!("marker-{n}-{m}."),
            });
            assert_eq!(post_batch(&client, address, &[event]).await.unwrap().0, 200);
        }
    };
    futures_util::future::join_all((0..N_CLIENTS).map(one)).await;
    daemon.stop().await;

    let calls = read(&String::from_utf8_lossy(&fs::read(&trace).unwrap()));
    for n in 0..N_CLIENTS {
        for m in 0..N_EACH {
            judge(&calls, &format!("marker-{n}-{m}."));
        }
    }
}

/// One event's way through the calls.
fn judge(calls: &[Call], marker: &str) {
    let arrived = calls
        .iter()
        .find(|c| ["read", "recvfrom"].contains(&c.name.as_str()) && c.text.contains(marker))
        .unwrap_or_else(|| panic!("{marker} was never read from a socket"));
    let socket = first_argument(arrived);
    let answers = ["write", "writev", "sendto", "sendmsg"];
    let answered = calls
        .iter()
        .find(|c| c.begin > arrived.end && answers.contains(&c.name.as_str()) && first_argument(c) == socket)
        .unwrap_or_else(|| panic!("{marker} was never answered"));
    assert!(answered.text.contains("HTTP/1.1 200"), "{answered:?}");
    let written = calls
        .iter()
        .find(|c| c.name == "pwrite64" && first_argument(c).contains("/log.db-wal>") && c.text.contains(marker))
        .unwrap_or_else(|| panic!("{marker} was never written"));
    let is_sync = |c: &&Call| ["fsync", "fdatasync"].contains(&c.name.as_str()) && c.text.trim_end().ends_with("= 0");
    let synced = calls
        .iter()
        .filter(is_sync)
        .any(|c| first_argument(c).contains("/log.db-wal>") && c.begin > written.end && c.end < answered.begin);
    assert!(
        synced,
        "{marker} was written in line {} of the trace and answered in line {}, and the log was not synced in between",
        written.end, answered.begin
    );
}

fn first_argument(call: &Call) -> &str {
    let arguments = call.text.split_once('(').map_or("", |(_, rest)| rest);
    // `9</data/log.db-wal>, …`; a socket's name has arrows of its own.
    let ends = [">,", ">)", "> "];
    let end = ends.iter().filter_map(|end| arguments.find(end)).min();
    end.map_or(arguments, |end| &arguments[..=end])
}

/// The calls of all threads. What another thread interrupts stands in two lines: `… <unfinished ...>`, `<... resumed>`.
fn read(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(first) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread, (line, first));
            continue;
        }
        let (begin, text) = match text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => {
                let Some((begin, first)) = open.remove(thread) else { continue };
                (begin, format!("{first}{rest}"))
            }
            None => (line, text.to_owned()),
        };
        if let Some((name, _)) = text.split_once('(') {
            calls.push(Call { begin, end: line, name: name.to_owned(), text });
        }
    }
    calls
}

/// A `strace` that may look at processes here.
#[expect(
    clippy::disallowed_methods,
    reason = "where the tools are is told by `./test`, not by the daemon's configuration"
)]
fn strace() -> Result<PathBuf, String> {
    let strace = std::env::var("REKINDLE_STRACE").map_or_else(|_| PathBuf::from("strace"), PathBuf::from);
    let mut probe = Command::new(&strace);
    probe.args(["-f", "-D", "-y", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    match probe.status() {
        Ok(status) if status.success() => Ok(strace),
        Ok(_) => Err("strace may not look at processes here".to_owned()),
        Err(error) => Err(format!("no strace ({error}); REKINDLE_STRACE names one")),
    }
}

#[test]
fn a_trace_with_interrupted_calls_is_read_whole() {
    let trace = "7 fdatasync(9</d/log.db-wal> <unfinished ...>\n8 read(4<TCP:[1]>, \"a\", 1) = 1\n7 <... fdatasync resumed>) = 0\n";
    let calls = read(trace);
    assert_eq!(
        calls.iter().map(|c| (c.begin, c.end, c.name.as_str())).collect::<Vec<_>>(),
        [(1, 1, "read"), (0, 2, "fdatasync")]
    );
    assert_eq!(first_argument(&calls[1]), "9</d/log.db-wal>");
    assert!(calls[1].text.ends_with("= 0"));
}
