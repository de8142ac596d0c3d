//! The test file as people write it, read into instants and values. Whatever is wrong is said with its line.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use jiff::{Span, Zoned};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::super::host::answer::OWNED;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

/// Where a test starts that does not say: a Monday morning.
const START: Date = date(2026, 3, 2);

/// What can be stated of the customer besides traits.
pub(super) const STATED: [&str; 6] = ["churn_risk", "churn_band", "lifetime_value", "tier", "rfm", "segments"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    customer: RawCustomer,
    #[serde(default)]
    test: Vec<RawTest>,
}

type RawCustomer = BTreeMap<Spanned<String>, toml::Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: Spanned<String>,
    #[serde(default)]
    customer: RawCustomer,
    starts: Option<Spanned<toml::Value>>,
    #[serde(default)]
    happens: Vec<RawHappening>,
    until: Option<Spanned<String>>,
    expect: Vec<RawExpected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHappening {
    at: Spanned<String>,
    event: Option<String>,
    #[serde(default)]
    properties: toml::Table,
    #[serde(default)]
    customer: RawCustomer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    at: Option<Spanned<String>>,
    email: Option<Spanned<String>>,
    webhook: Option<Spanned<String>>,
    task: Option<Spanned<String>>,
    set_trait: Option<Spanned<String>>,
    vars: Option<toml::Table>,
    value: Option<toml::Value>,
}

/// One test, ready to be lived through.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) customer: Customer,
    pub(super) starts: Timestamp,
    pub(super) ends: Timestamp,
    pub(super) happens: Vec<Happening>,
    pub(super) expect: Vec<Expected>,
}

/// Traits, scores and segments as stated; `Null` takes a stated one back.
pub(super) type Customer = BTreeMap<String, Value>;

#[derive(Debug)]
pub(super) struct Happening {
    pub(super) at: Timestamp,
    pub(super) event: Option<String>,
    pub(super) properties: Map<String, Value>,
    pub(super) customer: Customer,
}

/// An action that is waited for. What is not stated may be anything.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) at: Option<Offset>,
    /// As in [`crate::domain::action::Action::channel`].
    pub(super) channel: &'static str,
    pub(super) subject: String,
    pub(super) vars: Map<String, Value>,
    pub(super) value: Option<Value>,
}

/// `7d`, `90m`: an action is at it when the same unit of time has passed since the start. Days are calendar days.
#[derive(Clone, Debug)]
pub(super) struct Offset {
    pub(super) text: String,
    span: Span,
}

impl Offset {
    /// Whether `at` lies in this unit of time after `starts`.
    pub(super) fn holds(&self, starts: Timestamp, at: Timestamp, business: &Business) -> bool {
        let meant = after(starts, self.span, business);
        if self.text.ends_with(['d', 'w']) {
            return meant.day(&business.zone) == at.day(&business.zone);
        }
        let unit = if self.text.ends_with('h') { 3_600 } else { 60 };
        (0..unit).contains(&at.since(meant).as_secs())
    }
}

fn after(starts: Timestamp, span: Span, business: &Business) -> Timestamp {
    let local: Zoned = starts.in_zone(&business.zone);
    local.saturating_add(span).timestamp().into()
}

/// Reads a test file.
pub(super) fn read(file: &str, text: &str, business: &Business) -> Result<Vec<Test>, Vec<Diagnostic>> {
    let raw: RawFile = toml::from_str(text).map_err(|error| vec![described(file, text, &error)])?;
    let mut reader = Reader { file, text, business, problems: Vec::new() };
    let base = reader.customer(raw.customer);
    let tests: Vec<Test> = raw.test.into_iter().filter_map(|test| reader.test(&base, test)).collect();
    reader.problems.sort_by_key(|problem| (problem.line, problem.column));
    if reader.problems.is_empty() { Ok(tests) } else { Err(reader.problems) }
}

fn described(file: &str, text: &str, error: &toml::de::Error) -> Diagnostic {
    let message = error.message().lines().next().unwrap_or("it cannot be read").to_owned();
    let mut words = message.split('`').skip(1).step_by(2);
    let help = words.next().filter(|_| message.starts_with("unknown field")).map(|word| {
        let known: Vec<&str> = words.collect();
        did_you_mean(word, known.iter().copied())
            .map_or_else(|| format!("there is {}", known.join(", ")), |near| format!("did you mean `{near}`?"))
    });
    let cause = message.split(", expected").next().unwrap_or(&message).replace("unknown field", "unknown key");
    let (line, column) = place(text, error.span().map_or(0, |span| span.start));
    let diagnostic = Diagnostic::error(file, cause).at(line, column);
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

fn place(text: &str, byte: usize) -> (u32, u32) {
    let before = &text[..byte.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (small(before.matches('\n').count() + 1), small(before[line_start..].chars().count() + 1))
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    business: &'a Business,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn wrong(&mut self, byte: usize, message: impl Into<String>, help: impl Into<String>) {
        let (line, column) = place(self.text, byte);
        self.problems.push(Diagnostic::error(self.file, message).at(line, column).help(help));
    }

    fn test(&mut self, base: &Customer, raw: RawTest) -> Option<Test> {
        let (line, _) = place(self.text, raw.name.span().start);
        let n_before = self.problems.len();
        let mut customer = base.clone();
        customer.extend(self.customer(raw.customer));
        let starts = self.starts(raw.starts);
        let mut last = starts;
        let mut happens = Vec::new();
        for one in raw.happens {
            let Some(offset) = self.offset(&one.at) else { continue };
            let at = after(starts, offset.span, self.business);
            last = last.max(at);
            if one.event.is_none() && one.customer.is_empty() {
                let help = "state an `event`, or what changes of the `customer`";
                self.wrong(one.at.span().start, "nothing happens here", help);
            }
            let properties = one.properties.into_iter().map(|(key, value)| (key, json(value))).collect();
            happens.push(Happening { at, event: one.event, properties, customer: self.customer(one.customer) });
        }
        // Stable: what happens at one instant happens in the order written.
        happens.sort_by_key(|one| one.at);
        let mut expect = Vec::new();
        for one in raw.expect {
            let expected = self.expected(one);
            if let Some(at) = expected.as_ref().and_then(|expected| expected.at.as_ref()) {
                last = last.max(after(starts, at.span, self.business));
            }
            expect.extend(expected);
        }
        let ends = match &raw.until {
            Some(until) => self.offset(until).map_or(last, |offset| after(starts, offset.span, self.business)),
            None => after(last, Span::new().days(1), self.business),
        };
        if let Some(late) = happens.iter().find(|one| one.at > ends) {
            let what = late.event.as_deref().unwrap_or("a change of the customer");
            let byte = raw.until.as_ref().map_or(raw.name.span().start, |until| until.span().start);
            self.wrong(byte, format!("{what} happens after the test ends"), "put `until` after it");
        }
        let name = raw.name.into_inner();
        (self.problems.len() == n_before).then_some(Test { name, line, customer, starts, ends, happens, expect })
    }

    fn starts(&mut self, stated: Option<Spanned<toml::Value>>) -> Timestamp {
        let monday = START.at(9, 0, 0, 0).to_zoned(self.business.zone.clone());
        let monday = monday.map_or(Timestamp::EPOCH, |monday| monday.timestamp().into());
        let Some(stated) = stated else { return monday };
        let byte = stated.span().start;
        let text = match stated.into_inner() {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().unwrap_or_else(|_| {
            let help = "write an instant such as \"2026-03-02T08:00:00Z\"";
            self.wrong(byte, format!("`{text}` is not an instant"), help);
            monday
        })
    }

    fn offset(&mut self, at: &Spanned<String>) -> Option<Offset> {
        let text = at.get_ref().trim();
        let units = ["w", "d", "h", "m", "s"];
        match text.parse::<Span>() {
            Ok(span) if units.iter().any(|unit| text.ends_with(unit)) => Some(Offset { text: text.to_owned(), span }),
            _ => {
                let help = "write \"10d\", \"36h\" or \"90m\"; before the start, \"-30d\"";
                self.wrong(at.span().start, format!("`{text}` is not a distance in time"), help);
                None
            }
        }
    }

    fn customer(&mut self, raw: RawCustomer) -> Customer {
        let mut customer = Customer::new();
        for (key, value) in raw {
            let (byte, name) = (key.span().start, key.into_inner());
            let value = json(value);
            let fits = match name.as_str() {
                "churn_risk" => value.as_f64().is_some_and(|risk| (0.0..=1.0).contains(&risk)),
                "lifetime_value" => value.is_number(),
                "tier" | "churn_band" | "email" => value.is_string(),
                "rfm" => {
                    value.as_str().is_some_and(|rfm| rfm.len() == 3 && rfm.bytes().all(|b| (b'1'..=b'5').contains(&b)))
                }
                "segments" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
                other if OWNED.iter().any(|owned| owned.name == other) => {
                    let help =
                        "let events happen instead: happens = [{ at = \"-30d\", event = \"Order Completed\", … }]";
                    self.wrong(byte, format!("`{other}` follows from events and cannot be stated"), help);
                    continue;
                }
                _ => true,
            };
            let is_unknown = STATED.contains(&name.as_str()) && value == "unknown";
            if is_unknown {
                customer.insert(name, Value::Null);
            } else if fits {
                customer.insert(name, value);
            } else {
                let help = "churn_risk = 0.7, lifetime_value = 900.0, tier = \"gold\", rfm = \"543\", segments = [\"at_risk\"]; \
                            \"unknown\" is not enough data";
                self.wrong(byte, format!("`{name}` cannot be {value}"), help);
            }
        }
        customer
    }

    fn expected(&mut self, raw: RawExpected) -> Option<Expected> {
        let at = match &raw.at {
            Some(at) => Some(self.offset(at)?),
            None => None,
        };
        let place = raw.at.as_ref().map(|at| at.span().start);
        let mut named = [("email", raw.email), ("webhook", raw.webhook), ("task", raw.task), ("trait", raw.set_trait)]
            .into_iter()
            .filter_map(|(channel, subject)| Some((channel, subject?)));
        match (named.next(), named.next()) {
            (Some((channel, subject)), None) => {
                let vars = raw.vars.unwrap_or_default().into_iter().map(|(key, value)| (key, json(value))).collect();
                let subject = subject.into_inner();
                Some(Expected { at, channel, subject, vars, value: raw.value.map(json) })
            }
            (first, second) => {
                let byte = second.or(first).map(|(_, subject)| subject.span().start).or(place).unwrap_or(0);
                let help = "state exactly one of `email`, `webhook`, `task`, `set_trait`";
                self.wrong(byte, "it is not clear which action is expected", help);
                None
            }
        }
    }
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(whole) => whole.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

/// The names in `segments = [...]`.
pub(super) fn segment_names(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
