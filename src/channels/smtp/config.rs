//! `[email] kind = "smtp"`

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;

/// How to reach the mail server, and who writes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// The mail server's name; its certificate must be for this name. No default.
    pub host: String,
    /// Default: 587 with `starttls`, 465 with `implicit`, 25 with `none`: the ports that the standards give to each.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected. Default `starttls`: it is what submission servers offer, and a server that does not
    /// (or an attacker who hides it) makes mail wait instead of going out in the clear.
    #[serde(default)]
    pub tls: Tls,
    /// With `tls = "none"`: also towards another machine. Default `false`: mail, and the password, could be read on the way.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// A PEM file with certificates of your own authority, trusted beside the system's. Default: the system's alone.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The login. Default: none, for servers that know us by address.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password: `{ env = "SMTP_PASSWORD" }` or `{ file = "…" }`. Needed when `user` is given.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Who writes: `Shop <hello@shop.example>`; also the envelope sender, and its domain names our Message-IDs. No default.
    pub from: String,
    /// Where answers go. Default: to `from`.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// What we call ourselves in EHLO. Default: this machine's name.
    #[serde(default)]
    pub hello: Option<String>,
    /// Connections at once, and kept for reuse. Default 8: some thousand mails a minute, and few enough for any server.
    #[serde(default = "eight")]
    pub connections: usize,
    /// Until the connection stands. Default `10s`, at most `1m`.
    #[serde(default = "ten_seconds", serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub connect_timeout: SignedDuration,
    /// For each answer to a command, and for the TLS handshake. Default `60s`, which is also the most.
    #[serde(default = "one_minute", serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub command_timeout: SignedDuration,
    /// For sending the content and for the answer to it. Default `5m`, which is also the most: servers check for spam before they answer, and giving
    /// up too early makes a sent mail unknown.
    #[serde(default = "five_minutes", serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub content_timeout: SignedDuration,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// Begins in the clear and is upgraded before anything is said; never without.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// In the clear; towards this machine only, unless `allow_plaintext`.
    None,
}

fn eight() -> usize {
    8
}

fn ten_seconds() -> SignedDuration {
    SignedDuration::from_secs(10)
}

fn one_minute() -> SignedDuration {
    SignedDuration::from_secs(60)
}

fn five_minutes() -> SignedDuration {
    SignedDuration::from_secs(300)
}
