//! Writes a mail: template and customer in, one RFC 5322 message out, ready for a server or a folder.
//!
//! Only lettre's types make headers, and every text that came from outside passes [`one_line`] first, so no name, subject
//! or address can begin a header of its own. The same delivery always gets the same Message-ID and the same MIME boundary:
//! nothing in a mail is random.

use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

use super::header::one_line;
use super::template::{Letterhead, Rendered, SharedTemplates, Values};
use super::{Dispatch, Outcome};
use crate::domain::action::Action;
use crate::domain::consent::MessageClass;
use crate::domain::delivery::Delivery;
use crate::domain::id::short_hash;

/// Characters of a display name.
const MAX_NAME: usize = 64;

/// Bytes of an unsubscribe link: a header line has at most 998.
const MAX_URL: usize = 900;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    from: Mailbox,
    reply_to: Option<Mailbox>,
}

impl Sender {
    /// Reads `Name <name@company.example>` as it stands in the configuration.
    pub(super) fn parse(from: &str, reply_to: Option<&str>) -> Result<Self, String> {
        let reply_to = reply_to.map(|text| mailbox("reply_to", text)).transpose()?;
        Ok(Sender { from: mailbox("from", from)?, reply_to })
    }

    fn domain(&self) -> &str {
        self.from.email.domain()
    }
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
    let wrong = |e: &dyn std::fmt::Display| {
        format!("`{key} = {text:?}` is not a mail address ({e}); write `Name <name@domain>`")
    };
    let parsed: Mailbox = text.parse().map_err(|e| wrong(&e))?;
    let email = address(parsed.email.as_ref()).map_err(|e| wrong(&e))?;
    Ok(Mailbox::new(parsed.name.map(|name| one_line(&name, MAX_NAME)), email))
}

/// A mail on its way: envelope and bytes.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) from: Address,
    pub(super) to: Address,
    /// CRLF line ends; ends with one.
    pub(super) bytes: Vec<u8>,
}

/// What writing needs beside the delivery.
pub(super) struct Composer {
    pub(super) sender: Sender,
    pub(super) templates: SharedTemplates,
    pub(super) letterhead: Letterhead,
}

impl Composer {
    /// The mail, or what became of the attempt. A template that is broken or gone is the house's fault and can be repaired
    /// while the attempts last, so it is a retry; an address that cannot be used is final.
    pub(super) fn compose(&self, dispatch: &Dispatch) -> Result<Letter, Outcome> {
        let failed = |why: &str| Outcome::Failed { why: why.to_owned() };
        let retry = |why: String| Outcome::Retry { after: None, why };
        let delivery = &dispatch.delivery;
        let Action::Email { template, vars } = &delivery.action else {
            return Err(failed("this channel carries out emails only"));
        };
        let class = delivery.class.ok_or_else(|| failed("the delivery has no message class, so nobody admitted it"))?;
        let to = dispatch.email.as_deref().ok_or_else(|| failed("the customer has no email address"))?;
        let to = address(to).map_err(|why| Outcome::Failed { why })?;
        let templates = self.templates.current();
        if class != MessageClass::Marketing
            && templates.cards().get(template).is_some_and(|card| card.class == MessageClass::Marketing)
        {
            return Err(failed("the template became marketing after this was admitted as something else"));
        }
        let unsubscribe_url = match class {
            MessageClass::Marketing => Some(unsubscribe_url(dispatch).map_err(retry)?),
            MessageClass::Transactional | MessageClass::Service => None,
        };
        let values = Values {
            vars,
            customer: &dispatch.customer,
            letterhead: &self.letterhead,
            unsubscribe_url,
            now: dispatch.now,
        };
        let rendered = templates.render(template, &values).map_err(|problem| retry(problem.to_string()))?;
        let message = self.message(dispatch, &to, class, unsubscribe_url, rendered).map_err(retry)?;
        Ok(Letter { from: self.sender.from.email.clone(), to, bytes: message.formatted() })
    }

    fn message(
        &self,
        dispatch: &Dispatch,
        to: &Address,
        class: MessageClass,
        unsubscribe_url: Option<&str>,
        rendered: Rendered,
    ) -> Result<Message, String> {
        let key = dispatch.delivery.idempotency_key();
        let domain = self.sender.domain();
        let sent_at = u64::try_from(dispatch.now.as_micros()).unwrap_or(0);
        let mut builder = Message::builder()
            .from(self.sender.from.clone())
            .to(Mailbox::new(display_name(dispatch), to.clone()))
            .subject(rendered.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_micros(sent_at))
            .message_id(Some(format!("<{key}@{domain}>")));
        if let Some(reply_to) = &self.sender.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        if class == MessageClass::Marketing {
            builder = builder.raw_header(header("List-Id", list_id(&dispatch.delivery, domain)));
        } else {
            builder = builder.raw_header(header("Auto-Submitted", "auto-generated".to_owned()));
        }
        if let Some(url) = unsubscribe_url {
            builder = builder
                .raw_header(header("List-Unsubscribe", format!("<{url}>")))
                .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
        }
        let (html, text) = (plain_lines(rendered.html), plain_lines(rendered.text));
        // `=_` occurs in no quoted-printable or base64 text, the hash in no text that was written before it.
        let boundary = format!("=_{}", short_hash(&[key.as_bytes(), html.as_bytes(), text.as_bytes()]));
        let body = MultiPart::alternative().boundary(boundary);
        let body = body.singlepart(SinglePart::plain(text)).singlepart(SinglePart::html(html));
        builder.multipart(body).map_err(|e| format!("cannot build the mail: {e}"))
    }
}

/// The link is ours, but a header is no place for trust.
fn unsubscribe_url(dispatch: &Dispatch) -> Result<&str, String> {
    let url = dispatch.unsubscribe_url.as_deref().ok_or("a marketing mail without an unsubscribe link is not sent")?;
    let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b));
    let web = url.starts_with("https://") || url.starts_with("http://");
    if plain && web && url.len() <= MAX_URL { Ok(url) } else { Err(format!("{url:?} cannot be an unsubscribe link")) }
}

/// `<offers.company.example>`: what mail programs group by, one list per topic.
fn list_id(delivery: &Delivery, domain: &str) -> String {
    let topic = delivery.topic.as_deref().unwrap_or("marketing");
    let label: String = topic.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
    format!("<{label}.{domain}>")
}

fn display_name(dispatch: &Dispatch) -> Option<String> {
    let part = |key: &str| dispatch.customer.get(key).and_then(|v| v.as_str()).unwrap_or_default();
    let name = format!("{} {}", part("first_name"), part("last_name"));
    Some(one_line(&name, MAX_NAME)).filter(|name| !name.is_empty())
}

/// A usable address, its domain in ASCII so that `info@müller.example` needs nothing special of any server.
fn address(text: &str) -> Result<Address, String> {
    let shown = || one_line(text, 80);
    let (user, domain) = text.rsplit_once('@').ok_or_else(|| format!("`{}` has no `@`", shown()))?;
    // The `url` crate inside reqwest speaks IDNA; we need no second one.
    let ascii = if domain.is_ascii() { None } else { reqwest::Url::parse(&format!("http://{domain}/")).ok() };
    let domain = ascii.as_ref().and_then(|url| url.host_str()).unwrap_or(domain);
    Address::new(user, domain).map_err(|e| format!("`{}` is not a usable mail address: {e}", shown()))
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// Lines as we write them, without control characters: a lone carriage return could pass for the end of a line at a
/// careless server, and so for the end of the mail; a NUL is not allowed in any mail.
fn plain_lines(text: String) -> String {
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_plain) {
        return text;
    }
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    lines.replace(|c: char| !is_plain(c), "")
}
