//! `plugin.toml`: what a plugin is, for people and for whoever runs it. Everything wrong with it is said at once.

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::diagnostic::{Diagnostic, did_you_mean};

/// What `map.rhai` may say and how it is asked. A plugin for another protocol is refused rather than misunderstood.
const PROTOCOL: i64 = 1;

const KEYS: [&str; 8] = ["name", "version", "description", "license", "protocol", "format", "record", "columns"];

/// How the records stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// One JSON object a line.
    Jsonl,
    /// CSV rows under a header.
    Csv,
}

impl RecordFormat {
    /// The word in `plugin.toml`, which also ends the names of fixtures.
    pub fn as_str(self) -> &'static str {
        match self {
            RecordFormat::Jsonl => "jsonl",
            RecordFormat::Csv => "csv",
        }
    }
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The name of its folder.
    pub name: String,
    /// Its own version, `1.2.3`.
    pub version: String,
    /// What it does, in one sentence.
    pub description: String,
    /// Under what it may be passed on: an SPDX expression.
    pub license: String,
    /// How its records stand in a file.
    pub format: RecordFormat,
    /// What one record is, in words.
    pub record: String,
    /// CSV: columns that the header must have.
    pub columns: Vec<String>,
}

/// Reads `text`, the `plugin.toml` of the folder `folder`.
pub(super) fn read(file: &str, folder: &str, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Manifest> {
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            diagnostics.push(Diagnostic::error(file, error.message()).at_offset(text, at));
            return None;
        }
    };
    for key in table.keys().filter(|key| !KEYS.iter().any(|known| key.get_ref() == known)) {
        let name = key.get_ref();
        let help = did_you_mean(name, KEYS)
            .map_or_else(|| format!("keys are {}", KEYS.join(", ")), |near| format!("did you mean `{near}`?"));
        let problem = Diagnostic::error(file, format!("unknown key `{name}`"));
        diagnostics.push(problem.at_offset(text, key.span().start).help(help));
    }
    let n_before = diagnostics.len();
    let mut reader = Reader { file, text, table: &table, diagnostics };
    let manifest = Manifest {
        name: reader.name(folder),
        version: reader.text("version", "version = \"0.1.0\"", is_version, "three numbers such as 0.1.0"),
        description: reader.text("description", "say in one sentence what it does", is_filled, "a sentence"),
        license: reader.text("license", "license = \"Apache-2.0\"", is_filled, "an SPDX expression"),
        record: reader.text("record", "say what one record is: \"one order, as …\"", is_filled, "a sentence"),
        format: reader.format(),
        columns: reader.columns(),
    };
    reader.protocol();
    (diagnostics.len() == n_before).then_some(manifest)
}

/// What a plugin may be called: it names a folder, and a source.
pub(super) fn is_name(text: &str) -> bool {
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(usable)
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
}

fn is_filled(text: &str) -> bool {
    !text.trim().is_empty()
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    table: &'a DeTable<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn complain(&mut self, at: Option<usize>, message: String, help: &str) {
        let problem = Diagnostic::error(self.file, message).help(help);
        let problem = if let Some(at) = at { problem.at_offset(self.text, at) } else { problem };
        self.diagnostics.push(problem);
    }

    fn value(&mut self, key: &str, help: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let table: &'a DeTable<'a> = self.table;
        let found = table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value);
        if found.is_none() {
            self.complain(None, format!("`{key}` is missing"), help);
        }
        found
    }

    /// A text that `is_usable`; where it is not, the complaint says that it must be `wanted`.
    fn text(&mut self, key: &str, help: &str, is_usable: fn(&str) -> bool, wanted: &str) -> String {
        let Some(value) = self.value(key, help) else { return String::new() };
        match value.get_ref().as_str() {
            Some(text) if is_usable(text) => text.to_owned(),
            _ => {
                self.complain(Some(value.span().start), format!("`{key}` must be {wanted}"), help);
                String::new()
            }
        }
    }

    fn name(&mut self, folder: &str) -> String {
        let help = format!("write name = \"{folder}\", or rename the folder");
        let Some(value) = self.value("name", &help) else { return String::new() };
        if value.get_ref().as_str() != Some(folder) {
            self.complain(Some(value.span().start), format!("`name` must be that of the folder, `{folder}`"), &help);
        }
        folder.to_owned()
    }

    fn protocol(&mut self) {
        let help = format!("write protocol = {PROTOCOL}");
        let Some(value) = self.value("protocol", &help) else { return };
        let stated = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        if stated != Some(PROTOCOL) {
            let message = format!("this version of rekindle carries out protocol {PROTOCOL} only");
            self.complain(Some(value.span().start), message, &help);
        }
    }

    fn format(&mut self) -> RecordFormat {
        let help = "write format = \"jsonl\" or format = \"csv\"";
        let Some(value) = self.value("format", help) else { return RecordFormat::Jsonl };
        match value.get_ref().as_str() {
            Some("jsonl") => RecordFormat::Jsonl,
            Some("csv") => RecordFormat::Csv,
            _ => {
                self.complain(Some(value.span().start), "`format` is `jsonl` or `csv`".to_owned(), help);
                RecordFormat::Jsonl
            }
        }
    }

    fn columns(&mut self) -> Vec<String> {
        let table: &'a DeTable<'a> = self.table;
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == "columns") else { return Vec::new() };
        let is_csv = table.iter().any(|(key, v)| key.get_ref() == "format" && v.get_ref().as_str() == Some("csv"));
        if !is_csv {
            let help = "remove it, or read CSV";
            self.complain(Some(key.span().start), "`columns` is for CSV".to_owned(), help);
        }
        let items = value.get_ref().as_array();
        let columns =
            items.and_then(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        columns.unwrap_or_else(|| {
            let help = "write columns = [\"id\", \"email\"]";
            self.complain(Some(value.span().start), "`columns` must be a list of texts".to_owned(), help);
            Vec::new()
        })
    }
}
