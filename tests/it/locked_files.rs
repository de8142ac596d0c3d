//! Files that somebody else has: locked for a while, of a newer version.

use std::path::Path;

use rekindle::stores::sqlite::{Access, SqliteFiles};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tempfile::TempDir;

use crate::real_daemon::RealDaemon;
use crate::real_daemon::carts::{CARTS, cart, install, messages, states};
use crate::servers::held::{COME_AGAIN, Held, TAKEN};
use crate::servers::http::{Behaviour, Receiver};
use crate::until::until;

/// Holds the one lock for writing, as a backup or somebody's `SQLite` shell may.
async fn lock(file: &Path) -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    connection
}

#[tokio::test]
async fn while_the_log_is_locked_senders_are_told_to_come_again_and_it_goes_on_by_itself() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start(dir.path()).listening();
    let held = lock(&dir.path().join("data/log.db")).await;
    for _ in 0..2 {
        let answer = daemon.offer(&[cart("one")]).await;
        assert_eq!(answer, (503, Some("10".to_owned())));
    }
    assert!(daemon.text("/readyz").await.contains("not ready: the log cannot be written"));
    held.close().await.unwrap();
    until("it is ready again", || async { daemon.text("/readyz").await == "ready\n" }).await;
    daemon.batch(&[cart("one")]).await;
    until("the webhook is sent", || async { states(&dir.path().join("data")).await == ["sent"] }).await;
    let log = daemon.stop().await;
    assert_eq!(log.matches("the log cannot be written").count(), 1, "said once: {log}");
    assert!(log.matches("another program holds it (a backup, a SQLite shell)").count() >= 1, "{log}");
    assert_eq!(log.matches("the log can be written again").count(), 1, "{log}");
    assert_eq!(messages(&dir.path().join("data")).await, ["one"]);
}

#[tokio::test]
async fn while_the_store_is_locked_events_are_taken_in_and_nothing_is_lost_or_sent_twice() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start(dir.path());
    daemon.batch(&[cart("before")]).await;
    until("the first is sent", || async { states(&dir.path().join("data")).await == ["sent"] }).await;
    let held = lock(&dir.path().join("data/store.db")).await;
    daemon.batch(&[cart("meanwhile")]).await;
    daemon.wait_for("deciding failed and is tried again until it goes on");
    assert!(daemon.text("/readyz").await.contains("not ready: deciding failed"));
    held.close().await.unwrap();
    until("the second is sent", || async { states(&dir.path().join("data")).await == ["sent", "sent"] }).await;
    until("it is ready again", || async { daemon.text("/readyz").await == "ready\n" }).await;
    let log = daemon.stop().await;
    assert_eq!(log.matches("deciding goes on").count(), 1, "{log}");
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn what_is_under_way_when_the_store_is_locked_is_finished_and_its_outcome_is_kept() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let data = dir.path().join("data");
    install(dir.path(), receiver.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start(dir.path());
    daemon.batch(&[cart("in the middle")]).await;
    let hanging = receiver.next();
    daemon.batch(&[cart("to be tried again")]).await;
    let patient = receiver.next();
    patient.answer(COME_AGAIN);
    until("the second waits", || async { states(&data).await == ["committing", "due"] }).await;
    let held = lock(&data.join("store.db")).await;
    daemon.wait_for("nothing new is begun by webhook until what is under way has ended");
    hanging.answer(TAKEN);
    daemon.wait_for("the ledger cannot be written; nothing leaves until it can");
    held.close().await.unwrap();
    let again = receiver.next();
    assert_eq!(again.id, patient.id);
    again.answer(TAKEN);
    until("both are sent", || async { states(&data).await == ["sent", "sent"] }).await;
    let log = daemon.stop().await;
    assert_eq!(receiver.n_more(), 0, "what was taken came again");
    assert_eq!(log.matches("the ledger can be written again").count(), 1, "{log}");
}

#[tokio::test]
async fn data_of_a_newer_version_are_refused_and_left_as_they_are() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start(Behaviour::status(200)).await);
    install(dir.path(), receiver.address, &[], "ballast_mb = 1");
    RealDaemon::start(dir.path()).listening().stop().await;
    let file = dir.path().join("data/store.db");
    let mut store = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9000, 'of tomorrow', true, x'00', 0)";
    store.execute(newer).await.unwrap();
    store.close().await.unwrap();
    let (status, log) = RealDaemon::start(dir.path()).ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        log.contains("was written by a newer rekindle (migration 9000 is unknown to this one); use that version"),
        "{log}"
    );
}

#[tokio::test]
async fn a_second_owner_is_kept_out() {
    let dir = TempDir::new().unwrap();
    let files = SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
    let error = SqliteFiles::open(dir.path(), Access::Own).await.unwrap_err().to_string();
    assert!(error.contains("another rekindle is running"), "{error}");
    SqliteFiles::open(dir.path(), Access::Look).await.unwrap();
    files.close().await;
    SqliteFiles::open(dir.path(), Access::Own).await.unwrap();
    // Not made by us, or by a later us.
    let empty = TempDir::new().unwrap();
    let error = SqliteFiles::open(empty.path(), Access::Look).await.unwrap_err().to_string();
    assert!(error.contains("there is no rekindle data"), "{error}");
    assert!(all_gone(&empty), "looking must not make files");
}

fn all_gone(dir: &TempDir) -> bool {
    std::fs::read_dir(dir.path()).unwrap().next().is_none()
}
