//! The load generator: keep-alive connections that speak just enough HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The write key `dev`, as Segment's libraries send it: `base64("dev:")`.
const AUTHORIZATION: &str = "Basic ZGV2Og==";

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, answer: vec![0; 16_384] })
    }

    /// Posts `body`, or gets where there is none; the status.
    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> io::Result<u16> {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {AUTHORIZATION}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut request = Vec::with_capacity(head.len() + body.len());
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        let mut n = 0;
        loop {
            let read = self.stream.read(&mut self.answer[n..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            n += read;
            if let Some(status) = complete(&self.answer[..n]) {
                return Ok(status);
            }
        }
    }
}

/// The status, once head and body are here.
fn complete(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    (answer.len() >= end + length.unwrap_or(0)).then(|| head.split(' ').nth(1)?.parse().ok())?
}

/// How a load went.
pub(crate) struct Load {
    /// From the first byte sent to the last answer.
    pub(crate) wall: Duration,
    /// Of each request, in order of size.
    pub(crate) answers: Vec<Duration>,
}

impl Load {
    /// The latency that `share` (0 to 1) of the requests did not exceed.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        percentile(&self.answers, share)
    }
}

pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Posts every body once (what is empty is a GET), over `n_clients` connections, each waiting for its answer before its next request. A client that
/// is told to come back does.
pub(crate) fn post_all(
    address: SocketAddr,
    path: &'static str,
    bodies: Vec<Vec<u8>>,
    n_clients: usize,
) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let bodies = Arc::new(bodies);
        let next = Arc::new(AtomicUsize::new(0));
        let mut clients = Vec::new();
        for _ in 0..n_clients {
            clients.push(Client::connect(address).await.context("cannot connect to the daemon")?);
        }
        let started = Instant::now();
        let mut working = Vec::new();
        for mut client in clients {
            let (bodies, next) = (bodies.clone(), next.clone());
            working.push(tokio::spawn(async move {
                let mut answers = Vec::new();
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sent = Instant::now();
                    loop {
                        match client.post(path, body).await? {
                            429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
                            200 => break,
                            status => return Err(anyhow::anyhow!("the daemon answered {status}")),
                        }
                    }
                    answers.push(sent.elapsed());
                }
                Ok(answers)
            }));
        }
        let mut answers = Vec::new();
        for one in working {
            answers.extend(one.await??);
        }
        let wall = started.elapsed();
        ensure!(answers.len() == bodies.len(), "not every request was answered");
        answers.sort_unstable();
        Ok(Load { wall, answers })
    })
}

/// One request on a connection of its own: status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
