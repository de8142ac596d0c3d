//! What a `kill -9` cannot show: that an acknowledgement waits for the disk. `strace` sees every call of the real binary to
//! the system; before each answer there must be the write of that very event into the log and, after it, a sync that ended.

use tempfile::TempDir;

use crate::real_daemon::carts::install;
use crate::real_daemon::{client, post_batch};
use crate::servers::http::{Behaviour, Receiver};
use crate::strace::{Call, Traced};

const N_CLIENTS: usize = 8;
const N_EACH: usize = 5;

#[tokio::test]
async fn no_acknowledgement_leaves_before_the_sync_that_follows_its_write() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[], "ballast_mb = 1");
    let calls = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,read,recvfrom";
    let Some(traced) = Traced::start("Acknowledged after the sync", calls, dir.path()) else { return };
    let address = traced.daemon.address();
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
    let calls = traced.stop().await;
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
    let socket = arrived.first_argument();
    let answers = ["write", "writev", "sendto", "sendmsg"];
    let answered = calls
        .iter()
        .find(|c| c.begin > arrived.end && answers.contains(&c.name.as_str()) && c.first_argument() == socket)
        .unwrap_or_else(|| panic!("{marker} was never answered"));
    assert!(answered.text.contains("HTTP/1.1 200"), "{answered:?}");
    let written = calls
        .iter()
        .find(|c| c.name == "pwrite64" && c.first_argument().contains("/log.db-wal>") && c.text.contains(marker))
        .unwrap_or_else(|| panic!("{marker} was never written"));
    let is_sync = |c: &&Call| ["fsync", "fdatasync"].contains(&c.name.as_str()) && c.text.trim_end().ends_with("= 0");
    let synced = calls
        .iter()
        .filter(is_sync)
        .any(|c| c.first_argument().contains("/log.db-wal>") && c.begin > written.end && c.end < answered.begin);
    assert!(
        synced,
        "{marker} was written in line {} of the trace and answered in line {}, and the log was not synced in between",
        written.end, answered.begin
    );
}
