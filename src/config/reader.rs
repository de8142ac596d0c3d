//! From a parsed table to sections, with messages that say where: a line of the file, or a variable of the environment.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::origin::{Origin, Written};
use super::overlay::{Variables, shown};
use super::schema::Shape;
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
    pub(super) variables: Variables<'a>,
}

impl Reader<'_> {
    /// One section. serde stops at the first thing that it cannot read; unknown keys were found before.
    pub(super) fn section<T: DeserializeOwned>(&self, value: Spanned<DeValue<'_>>) -> Result<T, Vec<Diagnostic>> {
        let span = value.span();
        T::deserialize(ValueDeserializer::from(value)).map_err(|e| {
            let start = e.span().map_or(span.start, |s| s.start);
            vec![self.at(start, e.message())]
        })
    }

    /// A list of sections, each of which may be wrong in its own way; `check` says what is wrong with one that can be read,
    /// each problem beginning with its key.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        places: &BTreeMap<String, Written>,
        check: impl Fn(&T) -> Vec<String>,
    ) -> Result<Vec<T>, Vec<Diagnostic>> {
        if !value.get_ref().is_array() {
            return self.section(value);
        }
        let DeValue::Array(items) = value.into_inner() else { return Ok(Vec::new()) };
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for (n, item) in items.into_iter().enumerate() {
            match self.section(item) {
                Ok(section) => {
                    let found = check(&section).into_iter().map(|problem| format!("{name}[{n}].{problem}"));
                    problems.extend(found.map(|problem| self.located(problem, places)));
                    good.push(section);
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(good) } else { Err(problems) }
    }

    /// Takes every key out of `table` that is none, and says so.
    pub(super) fn unknown_keys(&self, table: &mut DeTable<'_>, shape: &Shape<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        self.weed(table, shape, true, &mut problems);
        problems
    }

    fn weed(&self, table: &mut DeTable<'_>, shape: &Shape<'_>, top: bool, problems: &mut Vec<Diagnostic>) {
        let text = |key: &str| table.get(key).and_then(|value| value.get_ref().as_str()).map(str::to_owned);
        let shape = shape.narrowed(text);
        let unknown: Vec<(String, usize)> = table
            .keys()
            .filter(|key| shape.is_closed() && shape.property(key.get_ref()).is_none())
            .map(|key| (key.get_ref().to_string(), key.span().start))
            .collect();
        for (key, start) in unknown {
            table.remove(key.as_str());
            problems.push(self.unknown(&key, start, &shape, top));
        }
        for (key, value) in table.iter_mut() {
            let Some(inner) = shape.property(key.get_ref()) else { continue };
            match value.get_mut() {
                DeValue::Table(table) => self.weed(table, &inner, false, problems),
                DeValue::Array(items) => {
                    let item_shape = inner.item();
                    for item in items.iter_mut() {
                        if let DeValue::Table(table) = item.get_mut() {
                            self.weed(table, &item_shape, false, problems);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn unknown(&self, key: &str, start: usize, shape: &Shape<'_>, top: bool) -> Diagnostic {
        let what = if top { "section" } else { "key" };
        let diagnostic = self.at(start, &format!("there is no {what} `{key}`"));
        if let Some(meant) = did_you_mean(key, shape.keys()) {
            return diagnostic.help(format!("did you mean `{meant}`?"));
        }
        let known = shape.keys().into_iter().collect::<Vec<_>>().join(", ");
        diagnostic.help(format!("{what}s are {known}"))
    }

    pub(super) fn diagnostic(&self, error: &toml::de::Error) -> Diagnostic {
        self.at(error.span().map_or(0, |s| s.start), error.message())
    }

    /// A problem at this place of the text, or of the variable that stands behind it.
    pub(super) fn at(&self, offset: usize, message: &str) -> Diagnostic {
        let diagnostic = if let Some(variable) = self.variables.at(offset) {
            Diagnostic::error(shown(variable), message)
        } else {
            let (line, column) = self.line_and_column(offset);
            Diagnostic::error(self.file, message).at(line, column)
        };
        match suggestion(message) {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }

    /// A problem that begins with the path of its key, at the place where that key was written.
    pub(super) fn located(&self, problem: String, places: &BTreeMap<String, Written>) -> Diagnostic {
        let mut words = problem.split([':', ' ']).filter(|word| !word.is_empty());
        let path = words.next().unwrap_or_default();
        // "models.churn_risk: horizon_days = 0 is not ...": the second word may be the key that is meant.
        let narrower = words.next().and_then(|word| places.get(&format!("{path}.{word}")));
        let mut ends = path.rmatch_indices(['.', '[']).map(|(at, _)| at);
        let nearest = || ends.find_map(|end| places.get(&path[..end]));
        match narrower.or_else(|| places.get(path)).or_else(nearest) {
            Some(place) => self.at(place.offset, &problem),
            None => Diagnostic::error(self.file, problem),
        }
    }

    /// Where a key that was written at `offset` came from.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        match self.variables.at(offset) {
            Some(variable) => Origin::Environment(variable.to_owned()),
            None => Origin::File { file: self.file.to_owned(), line: self.line_and_column(offset).0 },
        }
    }

    fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (number(line), number(column))
    }
}

/// serde says "unknown variant `x`, expected one of `a`, `b`": out of that comes "did you mean".
fn suggestion(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    let (unknown, expected) = rest.split_once('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    did_you_mean(unknown, known).map(|meant| format!("did you mean `{meant}`?"))
}
