//! The listener under bad luck: a full log, slow senders, a stop in the middle of a request; and what machines ask of it.

use std::sync::Arc;
use std::time::Duration;

use rekindle::api::Limits;
use rekindle::pipeline::ingest::IntakeError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::http_world::{Http, KEY};

const CALL: &str = r#"{"userId":"u","event":"E"}"#;

#[tokio::test]
async fn a_sender_is_told_when_to_come_again() {
    let http = Http::start().await;
    let refusals = [
        (IntakeError::Busy { retry_after_seconds: 7 }, 429, "busy", "7"),
        (IntakeError::Busy { retry_after_seconds: 0 }, 429, "busy", "1"),
        (IntakeError::Draining, 503, "draining", "5"),
        (IntakeError::Unavailable("/var/lib/secret-path is full".to_owned()), 503, "unavailable", "10"),
    ];
    for (refusal, status, code, seconds) in refusals {
        *http.inbox.refusal.lock().unwrap() = Some(refusal);
        let response = http.request("/v1/track").body(CALL).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], seconds);
        let text = response.text().await.unwrap();
        assert!(text.contains(&format!("\"code\":\"{code}\"")) && !text.contains("secret-path"), "{text}");
    }
    *http.inbox.refusal.lock().unwrap() = None;
    http.post("/v1/track", &json!({ "userId": "u", "event": "E" })).await;
}

/// A whole request as bytes, for tests that look at the socket itself.
fn raw_call() -> String {
    format!(
        "POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {}\r\n\r\n{CALL}",
        CALL.len()
    )
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end too.
    stream.read_to_end(&mut rest).await.ok();
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn nobody_is_told_that_we_have_it_before_it_is_committed() {
    let http = Http::start().await;
    let gate = Arc::new(Semaphore::new(0));
    *http.inbox.gate.lock().unwrap() = Some(gate.clone());
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    stream.write_all(raw_call().as_bytes()).await.unwrap();
    http.inbox.entered.notified().await;
    // Had the answer been given already, it would be here by the time that others have theirs.
    for _ in 0..10 {
        assert_eq!(http.get("/livez").await.0, 200);
    }
    let early = stream.try_read(&mut [0; 64]);
    assert!(early.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "{early:?}");
    gate.add_permits(1);
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(http.fact().name, "E");
}

#[tokio::test]
async fn senders_who_never_finish_a_head_are_closed_and_give_their_place_to_others() {
    let limits = Limits { n_connections: 2, header_timeout: Duration::from_millis(100), ..Limits::default() };
    let http = Http::with_limits(limits).await;
    let mut slow = TcpStream::connect(http.address).await.unwrap();
    slow.write_all(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let mut silent = TcpStream::connect(http.address).await.unwrap();
    // Both places are taken, so this one waits for a place.
    http.post("/v1/track", &json!({ "userId": "u", "event": "E" })).await;
    assert_eq!(read_to_end(&mut slow).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_and_may_be_sent_again() {
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let http = Http::with_limits(limits).await;
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    let call = raw_call();
    stream.write_all(&call.as_bytes()[..call.len() - 3]).await.unwrap();
    assert_eq!(http.get("/livez").await.0, 200);
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n") && answer.contains("connection: close"), "{answer}");
    assert!(http.received().0.is_empty());
}

#[tokio::test]
async fn a_sender_of_too_much_is_heard_out_and_then_told() {
    let http = Http::start().await;
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    let head = "POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Like most libraries, it reads the answer only when all is written.
    for _ in 0..5 {
        stream.write_all(&vec![b' '; 1_000_000]).await.expect("the connection stays open");
        assert_eq!(http.get("/livez").await.0, 200);
    }
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 413 Payload Too Large\r\n"));
}

#[tokio::test]
async fn stopping_ends_the_requests_in_progress_and_sends_new_ones_away_politely() {
    let http = Http::start().await;
    let gate = Arc::new(Semaphore::new(0));
    *http.inbox.gate.lock().unwrap() = Some(gate.clone());
    let mut idle = TcpStream::connect(http.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_head(&mut idle).await;
    let mut in_progress = TcpStream::connect(http.address).await.unwrap();
    in_progress.write_all(raw_call().as_bytes()).await.unwrap();
    http.inbox.entered.notified().await;

    http.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "ok\n", "an idle connection is closed");
    let mut late = TcpStream::connect(http.address).await.unwrap();
    late.write_all(raw_call().as_bytes()).await.unwrap();
    let answer = read_to_end(&mut late).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("retry-after: 5\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(http.get("/readyz").await, (503, "not ready: the daemon is stopping\n".to_owned()));
    assert_eq!(http.get("/livez").await.0, 200);

    gate.add_permits(1);
    let answer = read_to_end(&mut in_progress).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(http.inbox.commits.lock().unwrap().len(), 1, "only the one in progress was taken in");
    http.server.await.unwrap().unwrap();
    assert!(TcpStream::connect(http.address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let http = Http::with_limits(Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    *http.inbox.gate.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
    let mut stuck = TcpStream::connect(http.address).await.unwrap();
    stuck.write_all(raw_call().as_bytes()).await.unwrap();
    http.inbox.entered.notified().await;
    http.shutdown.cancel();
    http.server.await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut stuck).await, "", "not answered, so it will be sent again");
}

#[tokio::test]
async fn health_and_metrics_answer_machines() {
    let http = Http::start().await;
    assert_eq!(http.get("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(http.get("/readyz").await, (200, "ready\n".to_owned()));
    *http.ready.0.lock().unwrap() = Some("the store is being migrated".to_owned());
    assert_eq!(http.get("/readyz").await, (503, "not ready: the store is being migrated\n".to_owned()));
    http.post("/v1/t/", &json!({ "userId": "ana@example.com", "event": "E" })).await;
    http.get("/u/a-token").await;
    http.get("/ana@example.com").await;
    let response = http.client.get(http.url("/metrics")).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    for line in [
        r#"rekindle_http_requests_total{route="/v1/track",status="200"} 1"#,
        r#"rekindle_http_requests_total{route="/u/{token}",status="404"} 1"#,
        r#"rekindle_http_requests_total{route="other",status="404"} 1"#,
        "rekindle_events_accepted_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ana@") && !text.contains("a-token") && !text.contains(KEY), "{text}");
}
