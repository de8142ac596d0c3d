//! Mail through a mail server (RFC 5321), over connections of our own.
//!
//! ```text
//! EHLO  STARTTLS  AUTH │ MAIL  RCPT  DATA ── 354 ──▶ commit point ──▶ content and dot ──▶ 250 sent
//!                      │                                             no answer any more ──▶ unknown
//! ```
//!
//! Nothing is accepted before the final dot, so until the content begins an attempt can always be made again; once it has
//! begun, only the server's answer tells what happened. lettre's pooled transport leaves no room between DATA and the
//! content, and waits 40 ms a mail for want of `TCP_NODELAY`; hence this file.
//!
//! | the server says | to | outcome |
//! |---|---|---|
//! | nothing, or rubbish | anything before the content | retry |
//! | nothing, or rubbish | the content | unknown |
//! | 4xx | anything | retry |
//! | 5xx | its greeting, EHLO, AUTH, MAIL | retry: our configuration, not the recipient, is refused |
//! | 5xx | RCPT, DATA, the content | failed |

mod config;
mod connection;
mod implicit_tls;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailBodyParameter, MailParameter};

pub use self::config::{SmtpConfig, Tls};
use self::connection::{Connection, Relay, Trouble};
use super::email::{Composer, Letter, Sender};
use super::template::{Letterhead, SharedTemplates};
use super::{Channel, CommitPoint, Dispatch, Environment};
use crate::domain::delivery::{Doubt, Outcome};

/// Mails over one connection; many servers end it at about so many.
const MAX_MAILS: u32 = 100;

/// A person waits for the answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// The channel.
pub(super) struct Smtp {
    relay: Relay,
    composer: Composer,
    n_connections: usize,
    idle: Mutex<Vec<Connection>>,
}

impl Smtp {
    pub(super) fn open(
        config: &SmtpConfig,
        templates: SharedTemplates,
        letterhead: Letterhead,
        environment: Environment<'_>,
    ) -> Result<Self, String> {
        let sender = Sender::parse(&config.from, config.reply_to.as_deref())?;
        let relay = Relay::new(config, environment)?;
        if config.connections == 0 {
            return Err("`connections` must be at least 1".to_owned());
        }
        let composer = Composer { sender, templates, letterhead };
        Ok(Smtp { relay, composer, n_connections: config.connections, idle: Mutex::new(Vec::new()) })
    }

    async fn send(&self, letter: &Letter, commit_point: &dyn CommitPoint) -> Result<Outcome, Outcome> {
        let mut connection = self.begin(letter).await?;
        let accepted = connection.command(Rcpt::new(letter.to.clone(), vec![]), &[250, 251]).await;
        let ready = match accepted {
            Ok(_) => connection.command(Data, &[354]).await,
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = ready {
            if trouble.leaves_connection_usable() && connection.command(Rset, &[250]).await.is_ok() {
                self.park(connection);
            }
            return Err(trouble.about_the_recipient());
        }
        if let Err(why) = commit_point.commit().await {
            // Between 354 and the dot every byte is content, so there is no polite way out: the connection is dropped, and
            // the server with it what it has (nothing).
            drop(connection);
            return Err(Outcome::Retry { after: None, why: format!("not sent: {why}") });
        }
        match connection.content(&letter.bytes).await {
            Ok(receipt) => {
                self.park(connection);
                Ok(Outcome::Sent { receipt })
            }
            Err(Trouble::Lost(what)) => {
                Err(Outcome::Unknown { why: format!("the content was sent and no answer came: {what}") })
            }
            Err(trouble) => {
                if trouble.leaves_connection_usable() {
                    self.park(connection);
                }
                Err(trouble.about_the_recipient())
            }
        }
    }

    /// A connection on which MAIL has been accepted. The server may have left an idle one at any time; MAIL finds that
    /// out, and asking again on a fresh connection is safe, so no NOOP is spent on it.
    async fn begin(&self, letter: &Letter) -> Result<Connection, Outcome> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = idle {
            match self.mail(&mut connection, letter).await? {
                Ok(()) => return Ok(connection),
                Err(trouble) if trouble.leaves_connection_usable() => return Err(trouble.about_us("MAIL")),
                Err(_) => {}
            }
        }
        let mut connection = self.relay.connect().await?;
        match self.mail(&mut connection, letter).await? {
            Ok(()) => Ok(connection),
            Err(trouble) => Err(trouble.about_us("MAIL")),
        }
    }

    async fn mail(&self, connection: &mut Connection, letter: &Letter) -> Result<Result<(), Trouble>, Outcome> {
        let mut parameters = Vec::new();
        if !is_ascii(&letter.to) || !is_ascii(&letter.from) {
            if !connection.offers(Extension::SmtpUtfEight) {
                let why = format!("the mail server cannot write to `{}`: it does not offer SMTPUTF8", letter.to);
                return Err(Outcome::Failed { why });
            }
            parameters.extend([MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)]);
        }
        Ok(connection.command(Mail::new(Some(letter.from.clone()), parameters), &[250]).await.map(drop))
    }

    /// Keeps a connection for the next mail, unless it has carried enough or enough are kept.
    fn park(&self, mut connection: Connection) {
        connection.n_mails += 1;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.n_mails < MAX_MAILS && idle.len() < self.n_connections {
            idle.push(connection);
        } else {
            // The mail's fate is known; saying goodbye must not keep it waiting.
            tokio::spawn(connection.quit());
        }
    }
}

#[async_trait]
impl Channel for Smtp {
    fn name(&self) -> &'static str {
        "email"
    }

    fn doubt(&self) -> Doubt {
        Doubt::Hold
    }

    fn concurrency(&self) -> usize {
        self.n_connections
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let letter = match self.composer.compose(dispatch) {
            Ok(letter) => letter,
            Err(outcome) => return outcome,
        };
        self.send(&letter, commit_point).await.unwrap_or_else(|outcome| outcome)
    }
}

/// Connects, logs in, says NOOP and goodbye. What the server calls itself.
pub(super) async fn probe(config: &SmtpConfig, environment: Environment<'_>) -> Result<String, String> {
    let relay = Relay::new(config, environment)?;
    Sender::parse(&config.from, config.reply_to.as_deref())?;
    let why = |outcome| match outcome {
        Outcome::Retry { why, .. } | Outcome::Failed { why } | Outcome::Unknown { why } => why,
        Outcome::Sent { receipt } => receipt,
    };
    let spoken = async {
        let mut connection = relay.connect().await.map_err(why)?;
        connection.command(Noop, &[250]).await.map_err(|trouble| why(trouble.about_us("NOOP")))?;
        connection.quit().await;
        Ok(config.host.clone())
    };
    let late = || format!("{} did not finish a greeting within {PROBE_TIMEOUT:?}", config.host);
    tokio::time::timeout(PROBE_TIMEOUT, spoken).await.unwrap_or_else(|_| Err(late()))
}

fn is_ascii(address: &Address) -> bool {
    AsRef::<str>::as_ref(address).is_ascii()
}
