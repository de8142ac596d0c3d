//! Signals to the real binary: a good end within a bound, who was late, and a pause; and a receiver that hangs.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use tempfile::TempDir;

use crate::real_daemon::carts::{CARTS, cart, install, states};
use crate::real_daemon::{RealDaemon, client, post_batch};
use crate::servers::held::{Held, TAKEN, Waiting};
use crate::until::until;

/// A daemon that is in the middle of a webhook.
async fn in_the_middle(dir: &Path, receiver: &Held, arguments: &[&str]) -> (RealDaemon, Waiting) {
    install(dir, receiver.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start_under(&[], dir, arguments);
    daemon.batch(&[cart("one")]).await;
    let waiting = receiver.next();
    (daemon, waiting)
}

#[tokio::test]
async fn sigterm_waits_for_what_is_under_way_and_begins_nothing_new() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, waiting) = in_the_middle(dir.path(), &receiver, &[]).await;
    daemon.signal("TERM");
    daemon.wait_for("stopping: what is under way is finished first");
    waiting.answer(TAKEN);
    let (status, log) = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.lines().last().unwrap().contains("rekindle has stopped"), "{log}");
    assert_eq!(states(&dir.path().join("data")).await, ["sent"]);
}

#[tokio::test]
async fn sigterm_says_who_was_late_and_the_next_start_sorts_it_out() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, late) = in_the_middle(dir.path(), &receiver, &["--grace", "1"]).await;
    let mut stuck = TcpStream::connect(daemon.address()).unwrap();
    stuck.write_all(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
    // By the time that this is answered the request before it is being read.
    daemon.text("/livez").await;
    let log = daemon.stop().await;
    assert!(log.contains(&format!("stopped without waiting any longer for {} (webhook)", late.id)), "{log}");
    assert!(log.contains("requests were cut off, they took too long to end: 1 x /v1/track"), "{log}");
    assert_eq!(states(&dir.path().join("data")).await, ["committing"]);

    let again = Held::start();
    install(dir.path(), again.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start(dir.path());
    let repeated = again.next();
    assert_eq!(repeated.id, late.id, "the same key, so the receiver can know it for a repetition");
    repeated.answer(TAKEN);
    until("it is sent", || async { states(&dir.path().join("data")).await == ["sent"] }).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_sigterm_ends_it_at_once() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, _waiting) = in_the_middle(dir.path(), &receiver, &["--grace", "3600"]).await;
    daemon.signal("TERM");
    daemon.wait_for("a second signal stops at once");
    daemon.signal("TERM");
    let (status, log) = daemon.ended().await;
    assert_eq!(status.code(), Some(130), "{log}");
}

#[tokio::test]
async fn a_daemon_that_was_paused_goes_on_and_sends_nothing_twice() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, first) = in_the_middle(dir.path(), &receiver, &[]).await;
    let address = daemon.address();
    daemon.signal("STOP");
    first.answer(TAKEN);
    // Somebody takes it for dead and starts another one: the data are still in its hands.
    let (status, log) = RealDaemon::start(dir.path()).ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("another rekindle is running on it; stop that one"), "{log}");
    let second = tokio::spawn(async move { post_batch(&client(), address, &[cart("two")]).await.unwrap().0 });
    daemon.signal("CONT");
    assert_eq!(second.await.unwrap(), 200, "what came during the pause is taken in after it");
    receiver.next().answer(TAKEN);
    until("both are sent", || async { states(&dir.path().join("data")).await == ["sent", "sent"] }).await;
    daemon.stop().await;
    assert_eq!(receiver.n_more(), 0, "a webhook came again");
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_its_own_place_and_nobody_else() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, hanging) = in_the_middle(dir.path(), &receiver, &[]).await;
    for n in 0..10 {
        daemon.batch(&[cart(&n.to_string())]).await;
        let other = receiver.next();
        assert_ne!(other.id, hanging.id);
        other.answer(TAKEN);
    }
    hanging.answer(TAKEN);
    until("all are sent", || async { states(&dir.path().join("data")).await == ["sent"; 11] }).await;
    daemon.stop().await;
}
