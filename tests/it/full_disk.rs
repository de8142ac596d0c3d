//! A full disk under the real binary: a small file system of its own where the tests may mount one, a limit on the size of
//! files everywhere else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::not_run::not_run;
use crate::real_daemon::carts::{CARTS, cart, install, messages, states};
use crate::real_daemon::{RealDaemon, program_under};
use crate::servers::http::{Behaviour, Receiver};
use crate::until::until;

/// A file system of some MiB that only the daemon sees, held by a process that sleeps.
struct SmallDisk {
    holder: Child,
    /// The mount point, as seen from here.
    data: PathBuf,
}

impl SmallDisk {
    fn mount(mib: u32, at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$1\" && echo mounted && exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]).arg(at).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.stderr(Stdio::null()).spawn().map_err(|e| format!("unshare: {e}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let data = PathBuf::from(format!("/proc/{}/root{}", holder.id(), at.display()));
        if line != "mounted\n" || fs::read_dir(&data).is_err() {
            holder.kill().ok();
            holder.wait().ok();
            return Err("a file system cannot be mounted here (it needs root)".to_owned());
        }
        Ok(SmallDisk { holder, data })
    }

    fn start(&self, dir: &Path) -> RealDaemon {
        RealDaemon::start_under(&self.inside().each_ref().map(OsStr::new), dir, &[])
    }

    /// The command under which a program sees it.
    fn inside(&self) -> [String; 5] {
        ["nsenter", "-t", &self.holder.id().to_string(), "-m", "--"].map(str::to_owned)
    }

    /// The states of all deliveries, asked of the program itself: `SQLite` does not open files through `/proc`.
    fn states(&self, dir: &Path) -> Vec<String> {
        let listing = ["deliveries", "list", "--json", "--limit", "1000"];
        let mut command = program_under(&self.inside().each_ref().map(OsStr::new), dir, &listing);
        let listed: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default();
        let mut states = Vec::new();
        collect_states(&listed, &mut states);
        states
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.data.join("filler")).unwrap();
        for piece in [1 << 20, 1 << 12] {
            while filler.write_all(&vec![0; piece]).is_ok() {}
        }
    }
}

fn collect_states(value: &Value, states: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect_states(one, states)),
        Value::Object(fields) => {
            states.extend(fields.get("state").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|one| collect_states(one, states));
        }
        _ => {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_loses_none_and_lets_deliveries_finish() {
    let dir = TempDir::new().unwrap();
    let disk = match SmallDisk::mount(48, &dir.path().join("data")) {
        Ok(disk) => disk,
        Err(why) => return not_run("A full disk", &why),
    };
    let come_again =
        Behaviour::Answers { status: 503, headers: vec![("retry-after", "2".to_owned())], body: String::new() };
    let receiver = Receiver::start(come_again).await;
    install(dir.path(), receiver.address, &[CARTS], "ballast_mb = 8");
    let daemon = disk.start(dir.path());
    let ballast = disk.data.join("ballast");
    until("the ballast is laid", || async { ballast.exists() }).await;
    daemon.batch(&[cart("before")]).await;
    until("the receiver was asked", || async { !receiver.received().is_empty() }).await;

    disk.fill();
    let mut acknowledged = vec!["before".to_owned()];
    for n in 0.. {
        let id = format!("full-{n}");
        match daemon.offer(&[cart(&id)]).await {
            (200, _) => acknowledged.push(id),
            (507, retry_after) => {
                assert_eq!(retry_after.as_deref(), Some("10"));
                break;
            }
            (status, _) => panic!("{status}"),
        }
    }
    daemon.wait_for("the disk is full: events are refused until 12 MiB are free");
    until("the ballast is gone", || async { !ballast.exists() }).await;
    assert!(daemon.text("/readyz").await.contains("not ready: the disk is full"));
    receiver.behave(Behaviour::status(200));
    let all_sent = vec!["sent"; acknowledged.len()];
    until("what is under way is sent and recorded", || async { disk.states(dir.path()) == all_sent }).await;
    assert_eq!(daemon.offer(&[cart("meanwhile")]).await.0, 507);

    // Whoever starts it anew on that disk gets a daemon that says what is wrong, not one that dies.
    daemon.kill();
    let daemon = disk.start(dir.path());
    until("it knows", || async { daemon.text("/readyz").await.contains("not ready: the disk is full") }).await;
    assert_eq!(daemon.offer(&[cart("meanwhile")]).await.0, 507);

    fs::remove_file(disk.data.join("filler")).unwrap();
    until("it is ready again", || async { daemon.text("/readyz").await == "ready\n" }).await;
    assert!(ballast.exists(), "laid again");
    daemon.batch(&[cart("after")]).await;
    acknowledged.push("after".to_owned());
    until("all is sent", || async { disk.states(dir.path()) == vec!["sent"; acknowledged.len()] }).await;
    let log = daemon.stop().await;
    let copy = TempDir::new().unwrap();
    fs::copy(disk.data.join("store.db"), copy.path().join("store.db")).unwrap();
    assert_eq!(messages(copy.path()).await, acknowledged);
    assert_eq!(log.matches("the disk is full").count(), 1, "said once: {log}");
    assert_eq!(receiver.received().iter().filter(|request| request.body.is_empty()).count(), 0);
}

/// An event with this much text in it.
fn fat(message: &str) -> Value {
    let mut fat = cart(message);
    fat["properties"] = json!({ "text": "x".repeat(20_000) });
    fat
}

#[tokio::test]
async fn where_files_may_not_grow_events_are_refused_and_none_that_was_acknowledged_is_lost() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[CARTS], "ballast_mb = 1");
    // The migrations need room; the limit is for what comes after them.
    RealDaemon::start(dir.path()).listening().stop().await;
    // In blocks of 512 bytes: 3 MiB.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 6144; exec \"$@\"", "sh"].map(OsStr::new);
    let daemon = RealDaemon::start_under(&limited, dir.path(), &[]);
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let id = format!("m{n}");
        match daemon.offer(&[fat(&id)]).await {
            (200, _) => acknowledged.push(id),
            (507, _) => break,
            (status, _) => panic!("{status}"),
        }
        assert!(n < 1_000, "the limit does not hold");
    }
    daemon.wait_for("the disk is full");
    assert!(daemon.text("/readyz").await.contains("not ready: the disk is full"));
    daemon.kill();

    let daemon = RealDaemon::start(dir.path());
    until("everything is derived", || async { messages(&dir.path().join("data")).await == acknowledged }).await;
    let sent = vec!["sent"; acknowledged.len()];
    until("all is sent", || async { states(&dir.path().join("data")).await == sent }).await;
    daemon.stop().await;
}
