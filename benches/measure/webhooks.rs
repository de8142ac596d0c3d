//! From the acknowledgement to the webhook: a rule on every event, at a steady 1,000 events a second.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::daemon::{House, free_address};
use crate::http::{Client, percentile};
use crate::limits::{millis, sync_time};
use crate::report::{Bar, held};

const N_EVENTS: usize = 15_000;
/// The first of them warm up statements and connections.
const N_WARM_UP: usize = 2_000;
const PER_SECOND: u32 = 1_000;
const N_CLIENTS: usize = 64;
const MUST: f64 = 50.0;

type Times = Arc<Mutex<Vec<Option<Instant>>>>;

pub(crate) fn latency() -> anyhow::Result<Vec<Bar>> {
    let receiver = free_address()?;
    let sections = format!(
        "[webhook]\nkind = \"http\"\nconcurrency = 64\n[[webhook.endpoints]]\nname = \"crm\"\nurl = \"http://{receiver}/hook\"\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         [email]\nkind = \"folder\"\npath = \"mailbox\"\nfrom = \"Bench <bench@shop.example>\"\n"
    );
    let rule = "//! Every event becomes a webhook.\nconst RULE = #{ trigger: on(\"Pinged\") };\n\n\
                fn when(customer, event) { true }\n\n\
                fn then(customer, event) { webhook(\"crm\", #{ number: event.properties.number }); }\n";
    let house = House::build(&sections, false, &[("every_event.rhai".to_owned(), rule.to_owned())])?;
    let (_daemon, _) = house.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (acknowledged, left) = runtime.block_on(load(house.address, receiver))?;
    let mut delays: Vec<Duration> = acknowledged[N_WARM_UP..]
        .iter()
        .zip(&left[N_WARM_UP..])
        .filter_map(|(acknowledged, left)| Some(left.as_ref()?.saturating_duration_since(*acknowledged.as_ref()?)))
        .collect();
    ensure!(
        delays.len() == N_EVENTS - N_WARM_UP,
        "{} webhooks did not come: {}",
        N_EVENTS - N_WARM_UP - delays.len(),
        house.log()
    );
    delays.sort_unstable();
    let (p50, p99) = (millis(percentile(&delays, 0.5)), millis(percentile(&delays, 0.99)));
    let sync = millis(sync_time(200)?);
    Ok(vec![Bar {
        what: "from acknowledgement to the webhook's arrival at 1,000 events/s, p99".to_owned(),
        must: format!("< {MUST} ms"),
        measured: format!("{p99:.1} ms (p50 {p50:.1} ms)"),
        limit: format!("{:.1} ms: three syncs, for the decision, the claim and the intent", 3.0 * sync),
        ratio: format!("{:.2}", p99 / MUST),
        outcome: held(p99 < MUST),
    }])
}

/// Posts at the stated rate, whatever the answers take; then waits for the last webhook.
async fn load(
    daemon: SocketAddr,
    receiver: SocketAddr,
) -> anyhow::Result<(Vec<Option<Instant>>, Vec<Option<Instant>>)> {
    let acknowledged: Times = Arc::new(Mutex::new(vec![None; N_EVENTS]));
    let left: Times = Arc::new(Mutex::new(vec![None; N_EVENTS]));
    let listener = TcpListener::bind(receiver).await?;
    let seen = left.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(receive(stream, seen.clone()));
        }
    });
    let started = Instant::now() + Duration::from_millis(200);
    let mut clients = Vec::new();
    for first in 0..N_CLIENTS {
        let mut client = Client::connect(daemon).await?;
        let acknowledged = acknowledged.clone();
        clients.push(tokio::spawn(async move {
            for number in (first..N_EVENTS).step_by(N_CLIENTS) {
                let at = started + Duration::from_secs(1) * u32::try_from(number)? / PER_SECOND;
                tokio::time::sleep_until(at.into()).await;
                let body = format!(
                    "{{\"userId\":\"u{}\",\"messageId\":\"ping-{number}\",\"event\":\"Pinged\",\
                     \"properties\":{{\"number\":{number}}}}}",
                    number % 5_000
                );
                let status = client.post("/v1/track", body.as_bytes()).await?;
                ensure!(status == 200, "the daemon answered {status}");
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(Instant::now());
            }
            Ok(())
        }));
    }
    for client in clients {
        client.await??;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while left.lock().unwrap_or_else(PoisonError::into_inner).iter().any(Option::is_none) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let take = |times: &Times| times.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((take(&acknowledged), take(&left)))
}

/// Answers 204 to whatever comes, and notes the first arrival of each number.
async fn receive(mut stream: TcpStream, left: Times) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        let Some((number, end)) = request(&read) else {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let now = Instant::now();
        if let Some(number) = number {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = left.get_mut(number) {
                slot.get_or_insert(now);
            }
        }
        read.drain(..end);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
}

/// The number in a whole request, and where that request ends.
fn request(read: &[u8]) -> Option<(Option<usize>, usize)> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&read[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head + length.unwrap_or(0);
    let body = std::str::from_utf8(read.get(head..end)?).ok()?;
    let number = body.split("\"number\":").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    Some((number, end))
}
