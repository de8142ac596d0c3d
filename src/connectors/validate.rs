//! What is wrong with a source as written, all of it at once, before a file is opened.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::mapping::{Condition, Field, FieldType, Mapping, TimeField};
use super::times::TimeReader;
use super::{SourceConfig, SourceKind};
use crate::domain::diagnostic::did_you_mean;
use crate::domain::event::{is_reserved, names};
use crate::domain::money::Currency;

impl SourceConfig {
    /// Everything that is wrong with it, each as one sentence that begins with the key; empty when it can be opened.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if self.name.is_empty() || !self.name.chars().all(allowed) {
            problems.push(format!("name: `{}` may only have a-z, 0-9, `_` and `-`", self.name));
        }
        if is_reserved(&self.name) {
            problems.push(format!("name: `{}` is rekindle's own; choose another", self.name));
        }
        match knowledge_delay(&self.knowledge_delay) {
            Err(problem) => problems.push(format!("knowledge_delay: {problem}")),
            Ok(delay) if !self.imported && !delay.is_zero() => problems
                .push("knowledge_delay: is for imported history; a live event is known when it comes in".to_owned()),
            Ok(_) => {}
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            problems.push(format!("delimiter: `{}` cannot separate cells; use `,`, `;` or a tab", self.delimiter));
        }
        if self.kind == SourceKind::Jsonl && (self.decimal_comma || self.delimiter != ',') {
            problems.push("decimal_comma, delimiter: are for CSV; JSON says how numbers are written".to_owned());
        }
        if !(64..=16 * 1024 * 1024).contains(&self.max_line_bytes) {
            problems.push(format!("max_line_bytes: {} is not between 64 and 16777216", self.max_line_bytes));
        }
        match (&self.plugin, self.kind) {
            (None, SourceKind::Plugin) => {
                problems.push(
                    "plugin: say which, such as `plugin = \"shopify\"`; `rekindle plugins list` shows them".into(),
                );
            }
            (Some(_), SourceKind::Csv | SourceKind::Jsonl) => {
                problems.push("plugin: is for `kind = \"plugin\"`".to_owned());
            }
            _ => {}
        }
        match (&self.mapping, self.kind) {
            (Some(_), SourceKind::Plugin) => {
                problems.push("mapping: a plugin brings its own; leave `[sources.mapping]` out".to_owned());
            }
            (None, SourceKind::Csv) => {
                problems
                    .push("mapping: a CSV source needs `[sources.mapping]`, which says what its columns mean".into());
            }
            (None, SourceKind::Jsonl | SourceKind::Plugin) => {}
            (Some(mapping), _) => mapping.check(&mut problems),
        }
        problems
    }
}

impl Mapping {
    fn check(&self, problems: &mut Vec<String>) {
        let mut add = |key: &str, problem: String| problems.push(format!("mapping.{key}: {problem}"));
        if self.event.is_none() && self.events.is_empty() {
            add("event", "say what happened, such as \"Order Completed\"".to_owned());
        }
        for (key, field) in self.fields() {
            if let Err(problem) = field.check() {
                add(&key, problem);
            }
        }
        check_time("time", &self.time, &mut add);
        if let Some(code) = &self.currency
            && let Err(problem) = code.parse::<Currency>()
        {
            add("currency", problem);
        }
        let events = self.event.iter().chain(self.events.iter().map(|choice| &choice.event));
        for event in events {
            self.check_event(event, &mut add);
        }
        for (i, choice) in self.events.iter().enumerate() {
            check_conditions(&format!("events[{i}].when"), &choice.when, &mut add);
            for column in choice.negate.iter().filter(|column| !self.is_number(column)) {
                add(&format!("events[{i}].negate"), format!("`{column}` is not read as a number anywhere"));
            }
        }
        for (i, rule) in self.quarantine.iter().enumerate() {
            check_conditions(&format!("quarantine[{i}].when"), &rule.when, &mut add);
            let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if rule.reason.is_empty() || !rule.reason.chars().all(is_code) {
                let problem = format!("`{}` is not a code to count by; use words like zero_price", rule.reason);
                add(&format!("quarantine[{i}].reason"), problem);
            }
        }
        for (i, consent) in self.consent.iter().enumerate() {
            if consent.given.is_empty() != consent.withdrawn.is_empty() {
                let problem = "state the words of both `given` and `withdrawn`, or of neither".to_owned();
                add(&format!("consent[{i}]"), problem);
            }
            if let Some(time) = &consent.time {
                check_time(&format!("consent[{i}].time"), time, &mut add);
            }
        }
        if self.total.is_some() && self.properties.contains_key("total") {
            add("properties.total", "the total is stated by `total` already".to_owned());
        }
    }

    fn check_event(&self, event: &str, add: &mut impl FnMut(&str, String)) {
        let known = names::ALL.iter().find(|name| name.eq_ignore_ascii_case(event));
        if event.trim().is_empty() {
            add("event", "a name is needed".to_owned());
        } else if let Some(known) = known.filter(|known| **known != event) {
            add("event", format!("`{event}` is not the event that is built in; did you mean `{known}`?"));
        }
        let order = [names::ORDER_COMPLETED, names::ORDER_UPDATED, names::ORDER_REFUNDED, names::ORDER_CANCELLED];
        if order.contains(&event) && !self.group_by.is_empty() && !self.properties.contains_key("order_id") {
            let columns: Vec<String> = self.group_by.iter().map(|column| format!("\"{column}\"")).collect();
            let example = match columns.as_slice() {
                [one] => one.clone(),
                several => format!("{{ join = [{}] }}", several.join(", ")),
            };
            add("properties.order_id", format!("an order needs its id, for instance `order_id = {example}`"));
        }
    }

    fn is_number(&self, column: &str) -> bool {
        let number = |(key, field): &(String, &Field)| {
            field.kind == Some(FieldType::Number) || key == "products.quantity" || key == "products.price"
        };
        self.total.as_deref() == Some(column)
            || self.fields().filter(number).any(|(_, field)| field.column.as_deref() == Some(column))
    }
}

impl Field {
    fn check(&self) -> Result<(), String> {
        let n_sources =
            usize::from(self.column.is_some()) + usize::from(self.value.is_some()) + usize::from(!self.join.is_empty());
        if n_sources != 1 {
            return Err("state exactly one of `column`, `value` and `join`".to_owned());
        }
        if self.kind.is_some() && self.column.is_none() {
            return Err("`type` is for a `column`".to_owned());
        }
        if matches!(self.value, Some(Value::Object(_) | Value::Array(_) | Value::Null)) {
            return Err("`value` must be a text, a number or true or false".to_owned());
        }
        Ok(())
    }
}

fn check_time(key: &str, field: &TimeField, add: &mut impl FnMut(&str, String)) {
    if let Err(problem) = TimeReader::new(field, &TimeZone::UTC) {
        add(key, problem);
    }
}

fn check_conditions(key: &str, conditions: &[Condition], add: &mut impl FnMut(&str, String)) {
    if conditions.is_empty() {
        add(key, "a condition is needed".to_owned());
    }
    for condition in conditions {
        let tests = [
            condition.equals.is_some(),
            condition.one_of.is_some(),
            condition.starts_with.is_some(),
            condition.less_than.is_some(),
            condition.greater_than.is_some(),
            condition.empty.is_some(),
        ];
        if tests.into_iter().filter(|stated| *stated).count() != 1 {
            let tests = "`equals`, `one_of`, `starts_with`, `less_than`, `greater_than` and `empty`";
            add(key, format!("state exactly one of {tests} for `{}`", condition.column));
        }
    }
}

/// Reads `2d`, `36h`, `90m`; a day is 24 hours.
pub(super) fn knowledge_delay(text: &str) -> Result<SignedDuration, String> {
    let unreadable = || format!("`{text}` is not a length of time; use one such as 0d, 2d or 36h");
    let span: jiff::Span = text.parse().map_err(|_| unreadable())?;
    let days_are_24_hours = jiff::SpanRelativeTo::days_are_24_hours();
    let delay = span.to_duration(days_are_24_hours).map_err(|_| unreadable())?;
    if delay.is_negative() { Err("nothing is known before it happens".to_owned()) } else { Ok(delay) }
}

/// Compares a header with what the mapping asks for; the error names every column that is missing.
pub(super) fn check_columns(header: &[String], required: &[&str]) -> Result<(), String> {
    let twice: Vec<&&str> = required.iter().filter(|r| header.iter().filter(|h| h == *r).count() > 1).collect();
    if let Some(column) = twice.first() {
        return Err(format!("names the column `{column}` more than once; which one is meant cannot be told"));
    }
    let missing: Vec<String> = required
        .iter()
        .filter(|column| !header.iter().any(|h| h == *column))
        .map(|column| match did_you_mean(column, header.iter().map(String::as_str)) {
            Some(near) => format!("`{column}` (did you mean `{near}`?)"),
            None => format!("`{column}`"),
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "does not have what the mapping asks for: {}; its columns are {}",
        missing.join(", "),
        header.join(", ")
    ))
}
