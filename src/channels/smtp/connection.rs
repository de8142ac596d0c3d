//! One connection to the mail server: opened by us, with `TCP_NODELAY`, and a bound on every wait.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use jiff::SignedDuration;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::commands::Quit;
use lettre::transport::smtp::extension::{ClientId, Extension};
use lettre::transport::smtp::response::Response;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::{SmtpConfig, Tls};
use super::implicit_tls;
use crate::channels::header::one_line;
use crate::channels::{Environment, limit};
use crate::domain::delivery::Outcome;

/// Characters of a server's answer that are kept.
const MAX_ANSWER: usize = 500;

/// For saying goodbye, which nobody waits for.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The mail server as configured, checked.
pub(super) struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    tls_parameters: Option<TlsParameters>,
    hello: ClientId,
    credentials: Option<Credentials>,
    timeouts: Timeouts,
}

#[derive(Clone, Copy)]
struct Timeouts {
    connect: Duration,
    command: Duration,
    content: Duration,
}

/// What went wrong in a conversation.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer, or none that makes sense: the connection cannot be used any more.
    Lost(String),
    /// The server said no.
    Refused { code: u16, text: String },
}

impl Trouble {
    fn lost(what: &str, limit: Duration) -> Self {
        Trouble::Lost(format!("{what} took longer than {limit:?}"))
    }

    /// A server that says 421 is about to hang up.
    pub(super) fn leaves_connection_usable(&self) -> bool {
        matches!(self, Trouble::Refused { code, .. } if *code != 421)
    }

    /// The outcome when the recipient or the mail was at stake.
    pub(super) fn about_the_recipient(self) -> Outcome {
        match self {
            Trouble::Refused { code, text } if code >= 500 => Outcome::Failed { why: text },
            Trouble::Refused { text, .. } => Outcome::Retry { after: None, why: text },
            Trouble::Lost(why) => Outcome::Retry { after: None, why },
        }
    }

    /// The outcome when we were at stake: a refusal is no fault of the recipient's and can be repaired.
    pub(super) fn about_us(self, step: &str) -> Outcome {
        let why = match self {
            Trouble::Refused { code, text } if code >= 500 => {
                format!("the mail server refuses us at {step}, check `[email]`: {text}")
            }
            Trouble::Refused { text, .. } => text,
            Trouble::Lost(why) => why,
        };
        Outcome::Retry { after: None, why }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let words = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        match error.status() {
            Some(code) => {
                Trouble::Refused { code: code.into(), text: one_line(&format!("{code} {words}"), MAX_ANSWER) }
            }
            None => Trouble::Lost(one_line(&format!("connection to the mail server lost: {words}"), MAX_ANSWER)),
        }
    }
}

impl Relay {
    /// Checks the configuration and reads the password.
    pub(super) fn new(config: &SmtpConfig, environment: Environment<'_>) -> Result<Self, String> {
        if config.tls == Tls::None && !config.allow_plaintext && !is_this_machine(&config.host) {
            return Err(format!(
                "`tls = \"none\"` would send mail to {} in the clear; use \"starttls\" or \"implicit\", or say \
                 `allow_plaintext = true`",
                config.host
            ));
        }
        let credentials = match (&config.user, &config.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Credentials::new(user.clone(), password.resolve(environment)?)),
            (Some(_), None) => return Err("`user` is given without `password`".to_owned()),
            (None, Some(_)) => return Err("`password` is given without `user`".to_owned()),
        };
        let port = match config.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        };
        let tls_parameters = if config.tls == Tls::None { None } else { Some(tls_parameters(config)?) };
        Ok(Relay {
            host: config.host.clone(),
            port: config.port.unwrap_or(port),
            tls: config.tls,
            tls_parameters,
            hello: hello(config.hello.as_deref())?,
            credentials,
            timeouts: Timeouts {
                connect: limit("connect_timeout", config.connect_timeout, SignedDuration::from_mins(1))?,
                command: limit("command_timeout", config.command_timeout, SignedDuration::from_mins(1))?,
                content: limit("content_timeout", config.content_timeout, SignedDuration::from_mins(5))?,
            },
        })
    }

    /// Connected, protected, logged in.
    pub(super) async fn connect(&self) -> Result<Connection, Outcome> {
        let retry = |why: String| Outcome::Retry { after: None, why };
        let tcp = timeout(self.timeouts.connect, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .map_err(|_| {
                retry(format!("{}:{} did not answer within {:?}", self.host, self.port, self.timeouts.connect))
            })?
            .map_err(|e| retry(format!("cannot reach {}:{}: {e}", self.host, self.port)))?;
        // lettre writes content and final dot separately: without this the dot waits 40 ms for an acknowledgement.
        tcp.set_nodelay(true).map_err(|e| retry(format!("cannot prepare the connection: {e}")))?;
        let greeted = timeout(self.timeouts.command, self.greet(tcp)).await;
        let smtp = greeted.unwrap_or_else(|_| Err(Trouble::lost("the mail server's greeting", self.timeouts.command)));
        let smtp = smtp.map_err(|trouble| trouble.about_us("its greeting"))?;
        let mut connection = Connection { smtp, n_mails: 0, timeouts: self.timeouts };
        if self.tls == Tls::Starttls {
            self.upgrade(&mut connection).await?;
        }
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    async fn greet(&self, tcp: TcpStream) -> Result<AsyncSmtpConnection, Trouble> {
        let stream: Box<dyn AsyncTokioStream> = match (self.tls, &self.tls_parameters) {
            (Tls::Implicit, Some(parameters)) => Box::new(implicit_tls::Stream::new(tcp, parameters.clone()).await?),
            _ => Box::new(tcp),
        };
        Ok(AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?)
    }

    /// An attacker in the middle can slip answers in before the handshake which would be read as answers to what is said
    /// after it. They cannot do harm, because each step insists on its own code (235, 250, 354): such a conversation ends,
    /// one answer behind, before any content is sent.
    async fn upgrade(&self, connection: &mut Connection) -> Result<(), Outcome> {
        let Some(parameters) = self.tls_parameters.clone() else { return Ok(()) };
        if !connection.smtp.can_starttls() {
            let why =
                format!("{} does not offer STARTTLS; nothing is sent in the clear (see `tls` in `[email]`)", self.host);
            return Err(Outcome::Retry { after: None, why });
        }
        let upgraded = timeout(self.timeouts.command, connection.smtp.starttls(parameters, &self.hello)).await;
        let upgraded = upgraded.map_err(|_| Trouble::lost("the TLS handshake", self.timeouts.command));
        upgraded.and_then(|done| done.map_err(Into::into)).map_err(|trouble| trouble.about_us("STARTTLS"))
    }

    async fn log_in(&self, connection: &mut Connection) -> Result<(), Outcome> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let offered = [Mechanism::Plain, Mechanism::Login];
        let answer = timeout(self.timeouts.command, connection.smtp.auth(&offered, credentials)).await;
        let answer = answer.map_err(|_| Trouble::lost("the answer to AUTH", self.timeouts.command));
        let answer = answer.and_then(|answer| answer.map_err(Into::into));
        answer.and_then(|answer| expect(answer, &[235])).map(drop).map_err(|trouble| trouble.about_us("AUTH"))
    }
}

/// A conversation in progress. Dropping it closes the socket without a word.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    pub(super) n_mails: u32,
    timeouts: Timeouts,
}

impl Connection {
    /// Says `command`; an answer that is none of `expected` and no refusal means that the two sides are out of step.
    pub(super) async fn command(&mut self, command: impl Display, expected: &[u16]) -> Result<Response, Trouble> {
        match timeout(self.timeouts.command, self.smtp.command(command)).await {
            Ok(answer) => expect(answer?, expected),
            Err(_) => Err(Trouble::lost("the mail server's answer", self.timeouts.command)),
        }
    }

    /// Sends the content and the final dot; the server's word for having taken it.
    pub(super) async fn content(&mut self, bytes: &[u8]) -> Result<String, Trouble> {
        // lettre ends the content with a line break of its own.
        let bytes = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
        let answer = match timeout(self.timeouts.content, self.smtp.message(bytes)).await {
            Ok(answer) => expect(answer?, &[250])?,
            Err(_) => return Err(Trouble::lost("the answer to the content", self.timeouts.content)),
        };
        let words: Vec<&str> = answer.message().collect();
        Ok(one_line(&format!("{} {}", answer.code(), words.join(" ")), MAX_ANSWER))
    }

    pub(super) fn offers(&self, extension: Extension) -> bool {
        self.smtp.server_info().supports_feature(extension)
    }

    pub(super) async fn quit(mut self) {
        // Whatever the answer, the connection ends here.
        timeout(QUIT_TIMEOUT, self.smtp.command(Quit)).await.ok();
    }
}

fn expect(answer: Response, expected: &[u16]) -> Result<Response, Trouble> {
    if expected.iter().any(|code| answer.has_code(*code)) {
        return Ok(answer);
    }
    let words = one_line(&format!("{} {}", answer.code(), answer.first_line().unwrap_or_default()), MAX_ANSWER);
    Err(Trouble::Lost(format!("the mail server is out of step: it said `{words}` where {expected:?} was due")))
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn hello(name: Option<&str>) -> Result<ClientId, String> {
    match name {
        None => Ok(ClientId::default()),
        Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(ClientId::Domain(name.to_owned()))
        }
        Some(name) => Err(format!("`hello = {name:?}` is not a host name")),
    }
}

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let wrong = |e: &dyn Display| format!("cannot use `ca_file` {}: {e}", path.display());
        let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|e| wrong(&e))?);
    }
    builder.build().map_err(|e| format!("cannot set up TLS: {e}"))
}
