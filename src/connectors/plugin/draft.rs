//! What a script has stated of one record so far. Verbs write it; nothing of it counts before `map` has come to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::connectors::mapping::TimeField;
use crate::connectors::row::Problem;
use crate::connectors::times::TimeReader;
use crate::domain::clock::Timestamp;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{decimal, names};
use crate::domain::money::Currency;
use crate::script::Failure;

/// More events than this of one record are a runaway loop.
const MOST_EVENTS: usize = 500;
/// More than this stated of one record is more than it can have said.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Longest name of an event, message id, reason or sentence, in bytes.
const TEXT_BYTES: usize = 256;

/// One event that was stated.
#[derive(Debug)]
pub(super) struct Stated {
    pub(super) name: String,
    /// The source's own id.
    pub(super) message_id: Option<String>,
    pub(super) occurred_at: Timestamp,
    pub(super) traits: Map<String, Value>,
    pub(super) properties: Map<String, Value>,
}

/// What a record has come to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// These events, of whoever has these handles.
    Events(Vec<Stated>, Vec<Identity>),
    /// The plugin knows it and leaves it alone; why.
    Skipped(String),
}

/// How a script ended its own run.
#[derive(Debug)]
enum End {
    Skip(String),
    Reject(Problem),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Draft {
    zone: TimeZone,
    identities: Vec<Identity>,
    unusable: Option<String>,
    occurred_at: Option<Timestamp>,
    message_id: Option<String>,
    products: Vec<Value>,
    events: Vec<Stated>,
    n_bytes: usize,
    end: Option<End>,
    /// The code of what a verb refused last: what the run is counted by if it stops there.
    refused: Option<Problem>,
}

/// One run over one record, as the verbs find it.
#[derive(Clone, Debug)]
pub(super) struct Running(Arc<Mutex<Draft>>);

impl Running {
    pub(super) fn new(zone: &TimeZone) -> Self {
        Running(Arc::new(Mutex::new(Draft {
            zone: zone.clone(),
            identities: Vec::new(),
            unusable: None,
            occurred_at: None,
            message_id: None,
            products: Vec::new(),
            events: Vec::new(),
            n_bytes: 0,
            end: None,
            refused: None,
        })))
    }

    // A draft that a panic left half written is thrown away with its record.
    pub(super) fn draft(&self) -> MutexGuard<'_, Draft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of the run, which stopped with `failure` or came to its end.
    pub(super) fn outcome(&self, failure: Option<Failure>) -> Result<Outcome, Problem> {
        let mut draft = self.draft();
        match (draft.end.take(), failure) {
            (Some(End::Skip(reason)), _) => return Ok(Outcome::Skipped(reason)),
            (Some(End::Reject(problem)), _) => return Err(problem),
            (None, Some(failure)) => {
                let refused = draft.refused.take().filter(|refused| failure.message.contains(&refused.message));
                let reason = refused.map_or("script_failed".into(), |refused| refused.reason);
                return Err(Problem { reason, message: failure.to_string() });
            }
            (None, None) => {}
        }
        if draft.events.is_empty() {
            let message = "the plugin says nothing about this record; state an event, or `skip` it and say why";
            return Err(Problem::new("nothing_stated", message));
        }
        if !draft.products.is_empty() {
            let message = "`product` was called and no event followed that it belongs to";
            return Err(Problem::new("script_failed", message));
        }
        match draft.unusable.take() {
            Some(message) if draft.identities.is_empty() => Err(Problem::new("bad_identity", message)),
            _ => Ok(Outcome::Events(std::mem::take(&mut draft.events), std::mem::take(&mut draft.identities))),
        }
    }
}

impl Draft {
    /// Lets `act` write, unless the run has ended; remembers what it was refused for.
    pub(super) fn write<T>(&mut self, act: impl FnOnce(&mut Draft) -> Result<T, Problem>) -> Result<T, String> {
        if self.end.is_some() {
            return Err("nothing can be stated after `skip` or `reject`".to_owned());
        }
        act(self).map_err(|problem| {
            self.refused = Some(problem.clone());
            problem.message
        })
    }

    /// A handle of the customer. One that is unusable is left out, unless it turns out to be all there is.
    pub(super) fn handle(&mut self, kind: IdentityKind, text: Option<&str>) -> Result<(), Problem> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(()) };
        let Some(identity) = Identity::new(kind, text) else {
            self.unusable = Some(format!("`{}` is not a usable {}", shortened(text), kind.as_str()));
            return Ok(());
        };
        match self.identities.iter().find(|known| known.kind == kind) {
            Some(known) if *known != identity => {
                let message = format!("the record has two handles of one kind: a second {}", kind.as_str());
                return Err(Problem::new("mixed_customer", message));
            }
            Some(_) => {}
            None => self.identities.push(identity),
        }
        Ok(())
    }

    /// When the events stated from here on happened.
    pub(super) fn occurred_at(&mut self, text: &str, format: Option<&str>, zone: Option<&str>) -> Result<(), Problem> {
        let field = TimeField { format: format.map(Into::into), zone: zone.map(Into::into), ..TimeField::default() };
        let times = TimeReader::new(&field, &self.zone).map_err(|message| Problem::new("script_failed", message))?;
        let at = times.instant(text.trim()).ok_or_else(|| {
            Problem::new("bad_time", format!("`{}` is not a time; expected {}", shortened(text), times.expected()))
        })?;
        self.occurred_at = Some(at);
        Ok(())
    }

    /// The source's own id of the next event.
    pub(super) fn message_id(&mut self, text: Option<&str>) -> Result<(), Problem> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(()) };
        self.message_id = Some(usable_text("message_id", text)?);
        Ok(())
    }

    /// An entry of the next event's `products`.
    pub(super) fn product(&mut self, product: Map<String, Value>) -> Result<(), Problem> {
        let product = Value::Object(product);
        self.count(&product)?;
        self.products.push(product);
        Ok(())
    }

    /// An event.
    pub(super) fn event(
        &mut self,
        name: &str,
        traits: Map<String, Value>,
        mut properties: Map<String, Value>,
    ) -> Result<(), Problem> {
        let name = usable_text("event", name)?;
        if let Some(known) = names::ALL.iter().find(|known| known.eq_ignore_ascii_case(&name) && **known != name) {
            let message = format!("`{name}` is not the event that is built in; did you mean `{known}`?");
            return Err(Problem::new("bad_event", message));
        }
        let when = || Problem::new("no_time", "say when it happened, with `occurred_at`, before what happened");
        let occurred_at = self.occurred_at.ok_or_else(when)?;
        let products = std::mem::take(&mut self.products);
        if !products.is_empty() && properties.insert("products".to_owned(), products.into()).is_some() {
            let message = "its products are stated twice: by `product`, and among its properties";
            return Err(Problem::new("script_failed", message));
        }
        check_order(&name, &properties)?;
        if self.events.len() >= MOST_EVENTS {
            return Err(Problem::new("too_much", format!("one record may state at most {MOST_EVENTS} events")));
        }
        for value in properties.values().chain(traits.values()) {
            self.count(value)?;
        }
        let message_id = self.message_id.take();
        self.events.push(Stated { name, message_id, occurred_at, traits, properties });
        Ok(())
    }

    /// Ends the run: the record is known and of no interest.
    pub(super) fn skip(&mut self, reason: &str) -> Result<(), Problem> {
        if !self.events.is_empty() {
            let message = "`skip` comes after an event was stated; decide first";
            return Err(Problem::new("script_failed", message));
        }
        self.end = Some(End::Skip(shortened(reason)));
        Ok(())
    }

    /// Ends the run: the record is put aside.
    pub(super) fn reject(&mut self, code: &str, message: &str) -> Result<(), Problem> {
        let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if code.is_empty() || code.len() > 64 || !code.chars().all(is_code) {
            let message = format!("`{}` is not a code to count by; use words like zero_price", shortened(code));
            return Err(Problem::new("script_failed", message));
        }
        let problem = Problem { reason: code.to_owned().into(), message: message.to_owned() };
        self.end = Some(End::Reject(problem));
        Ok(())
    }

    fn count(&mut self, value: &Value) -> Result<(), Problem> {
        self.n_bytes += n_bytes(value);
        if self.n_bytes > MOST_BYTES {
            let message = format!("more than {MOST_BYTES} bytes are stated of one record; state less of it");
            return Err(Problem::new("too_much", message));
        }
        Ok(())
    }
}

/// An order must be known by its id, and its money must be money; both are easier mended now than missed in a total.
fn check_order(name: &str, properties: &Map<String, Value>) -> Result<(), Problem> {
    let orders = [names::ORDER_COMPLETED, names::ORDER_UPDATED, names::ORDER_REFUNDED, names::ORDER_CANCELLED];
    if !orders.contains(&name) {
        return Ok(());
    }
    let is_id = |id: &Value| matches!(id, Value::Number(_)) || id.as_str().is_some_and(|id| !id.trim().is_empty());
    if !properties.get("order_id").is_some_and(is_id) {
        return Err(Problem::new("no_order_id", format!("`{name}` needs an `order_id`, a text or a number")));
    }
    let currency: Option<Currency> = match properties.get("currency") {
        None => None,
        Some(Value::String(code)) => {
            Some(code.parse().map_err(|message: String| Problem::new("bad_currency", message))?)
        }
        Some(_) => return Err(Problem::new("bad_currency", "`currency` must be a text such as EUR")),
    };
    for key in ["revenue", "total", "value"] {
        let Some(value) = properties.get(key) else { continue };
        let amount = decimal(value).ok_or_else(|| {
            let shown = shortened(&value.to_string());
            Problem::new("bad_amount", format!("`{key}` is {shown}, which is not an amount; use 12.50 or \"12.50\""))
        })?;
        if currency.is_some_and(|currency| currency.minor(amount).is_none()) {
            return Err(Problem::new("bad_amount", format!("`{key}` is beyond what can be counted")));
        }
    }
    Ok(())
}

/// A text of bounded length without control characters.
fn usable_text(what: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES || text.chars().any(char::is_control) {
        let message = format!("`{what}` must be a text of 1 to {TEXT_BYTES} bytes without control characters");
        return Err(Problem::new(if what == "event" { "bad_event" } else { "bad_message_id" }, message));
    }
    Ok(text.to_owned())
}

/// For messages: of a long text only the beginning.
fn shortened(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES)])
    }
}

fn n_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(n_bytes).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + 4 + n_bytes(value)).sum::<usize>() + 2,
        _ => 8,
    }
}
