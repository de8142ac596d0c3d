//! Fills a template in for one customer. Pure: the same values give the same mail.

use std::collections::BTreeMap;

use minijinja::{ErrorKind, Value};
use serde_json::{Map, Number, Value as Json};

use super::load::{PARTS, diagnose};
use super::{Letterhead, Templates};
use crate::channels::header::one_line;
use crate::domain::clock::Timestamp;
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

/// Characters of a subject; phones show 40, and a longer one is a mistake or an attack.
const MAX_SUBJECT: usize = 250;

/// The part in which values become markup.
const HTML: &str = PARTS[1];

/// Bytes of a rendered body; mail servers refuse a few more.
const MAX_BODY: usize = 1024 * 1024;

/// What a template is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// What the rule hands over.
    pub vars: &'a Map<String, Json>,
    /// What templates see as `customer`.
    pub customer: &'a Map<String, Json>,
    /// What templates see as `business`.
    pub letterhead: &'a Letterhead,
    /// Where the customer leaves this topic; marketing only.
    pub unsubscribe_url: Option<&'a str>,
    /// The instant of sending.
    pub now: Timestamp,
}

/// A mail's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, without control characters.
    pub subject: String,
    /// The HTML part.
    pub html: String,
    /// The text part.
    pub text: String,
}

impl Templates {
    /// Fills in template `name`. The error names template, file, line and variable.
    pub fn render(&self, name: &str, values: &Values<'_>) -> Result<Rendered, Diagnostic> {
        if !self.cards().contains_key(name) {
            let file = self.folder.join(name).display().to_string();
            let mut problem = Diagnostic::error(file, format!("there is no usable template `{name}`"));
            problem.help = did_you_mean(name, self.cards().keys().map(String::as_str))
                .map(|known| format!("did you mean `{known}`?"))
                .or_else(|| Some("run `rekindle check` to see what is wrong with it".to_owned()));
            return Err(problem);
        }
        let context = context(values);
        let [subject, html, text] = PARTS.map(|part| self.part(name, part, &context));
        let subject = one_line(&subject?, MAX_SUBJECT);
        if subject.is_empty() {
            let file = self.folder.join(name).join(PARTS[0]).display().to_string();
            return Err(Diagnostic::error(file, "the subject is empty for this customer"));
        }
        Ok(Rendered { subject, html: html?, text: text? })
    }

    fn part(&self, name: &str, part: &str, context: &Value) -> Result<String, Diagnostic> {
        let file = self.folder.join(name).join(part).display().to_string();
        let template = self
            .environment
            .get_template(&format!("{name}/{part}"))
            .map_err(|e| Diagnostic::error(file.clone(), e.to_string()))?;
        let body = template.render(context.clone()).map_err(|error| {
            let problem = diagnose(&file, template.source(), &error);
            if error.kind() != ErrorKind::UndefinedError {
                return problem;
            }
            problem.help("let the rule hand it over, or write `| default(\"…\")` behind it")
        })?;
        if part == HTML
            && let Some(link) = running_link(&body)
        {
            let message = format!("a link that begins with `{link}` would run a script");
            return Err(
                Diagnostic::error(file, message).help("link to https: or mailto: only, and never to a bare trait")
            );
        }
        if body.len() > MAX_BODY {
            return Err(Diagnostic::error(
                file,
                format!("renders to {} bytes; at most {MAX_BODY} can be sent", body.len()),
            ));
        }
        Ok(body)
    }
}

/// The beginning of an address that runs something instead of leading somewhere. Escaping keeps a value inside its
/// attribute, but says nothing of what the attribute then does. Programs that show mail ignore white space in a scheme.
fn running_link(html: &str) -> Option<&'static str> {
    const SCHEMES: [&str; 3] = ["javascript:", "vbscript:", "data:text/html"];
    if !html.match_indices(':').any(|(at, _)| ends_a_scheme(&html[..at])) {
        return None;
    }
    let plain: String =
        html.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>().to_lowercase();
    let plain = plain.replace("&#x2f;", "/");
    ["href=", "src=", "action="].into_iter().find_map(|attribute| {
        plain.split(attribute).skip(1).find_map(|value| {
            let value = value.trim_start_matches(['"', '\'']);
            SCHEMES.into_iter().find(|scheme| value.starts_with(scheme))
        })
    })
}

/// Whether one of the schemes can end here. Nearly no mail has such a place, and to look closely takes long.
fn ends_a_scheme(before: &str) -> bool {
    let signs = before.chars().rev().filter(|c| !c.is_whitespace() && !c.is_control()).map(|c| c.to_ascii_lowercase());
    ["script", "data"].iter().any(|end| end.chars().rev().eq(signs.clone().take(end.len())))
}

/// Built-ins win over what a rule calls the same.
fn context(values: &Values<'_>) -> Value {
    let day = values.now.in_zone(&values.letterhead.zone);
    let address = values.letterhead.address.as_deref();
    let business = [("name", Value::from(values.letterhead.name.as_str())), ("address", Value::from(address))];
    let now = [("date", Value::from(day.date().to_string())), ("year", Value::from(day.year()))];
    let mut context: BTreeMap<&str, Value> = values.vars.iter().filter_map(present).collect();
    context.insert("customer", Value::from_pairs(values.customer.iter().filter_map(present)));
    context.insert("business", Value::from_pairs(business));
    context.insert("now", Value::from_pairs(now));
    match values.unsubscribe_url {
        Some(url) => context.insert("unsubscribe_url", Value::from(url)),
        None => context.remove("unsubscribe_url"),
    };
    Value::from_pairs(context)
}

/// A `null` is a missing value, so that `default(…)` steps in instead of "none" being printed to a customer.
fn present<'a>((name, value): (&'a String, &Json)) -> Option<(&'a str, Value)> {
    (!value.is_null()).then(|| (name.as_str(), plain(value)))
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => plain_number(number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(map) => Value::from_pairs(map.iter().filter_map(present)),
    }
}

/// The 10.0 that a rule's arithmetic gives is printed as 10.
fn plain_number(number: &Number) -> Value {
    if let Some(whole) = number.as_i64() {
        return Value::from(whole);
    }
    let float = number.as_f64().unwrap_or(f64::NAN);
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 10^15")]
    if float.fract() == 0.0 && float.abs() < 1e15 { Value::from(float as i64) } else { Value::from(float) }
}
