//! The kinds of delivery. A channel carries one delivery out and says what came of it. It is handed a [`CommitPoint`] to
//! await just before the irreversible byte, and it declares what doubt means.
//!
//! ```text
//! email    mailbox     .eml files in a folder                       doubt: resend (a file per key)
//!          smtp        a mail server, commit point after its 354    doubt: hold
//! webhook  journal     JSON lines in a file                         doubt: resend (a line per key)
//!          webhook     HTTP, signed by Standard Webhooks            doubt: resend (the receiver knows the key)
//! ```
//!
//! A new kind is one new file and one line in the registry at the foot of this one.
#![warn(missing_docs)]

mod email;
mod header;
pub mod journal;
pub mod mailbox;
pub mod smtp;
pub mod template;
pub mod webhook;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::template::{Letterhead, SharedTemplates};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Delivery, Doubt, Outcome};

/// Everything that a channel is given for one attempt.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// What to do, under which key.
    pub delivery: Delivery,
    /// The address, for channels that write to the person.
    pub email: Option<String>,
    /// What templates see as `customer`.
    pub customer: Map<String, Value>,
    /// Where this customer leaves this topic; only on marketing mail.
    pub unsubscribe_url: Option<String>,
    /// When this attempt began.
    pub now: Timestamp,
}

/// Makes the intent durable. A channel awaits it just before the byte that cannot be taken back, and sends nothing when it
/// fails.
#[async_trait]
pub trait CommitPoint: Send + Sync {
    /// Durable on return. An error (the lease was lost, the disk is full) means: do not send.
    async fn commit(&self) -> Result<(), String>;
}

/// One way out.
#[async_trait]
pub trait Channel: Send + Sync {
    /// The [`crate::domain::action::Action::channel`] that this channel carries out.
    fn name(&self) -> &'static str;

    /// What to do with an attempt of which a crash hid the end.
    fn doubt(&self) -> Doubt;

    /// How many attempts it can carry out side by side.
    fn concurrency(&self) -> usize;

    /// One attempt.
    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome;
}

/// `[email]`: how mail leaves.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EmailConfig {
    /// As files into a folder.
    Folder(mailbox::FolderConfig),
    /// Through a mail server.
    Smtp(Box<smtp::SmtpConfig>),
}

/// `[webhook]`: how webhooks leave.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WebhookConfig {
    /// As lines into a file.
    Journal(journal::JournalConfig),
    /// To the receivers.
    Http(webhook::HttpConfig),
}

impl WebhookConfig {
    /// What rules may name.
    pub fn endpoint_names(&self) -> BTreeSet<String> {
        match self {
            WebhookConfig::Journal(journal) => journal.endpoints.iter().cloned().collect(),
            WebhookConfig::Http(http) => http.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect(),
        }
    }
}

/// Looks up environment variables for secrets.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a configured limit. An attempt must end within the lease of its delivery (15 minutes), or another worker could
/// begin it again; the longest waits that can be configured add up to less.
fn limit(key: &str, configured: SignedDuration, longest: SignedDuration) -> Result<Duration, String> {
    let limit = Duration::try_from(configured).ok().filter(|limit| !limit.is_zero() && configured <= longest);
    limit.ok_or_else(|| format!("`{key}` must be more than nothing and at most {longest:#}, not {configured:#}"))
}

/// Opens the configured way for mail. The error says which key of `[email]` is wrong, or what is missing.
pub fn open_email(
    config: &EmailConfig,
    templates: SharedTemplates,
    letterhead: Letterhead,
    environment: Environment<'_>,
) -> Result<Box<dyn Channel>, String> {
    Ok(match config {
        EmailConfig::Folder(config) => Box::new(mailbox::Folder::open(config, templates, letterhead)?),
        EmailConfig::Smtp(config) => Box::new(smtp::Smtp::open(config, templates, letterhead, environment)?),
    })
}

/// Opens the configured way for webhooks. The error says which key of `[webhook]` is wrong, or what is missing.
pub fn open_webhook(config: &WebhookConfig, environment: Environment<'_>) -> Result<Box<dyn Channel>, String> {
    Ok(match config {
        WebhookConfig::Journal(config) => Box::new(journal::Journal::open(config)?),
        WebhookConfig::Http(config) => Box::new(webhook::Webhook::open(config, environment)?),
    })
}

/// Says whether the mail server can be reached and lets us in, without sending anything; `None` where none is configured.
pub async fn probe_email(config: &EmailConfig, environment: Environment<'_>) -> Option<Result<String, String>> {
    match config {
        EmailConfig::Folder(_) => None,
        EmailConfig::Smtp(config) => Some(smtp::probe(config, environment).await),
    }
}

/// Says of each configured receiver, by name, whether its address and key can be used, without calling it.
pub async fn probe_webhook(
    config: &WebhookConfig,
    environment: Environment<'_>,
) -> Vec<(String, Result<String, String>)> {
    match config {
        WebhookConfig::Journal(_) => Vec::new(),
        WebhookConfig::Http(config) => webhook::probe(config, environment).await,
    }
}
