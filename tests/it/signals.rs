//! Signals to the real binary: a good end within a bound, who was late, and a pause.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use tempfile::TempDir;

use crate::real_daemon::{CARTS, RealDaemon, cart, client, install, post_batch, states, until};

/// A receiver of webhooks that answers each request only when it is told to.
struct Held {
    address: SocketAddr,
    /// `webhook-id` of each request, as soon as it is here whole.
    came: mpsc::Receiver<String>,
    answer: mpsc::Sender<()>,
}

impl Held {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((said, came), (answer, told)) = (mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().map_while(Result::ok) {
                while let Some(id) = read_request(&mut BufReader::new(&tcp)) {
                    said.send(id).unwrap();
                    if told.recv().is_err() {
                        return;
                    }
                    if tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                        break;
                    }
                }
            }
        });
        Held { address, came, answer }
    }
}

/// The id of a whole request; `None` when the sender went away.
fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut id, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("webhook-id", value)) => id = Some(value.to_owned()),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line == "\r\n" => break,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    id
}

/// A daemon that is in the middle of a webhook.
async fn in_the_middle(dir: &Path, receiver: &Held, arguments: &[&str]) -> (RealDaemon, String) {
    install(dir, receiver.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start_under(&[], dir, arguments);
    let answer = post_batch(&client(), daemon.address(), &[cart("one")]).await.unwrap();
    assert_eq!(answer.0, 200);
    let id = receiver.came.recv().unwrap();
    (daemon, id)
}

#[tokio::test]
async fn sigterm_waits_for_what_is_under_way_and_begins_nothing_new() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, _) = in_the_middle(dir.path(), &receiver, &[]).await;
    daemon.signal("TERM");
    daemon.wait_for("stopping: what is under way is finished first");
    receiver.answer.send(()).unwrap();
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.last().unwrap().contains("rekindle has stopped"), "{log:?}");
    assert_eq!(states(&dir.path().join("data")).await, ["sent"]);
}

#[tokio::test]
async fn sigterm_says_who_was_late_and_the_next_start_sorts_it_out() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, id) = in_the_middle(dir.path(), &receiver, &["--grace", "1"]).await;
    let mut stuck = TcpStream::connect(daemon.address()).unwrap();
    stuck.write_all(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
    let (client, metrics) = (client(), format!("http://{}/livez", daemon.address()));
    // By the time that this is answered the request before it is being read.
    client.get(&metrics).send().await.unwrap();
    let log = daemon.stop().join("\n");
    assert!(log.contains(&format!("stopped without waiting any longer for {id} (webhook)")), "{log}");
    assert!(log.contains("requests were cut off, they took too long to end: 1 x /v1/track"), "{log}");
    assert_eq!(states(&dir.path().join("data")).await, ["committing"]);

    let again = Held::start();
    install(dir.path(), again.address, &[CARTS], "ballast_mb = 1");
    let daemon = RealDaemon::start(dir.path());
    assert_eq!(again.came.recv().unwrap(), id, "the same key, so the receiver can know it for a repetition");
    again.answer.send(()).unwrap();
    until("it is sent", || async { states(&dir.path().join("data")).await == ["sent"] }).await;
    daemon.stop();
}

#[tokio::test]
async fn a_second_sigterm_ends_it_at_once() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, _) = in_the_middle(dir.path(), &receiver, &["--grace", "3600"]).await;
    daemon.signal("TERM");
    daemon.wait_for("a second signal stops at once");
    daemon.signal("TERM");
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(130), "{log:?}");
}

#[tokio::test]
async fn a_daemon_that_was_paused_goes_on_and_sends_nothing_twice() {
    let (dir, receiver) = (TempDir::new().unwrap(), Held::start());
    let (daemon, _) = in_the_middle(dir.path(), &receiver, &[]).await;
    let address = daemon.address();
    daemon.signal("STOP");
    receiver.answer.send(()).unwrap();
    // Somebody takes it for dead and starts another one: the data are still in its hands.
    let (status, log) = RealDaemon::start(dir.path()).ended();
    assert_eq!(status.code(), Some(1));
    assert!(log.join("\n").contains("another rekindle is running on it; stop that one"), "{log:?}");
    let waiting = tokio::spawn(async move { post_batch(&client(), address, &[cart("two")]).await.unwrap().0 });
    daemon.signal("CONT");
    assert_eq!(waiting.await.unwrap(), 200, "what came during the pause is taken in after it");
    receiver.came.recv().unwrap();
    receiver.answer.send(()).unwrap();
    until("both are sent", || async { states(&dir.path().join("data")).await == ["sent", "sent"] }).await;
    daemon.stop();
    assert!(receiver.came.try_recv().is_err(), "a webhook came again");
}
