//! Every key in force, its value, and where it came from: what `rekindle config show` prints.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::Config;

/// Where the value of a key came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This line of the configuration file, from 1.
    File {
        /// As the user named it.
        file: String,
        /// The line of the key.
        line: u32,
    },
    /// This environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its path: `models.tier.otherwise`, `sources[0].name`.
    pub key: String,
    /// What holds; `null` when nothing is set and nothing stands in for it. Secrets are where they live, or `***`.
    pub value: Value,
    /// Who said so.
    pub origin: Origin,
}

impl Setting {
    /// The value as it would be written in the file.
    pub fn toml(&self) -> String {
        toml_text(&self.value)
    }
}

fn toml_text(value: &Value) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // JSON's words are TOML's, but for this letter.
        scalar => scalar.to_string().replace('\u{7f}', "\\u007f"),
    }
}

/// A key that somebody wrote: where, and whether it is a table with keys of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) offset: usize,
    is_table: bool,
}

/// Every key of `table` with its place in the text, before it is read away.
pub(super) fn written(table: &DeTable<'_>) -> BTreeMap<String, Written> {
    let mut places = BTreeMap::new();
    note(table, "", &mut places);
    places
}

fn note(table: &DeTable<'_>, prefix: &str, places: &mut BTreeMap<String, Written>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        places.insert(path.clone(), Written { offset: key.span().start, is_table });
        match value.get_ref() {
            DeValue::Table(inner) => note(inner, &path, places),
            DeValue::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        note(inner, &format!("{path}[{n}]"), places);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Every key of `config`, with what `origin_of` makes of the place in which it was written.
pub(super) fn settings(
    config: &Config,
    places: &BTreeMap<String, Written>,
    origin_of: impl Fn(usize) -> Origin,
) -> Vec<Setting> {
    let in_force = Config { email: Some(config.email()), webhook: Some(config.webhook()), ..config.clone() };
    let value = serde_json::to_value(&in_force).expect("a configuration holds nothing that JSON cannot");
    let mut leaves = Vec::new();
    flatten(&value, String::new(), &mut leaves);
    let setting = |(key, value): (String, Value)| {
        let origin = place_of(&key, places).map_or(Origin::Default, |place| origin_of(place.offset));
        Setting { key, value, origin }
    };
    leaves.into_iter().map(setting).collect()
}

/// Where `key` was written, itself or within a value that is not a table (`time = "date"` for `time.column`).
fn place_of<'a>(key: &str, places: &'a BTreeMap<String, Written>) -> Option<&'a Written> {
    if let Some(place) = places.get(key) {
        return Some(place);
    }
    // In a list every key that was written has a place of its own; above the list nothing says where.
    let ends = key.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
    let nearest = ends.into_iter().rev().find_map(|end| places.get(&key[..end]));
    nearest.filter(|place| !place.is_table)
}

fn flatten(value: &Value, key: String, leaves: &mut Vec<(String, Value)>) {
    let in_list = key.contains('[');
    match value {
        // An absent detail of one source or key says nothing; an absent setting is worth a line.
        Value::Null if in_list => {}
        Value::Array(items) if items.is_empty() && in_list => {}
        Value::Object(map) if map.is_empty() && in_list => {}
        Value::Object(map) if !map.is_empty() && !is_secret(value) => {
            for (name, inner) in map {
                let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(inner, path, leaves);
            }
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            for (n, item) in items.iter().enumerate() {
                flatten(item, format!("{key}[{n}]"), leaves);
            }
        }
        _ => leaves.push((key, value.clone())),
    }
}

fn is_secret(value: &Value) -> bool {
    let Some(map) = value.as_object() else { return false };
    map.len() == 1 && map.iter().all(|(key, value)| matches!(key.as_str(), "env" | "file") && value.is_string())
}
