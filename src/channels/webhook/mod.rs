//! Webhooks over HTTP, as Standard Webhooks 1.0 has them: `webhook-id` is the idempotency key and stays the same over
//! attempts, like every byte of the body; `webhook-timestamp` and with it the signature are of the attempt.
//!
//! The receiver recognises a repetition by the id, so in doubt the attempt is made again. Redirects are never followed:
//! the signature was made for this address, and another one could lie inside our own network.

mod answer;
mod sign;

use std::collections::BTreeMap;
use std::error::Error;

use async_trait::async_trait;
use jiff::SignedDuration;
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::answer::Answer;
use self::sign::Key;
use super::header::one_line;
use super::{Channel, CommitPoint, Dispatch, Environment, limit};
use crate::domain::action::Action;
use crate::domain::delivery::{Doubt, Outcome};
use crate::domain::diagnostic::did_you_mean;
use crate::domain::secret::Secret;

pub(super) use self::sign::payload;

/// Bytes of an answer that are read; the rest of it is of no interest.
const MAX_ANSWER: usize = 64 * 1024;

/// Characters of an answer that are kept as the receiver's words.
const MAX_WORDS: usize = 200;

/// `[webhook] kind = "http"`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WebhookHttpConfig")]
pub struct HttpConfig {
    /// The receivers; rules name them and never state addresses.
    pub endpoints: Vec<EndpointConfig>,
    /// Requests at once. Default 16: one slow receiver should not hold up the others.
    #[serde(default = "sixteen")]
    pub concurrency: usize,
    /// Until the connection stands. Default `5s`, at most `1m`.
    #[serde(default = "five_seconds", serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub connect_timeout: SignedDuration,
    /// For the whole attempt. Default `15s`, at most `1m`: Standard Webhooks asks receivers to answer within 15 to 30.
    #[serde(default = "fifteen_seconds", serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub timeout: SignedDuration,
}

/// `[[webhook.endpoints]]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// What rules call it: `webhook("crm", …)`.
    pub name: String,
    /// Where it listens: `https://…`; `http://` towards this machine only, unless `allow_plaintext`.
    pub url: String,
    /// The key that signs: `whsec_` and base64 of 24 to 64 bytes, as `{ env = "…" }` or `{ file = "…" }`. Without a default:
    /// an unsigned webhook can be sent by anybody.
    pub secret: Secret,
    /// Also over plain HTTP to another machine. Default `false`: what is in a webhook could be read on the way.
    #[serde(default)]
    pub allow_plaintext: bool,
}

fn sixteen() -> usize {
    16
}

fn five_seconds() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn fifteen_seconds() -> SignedDuration {
    SignedDuration::from_secs(15)
}

/// The channel.
pub(super) struct Webhook {
    client: Client,
    endpoints: BTreeMap<String, Endpoint>,
    concurrency: usize,
}

struct Endpoint {
    url: Url,
    key: Key,
}

impl Webhook {
    pub(super) fn open(config: &HttpConfig, environment: Environment<'_>) -> Result<Self, String> {
        let mut endpoints = BTreeMap::new();
        for one in &config.endpoints {
            let wrong = |why: String| format!("webhook endpoint `{}`: {why}", one.name);
            let url = address(one).map_err(wrong)?;
            let secret = one.secret.resolve(environment).map_err(wrong)?;
            let key = Key::parse(&secret).map_err(wrong)?;
            if endpoints.insert(one.name.clone(), Endpoint { url, key }).is_some() {
                return Err(wrong("the name is given twice".to_owned()));
            }
        }
        if config.concurrency == 0 {
            return Err("`concurrency` must be at least 1".to_owned());
        }
        Ok(Webhook { client: client(config)?, endpoints, concurrency: config.concurrency })
    }

    /// The attempt after the commit point.
    async fn post(&self, endpoint: &Endpoint, dispatch: &Dispatch, body: Vec<u8>) -> Outcome {
        let id = dispatch.delivery.idempotency_key();
        let at = dispatch.now.as_micros().div_euclid(1_000_000);
        let signature = endpoint.key.sign(&id, at, &body);
        let request = self
            .client
            .post(endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Retry { after: None, why: in_words(error) },
        };
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (retry_after, location) = (header(RETRY_AFTER), header(LOCATION));
        let status = response.status().as_u16();
        let words = words(response).await;
        Answer { status, retry_after, location, words }.outcome(dispatch.now)
    }
}

#[async_trait]
impl Channel for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn doubt(&self) -> Doubt {
        Doubt::Resend
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let Action::Webhook { endpoint: name, data } = &dispatch.delivery.action else {
            return Outcome::Failed { why: "this channel carries out webhooks only".to_owned() };
        };
        let Some(endpoint) = self.endpoints.get(name) else {
            // Somebody may be about to add it; the rule was checked against the configuration of its day.
            let hint = did_you_mean(name, self.endpoints.keys().map(String::as_str));
            let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            let why = format!("there is no `[[webhook.endpoints]]` named `{name}`{hint}");
            return Outcome::Retry { after: None, why };
        };
        let body = payload(&dispatch.delivery, data);
        match commit_point.commit().await {
            Ok(()) => self.post(endpoint, dispatch, body).await,
            Err(why) => Outcome::Retry { after: None, why: format!("not sent: {why}") },
        }
    }
}

/// One client for all endpoints: our TLS, our limits, no redirects, no proxy out of the environment.
fn client(config: &HttpConfig) -> Result<Client, String> {
    // The first installation in the process wins; a second is an error that means nothing.
    rustls::crypto::ring::default_provider().install_default().ok();
    let longest = SignedDuration::from_mins(1);
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(limit("connect_timeout", config.connect_timeout, longest)?)
        .timeout(limit("timeout", config.timeout, longest)?)
        .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| format!("cannot set up the HTTP client: {}", in_words(e)))
}

/// Of each receiver: is its address one, is there a machine behind the name, can its key be used?
pub(super) async fn probe(config: &HttpConfig, environment: Environment<'_>) -> Vec<(String, Result<String, String>)> {
    let mut found = Vec::new();
    for one in &config.endpoints {
        let usable = one.secret.resolve(environment).and_then(|secret| Key::parse(&secret).map(drop));
        let resolved = match usable.and_then(|()| address(one)) {
            Ok(url) => resolve(&url).await,
            Err(why) => Err(why),
        };
        found.push((one.name.clone(), resolved));
    }
    found
}

/// Where the name leads; never more of the address than its host, the path may be a secret.
async fn resolve(url: &Url) -> Result<String, String> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(443);
    let looked_up = tokio::net::lookup_host((host, port)).await;
    match looked_up.map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(format!("{host} is {}", address.ip())),
        Ok(None) => Err(format!("`{host}` leads nowhere")),
        Err(error) => Err(format!("`{host}` cannot be resolved: {error}")),
    }
}

fn address(config: &EndpointConfig) -> Result<Url, String> {
    let url = Url::parse(&config.url).map_err(|e| format!("`{}` is not a URL: {e}", config.url))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or password is not taken: addresses end up in logs".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here || config.allow_plaintext => Ok(url),
        "http" => Err(format!("would send to {host} in the clear; use https, or say `allow_plaintext = true`")),
        other => Err(format!("`{other}:` is no way to send a webhook; use https")),
    }
}

/// The beginning of what the receiver says. The status has been given by now, so a body that ends badly changes nothing.
async fn words(mut response: Response) -> String {
    let mut read = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    one_line(&String::from_utf8_lossy(&read), MAX_WORDS)
}

/// The whole chain of causes, without the address: its path may be a secret.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words = format!("{words}: {next}");
        cause = next.source();
    }
    one_line(&words, 2 * MAX_WORDS)
}
