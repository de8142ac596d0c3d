//! The page of the configuration: the schema, read aloud. One table for each section and each kind of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{cell, heading, said};
use crate::config::{Shape, schema};

const INTO_TEXT: &str = "writing into a text cannot fail";

pub(super) fn render(missing: &mut Vec<String>) -> String {
    let about = "Every section and key of `config.toml`, as [config.schema.json](config.schema.json) has them; \
                 `rekindle config schema` prints the latter. The shipped [config.toml](../../config.toml) shows them in \
                 place. Unknown keys are refused. Every key that holds one value can also be set from the environment: \
                 `REKINDLE__MODELS__TIER__OTHERWISE=copper` is `otherwise` of `[models.tier]`. Spans of time are written \
                 `90s`, `5m`, `2h`; times of day `21:00`.";
    let schema = schema();
    let mut page = Page { text: heading("Configuration", "config", about), shared: BTreeMap::new(), missing };
    let whole = Shape::whole(&schema);
    for name in whole.keys() {
        let shape = whole.property(name).expect("it is one of the keys");
        page.section(name, &shape);
    }
    while let Some((title, shape)) = page.next_shared() {
        writeln!(page.text, "\n## A {title}").expect(INTO_TEXT);
        page.forms(&title, &shape);
    }
    page.text
}

struct Page<'a, 'm> {
    text: String,
    /// Shapes with a title are described once; `true`: it has been.
    shared: BTreeMap<String, (Shape<'a>, bool)>,
    missing: &'m mut Vec<String>,
}

impl<'a> Page<'a, '_> {
    fn section(&mut self, path: &str, shape: &Shape<'a>) {
        let is_list = shape.types().contains("array") && !tables(&shape.item()).is_empty();
        let item = if is_list { shape.item() } else { shape.clone() };
        let title = if is_list { format!("[[{path}]]") } else { format!("[{path}]") };
        for table in tables(&item) {
            let kind = tag(table).map(|(key, word)| format!(" with `{key} = \"{word}\"`")).unwrap_or_default();
            writeln!(self.text, "\n## `{title}`{kind}").expect(INTO_TEXT);
            // A struct that says only which section it is leaves the words to the key that leads to it.
            let own = description(table).filter(|about| !(about.starts_with("`[") && about.ends_with("]`")));
            let about = own.or_else(|| shape.description.map(str::to_owned));
            self.about(about, &format!("section {title}"));
            let inner = item.only(table);
            self.table(path, table, &inner);
        }
    }

    /// The forms of a shared shape: a text, or tables.
    fn forms(&mut self, title: &str, shape: &Shape<'a>) {
        if let Some(text) = shape.alternatives.iter().find(|a| a.get("type").is_some_and(|t| t == "string")) {
            let about = description(text).unwrap_or_default();
            writeln!(self.text, "\nA text: {about}\n\nOr a table:").expect(INTO_TEXT);
        }
        for (n, table) in tables(shape).into_iter().enumerate() {
            if n > 0 {
                self.text.push_str("\nOr:\n");
            }
            let inner = shape.only(table);
            self.table(title, table, &inner);
        }
    }

    fn about(&mut self, about: Option<String>, of: &str) {
        match about {
            Some(about) => writeln!(self.text, "\n{}", without_name(&about)).expect(INTO_TEXT),
            None => self.missing.push(of.to_owned()),
        }
    }

    fn table(&mut self, path: &str, table: &Map<String, Value>, shape: &Shape<'a>) {
        let required: BTreeSet<&str> =
            table.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        self.text.push_str("\n| key | value | default | means |\n|---|---|---|---|\n");
        let mut below = Vec::new();
        for key in shape.keys() {
            let Some(value) = shape.property(key) else { continue };
            if value.words().len() == 1 && tag(table).is_some_and(|(tag, _)| tag == key) {
                continue;
            }
            let about = said(value.description.map(str::to_owned), || format!("key {path}.{key}"), self.missing);
            let default = match value.default {
                Some(default) if !default.is_object() => format!("`{default}`"),
                _ if required.contains(key) => "needed".to_owned(),
                _ => String::new(),
            };
            let kind = self.kind(&value);
            writeln!(self.text, "| `{key}` | {} | {} | {} |", cell(&kind), cell(&default), cell(&about))
                .expect(INTO_TEXT);
            if value.title.is_none() {
                below.push((format!("{path}.{key}"), value));
            }
        }
        for (path, value) in below {
            self.section(&path, &value);
        }
    }

    /// What a value is, in words.
    fn kind(&mut self, value: &Shape<'a>) -> String {
        if let Some(title) = value.title {
            self.shared.entry(title.to_owned()).or_insert_with(|| (value.clone(), false));
            let or_more = if value.types().contains("array") { " or a list of them" } else { "" };
            return format!("a [{title}](#a-{title}){or_more}");
        }
        let words = value.words();
        let mut kinds: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
        for alternative in &value.alternatives {
            let kind = match alternative.get("type").and_then(Value::as_str) {
                Some("string") if words.is_empty() => "text".to_owned(),
                Some("integer") => "whole number".to_owned(),
                Some("number") => "number".to_owned(),
                Some("boolean") if alternative.get("const").is_some() => "`false`".to_owned(),
                Some("boolean") => "`true` or `false`".to_owned(),
                Some("array") => format!("list of {}", self.items(alternative, value)),
                Some("object") if alternative.contains_key("properties") => "table".to_owned(),
                Some("object") => match value.property("") {
                    Some(inner) => format!("table: any name, and {}", self.kind(&inner)),
                    None => "table".to_owned(),
                },
                _ if alternative.get("type").is_some_and(Value::is_array) => "number".to_owned(),
                _ => continue,
            };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() { "any value".to_owned() } else { kinds.join(" or ") }
    }

    fn items(&mut self, list: &Map<String, Value>, value: &Shape<'a>) -> String {
        let pair = list.get("items").and_then(|item| item.get("prefixItems")?.as_array());
        match pair {
            Some(_) => "pairs `[text, number]`".to_owned(),
            None => match self.kind(&value.item()).as_str() {
                one @ ("text" | "table") => format!("{one}s"),
                other => other.trim_start_matches("a ").to_owned(),
            },
        }
    }

    fn next_shared(&mut self) -> Option<(String, Shape<'a>)> {
        let (title, (shape, described)) = self.shared.iter_mut().find(|(_, (_, described))| !described)?;
        *described = true;
        Some((title.clone(), shape.clone()))
    }
}

fn tables<'a>(shape: &Shape<'a>) -> Vec<&'a Map<String, Value>> {
    shape.alternatives.iter().filter(|a| a.contains_key("properties")).copied().collect()
}

/// The key whose only value names this alternative: `kind = "smtp"`.
fn tag(table: &Map<String, Value>) -> Option<(&str, &str)> {
    let properties = table.get("properties")?.as_object()?;
    properties.iter().find_map(|(key, node)| Some((key.as_str(), node.get("const")?.as_str()?)))
}

fn description(table: &Map<String, Value>) -> Option<String> {
    Some(table.get("description")?.as_str()?.to_owned())
}

/// "`[store]`: where everything is kept." → "Where everything is kept."
fn without_name(about: &str) -> String {
    let rest = match about.split_once("`: ") {
        Some((name, rest)) if name.starts_with("`[") || name.contains(" = ") => rest,
        _ => about,
    };
    let mut letters = rest.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
