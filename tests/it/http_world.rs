//! The HTTP doors on a real socket, with an inbox behind them that can be told to refuse or to wait.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use rekindle::api::{ApiState, Limits, Readiness, WriteKey, serve};
use rekindle::domain::clock::{ManualClock, Timestamp};
use rekindle::domain::event::Fact;
use rekindle::domain::quarantine::Quarantined;
use rekindle::domain::unsubscribe::UnsubscribeSigner;
use rekindle::pipeline::ingest::{Intake, IntakeError};
use rekindle::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";
pub(crate) const KEY: &str = "a-write-key-that-must-never-be-shown";
pub(crate) const SECRET: &[u8] = b"0123456789abcdef";

/// Keeps what is handed in. Stands in for the log, whose own tests are elsewhere.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) commits: Mutex<Vec<(Vec<Fact>, Vec<Quarantined>)>>,
    /// What to answer instead.
    pub(crate) refusal: Mutex<Option<IntakeError>>,
    /// When set, a commit takes until a permit is added.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
    /// Told when a commit begins.
    pub(crate) entered: Notify,
}

#[async_trait]
impl Intake for Inbox {
    async fn submit(&self, facts: Vec<Fact>, quarantined: Vec<Quarantined>) -> Result<(), IntakeError> {
        self.entered.notify_one();
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        self.commits.lock().unwrap().push((facts, quarantined));
        Ok(())
    }
}

/// Ready unless told otherwise.
#[derive(Default)]
pub(crate) struct Switch(pub(crate) Mutex<Option<String>>);

impl Readiness for Switch {
    fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ready: Arc<Switch>,
    pub(crate) client: reqwest::Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

impl Http {
    pub(crate) async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        // Fails when another test of this process was first; any provider will do.
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Arc::new(Inbox::default());
        let clock = Arc::new(ManualClock::at(at(NOW)));
        let ready = Arc::new(Switch::default());
        let shutdown = CancellationToken::new();
        let state = ApiState {
            intake: inbox.clone(),
            clock: clock.clone(),
            write_keys: vec![WriteKey { key: KEY.to_owned(), source: "shop".to_owned() }],
            unsubscribe: UnsubscribeSigner::new(SECRET),
            metrics: Arc::new(Metrics::new()),
            ready: ready.clone(),
            limits,
            business_name: "Müller & <Sons>".to_owned(),
        };
        let server = tokio::spawn(serve(listener, state, shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Http { address, inbox, clock, ready, client, shutdown, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// A request with the right key, as client libraries state it.
    pub(crate) fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).header("authorization", basic(&format!("{KEY}:")))
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        answer(self.request(path).body(body)).await
    }

    /// Posts and expects to be accepted.
    pub(crate) async fn post(&self, path: &str, body: &Value) {
        let accepted = (200, json!({ "success": true }));
        assert_eq!(self.post_text(path, body.to_string()).await, accepted, "{path} {body}");
    }

    /// What came in since the last call of this, over all commits.
    pub(crate) fn received(&self) -> (Vec<Fact>, Vec<Quarantined>) {
        let (facts, quarantined): (Vec<_>, Vec<_>) = self.inbox.commits.lock().unwrap().drain(..).unzip();
        (facts.concat(), quarantined.concat())
    }

    /// The one fact that came in since the last call of this.
    pub(crate) fn fact(&self) -> Fact {
        let (mut facts, quarantined) = self.received();
        assert!(facts.len() == 1 && quarantined.is_empty(), "{facts:?} {quarantined:?}");
        facts.remove(0)
    }

    /// Why what came in since the last call of this was put aside, in order.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.received().1.into_iter().map(|q| q.reason).collect()
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {text}")))
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn basic(text: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
