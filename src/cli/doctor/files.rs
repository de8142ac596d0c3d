//! The disk: the folder, its space, the two files, and who has them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Check;
use crate::cli::output::grouped;
use crate::config::Config;
use crate::stores::sqlite::{FileHealth, holder, look_through};

/// Less than this share of the disk free is worth a word: the store needs room to make room.
const LOW_PERCENT: u64 = 10;
/// Less than this is too little for an hour of events and a checkpoint.
const LEAST_MEBIBYTES: u64 = 200;
/// A daemon answers `/readyz` from memory.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn folder(config: &Config) -> Check {
    let dir = &config.store.path;
    if !dir.exists() {
        let remedy = "start with `rekindle run`, `import` or `demo`, or correct `[store] path`";
        return Check::warn("folder", format!("{} does not exist yet", dir.display()), remedy);
    }
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    match fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Check::ok("folder", format!("{} can be written", dir.display())),
        Err(error) => {
            let remedy = "give the folder to the user that runs rekindle, or make room on the disk";
            Check::fail("folder", format!("{} cannot be written: {error}", dir.display()), remedy)
        }
    }
}

pub(super) fn disk(config: &Config) -> Check {
    let existing = config.store.path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let Some((total, free)) = space(existing) else {
        return Check::warn("disk", "its free space could not be read (no `df`)", "watch the disk by other means");
    };
    let percent = (free * 100).checked_div(total).unwrap_or(0);
    let found = format!("{} MiB free, {percent} %", grouped(free >> 10));
    let remedy = "make room beside the data: SQLite cannot free space by deleting when the disk is full";
    if free >> 10 < LEAST_MEBIBYTES {
        Check::fail("disk", found, remedy)
    } else if percent < LOW_PERCENT {
        Check::warn("disk", found, remedy)
    } else {
        Check::ok("disk", found)
    }
}

/// Total and free KiB of the disk that `path` is on, by `df`, whose form POSIX states.
fn space(path: &Path) -> Option<(u64, u64)> {
    let output = Command::new("df").arg("-Pk").arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let numbers: Vec<u64> = text.lines().nth(1)?.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
    Some((*numbers.first()?, *numbers.get(2)?))
}

/// Shape and soundness of both files.
pub(super) async fn sound(config: &Config) -> Vec<Check> {
    match look_through(&config.store.path).await {
        Ok(files) => files.iter().map(one_file).collect(),
        Err(error) => {
            let remedy = "restore the folder from a backup; nothing can be decided on what is there";
            vec![Check::fail("store", error.to_string(), remedy)]
        }
    }
}

fn one_file(file: &FileHealth) -> Check {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(version) = file.unknown_migration {
        let found = format!("{name} was written by a newer rekindle (migration {version} is unknown to this one)");
        return Check::fail("store", found, "use that version or a newer one, or restore the backup of before");
    }
    if let Some(first) = file.damage.first() {
        let found = format!("{name} is damaged ({} findings): {first}", file.damage.len());
        return Check::fail("store", found, "stop the daemon and restore from a backup; keep the damaged folder");
    }
    if file.n_missing_migrations > 0 {
        let found = format!("{name} is sound, and older than this version by {} migrations", file.n_missing_migrations);
        return Check::warn("store", found, "back up; the next start of `rekindle run` brings it up to date");
    }
    Check::ok("store", format!("{name} is sound and of this version"))
}

/// Is a daemon running on the folder, and does it answer?
pub(super) async fn daemon(config: &Config) -> Check {
    let listen = reachable(config.http.listen);
    let ready = tokio::time::timeout(READY_TIMEOUT, ask_ready(listen)).await;
    let ready = ready.unwrap_or_else(|_| Err(format!("no answer within {READY_TIMEOUT:?}")));
    match (holder(&config.store.path), ready) {
        (Some(holder), Ok(true)) => {
            let pid = holder.pid.map_or_else(String::new, |pid| format!(" as process {pid}"));
            Check::ok("daemon", format!("runs{pid} and is ready on {listen}"))
        }
        (Some(holder), answer) => {
            let pid = holder.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            let why = answer.map_or_else(|error| error, |_| "it says that it is not ready".to_owned());
            let remedy = "an import or a demo also holds the folder; if it is the daemon, read its log and restart it";
            Check::fail("daemon", format!("{pid} holds the folder, and {listen} is not ready: {why}"), remedy)
        }
        (None, Ok(_)) => {
            let found = format!("nobody runs on this folder, but something answers on {listen}");
            Check::warn("daemon", found, "is that a rekindle with another `[store] path`? Give each its own port")
        }
        (None, Err(_)) => {
            Check::warn("daemon", "no daemon runs on this folder", "start it: `rekindle run --config FILE`")
        }
    }
}

/// Where a listener that listens everywhere can be reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask_ready(listen: SocketAddr) -> Result<bool, String> {
    let asked = async {
        let mut stream = TcpStream::connect(listen).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: rekindle\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0; 64];
        let n = stream.read(&mut head).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&head[..n]).contains(" 200"))
    };
    asked.await.map_err(|error| error.to_string())
}
