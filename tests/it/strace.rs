//! What the real binary asks of the system, call by call, as `strace` sees it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::not_run::not_run;
use crate::real_daemon::RealDaemon;

/// One call to the system: when it began and ended, as line numbers.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) begin: usize,
    pub(crate) end: usize,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A daemon that is watched.
pub(crate) struct Traced {
    pub(crate) daemon: RealDaemon,
    trace: PathBuf,
}

impl Traced {
    /// `rekindle run` on the configuration in `dir`, watched for these calls (`fsync,write`). `None` after saying for `what`
    /// that this machine lets nobody watch.
    pub(crate) fn start(what: &str, calls: &str, dir: &Path) -> Option<Self> {
        let strace = match strace() {
            Ok(strace) => strace,
            Err(why) => {
                not_run(what, &why);
                return None;
            }
        };
        let (trace, calls) = (dir.join("trace"), format!("trace={calls}"));
        // -D: the daemon stays our child. -y: which file is meant.
        let words = ["-f", "-D", "-yy", "-s", "8192", "-e", &calls, "-e", "signal=none", "-o"].map(OsStr::new);
        let command = [&[strace.as_os_str()], &words[..], &[trace.as_os_str()]].concat();
        Some(Traced { daemon: RealDaemon::start_under(&command, dir, &[]), trace })
    }

    /// Stops it; every call that it made.
    pub(crate) async fn stop(self) -> Vec<Call> {
        self.daemon.stop().await;
        read(&String::from_utf8_lossy(&fs::read(&self.trace).unwrap()))
    }
}

impl Call {
    /// The file or socket that it is about: `9</data/log.db-wal>`, `12<TCP:[…]>`.
    pub(crate) fn first_argument(&self) -> &str {
        let arguments = self.text.split_once('(').map_or("", |(_, rest)| rest);
        // `9</data/log.db-wal>, …`; a socket's name has arrows of its own.
        let ends = [">,", ">)", "> "];
        let end = ends.iter().filter_map(|end| arguments.find(end)).min();
        end.map_or(arguments, |end| &arguments[..=end])
    }
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
    assert_eq!(calls[1].first_argument(), "9</d/log.db-wal>");
    assert!(calls[1].text.ends_with("= 0"));
}
