//! What a configuration may look like, as a JSON Schema (draft 2020-12): made of the very structs that it is read into, so
//! a key cannot be in one and not in the other. The environment's overrides and the search for unknown keys read it too.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Config;

/// The schema of the whole configuration.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    say_in_toml(&mut schema);
    schema
}

/// TOML has no `null`: what may be missing is left out. And a description is prose, whatever the width of the source.
fn say_in_toml(node: &mut Value) {
    match node {
        Value::Object(object) => {
            object.retain(|key, value| !(key == "default" && value.is_null()));
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(alternatives)) = object.get_mut("anyOf") {
                alternatives.retain(|a| a.get("type").is_none_or(|t| t != "null"));
                if let [only] = alternatives.as_slice()
                    && let Some(only) = only.as_object().cloned()
                {
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`");
            }
            if let Some(Value::Object(default)) = object.get_mut("default") {
                default.retain(|_, value| !value.is_null());
            }
            object.values_mut().for_each(say_in_toml);
        }
        Value::Array(items) => items.iter_mut().for_each(say_in_toml),
        _ => {}
    }
}

/// What one place of the configuration may hold: every alternative, with its references followed.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    root: &'a Value,
    /// What the key that leads here is said to mean.
    pub description: Option<&'a str>,
    /// What holds when nobody says anything.
    pub default: Option<&'a Value>,
    /// The name of a shape that many keys share.
    pub title: Option<&'a str>,
    /// The schemas of the alternatives.
    pub alternatives: Vec<&'a Map<String, Value>>,
}

impl<'a> Shape<'a> {
    /// The whole configuration.
    pub fn whole(schema: &'a Value) -> Self {
        Shape::of(schema, [schema])
    }

    fn of(root: &'a Value, nodes: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut open: Vec<&'a Value> = nodes.into_iter().collect();
        open.reverse();
        let stated = |key: &str| open.iter().rev().find_map(|node| node.get(key));
        let description = stated("description").and_then(Value::as_str);
        let mut shape = Shape { root, description, default: stated("default"), title: None, alternatives: Vec::new() };
        while let Some(object) = open.pop().map(Value::as_object) {
            let Some(object) = object else { continue };
            shape.title =
                shape.title.or_else(|| object.get("title")?.as_str().filter(|_| !object.contains_key("$schema")));
            let named = object.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(r.get(1..)?));
            let several = ["anyOf", "oneOf"].iter().filter_map(|key| object.get(*key)?.as_array());
            let inner: Vec<&Value> = named.into_iter().chain(several.flatten()).collect();
            if inner.is_empty() || object.contains_key("properties") || object.contains_key("const") {
                shape.alternatives.push(object);
            }
            open.extend(inner.into_iter().rev());
        }
        shape
    }

    /// What `key` of a table here may hold; `None`: there is no such key.
    pub fn property(&self, key: &str) -> Option<Self> {
        let named = |a: &&'a Map<String, Value>| a.get("properties")?.get(key);
        let free = |a: &&'a Map<String, Value>| a.get("additionalProperties").filter(|v| v.is_object());
        let found: Vec<&Value> = self.alternatives.iter().filter_map(|a| named(a).or_else(|| free(a))).collect();
        (!found.is_empty()).then(|| Shape::of(self.root, found))
    }

    /// What an item of a list here may be.
    #[must_use]
    pub fn item(&self) -> Self {
        Shape::of(self.root, self.alternatives.iter().filter_map(|a| a.get("items")))
    }

    /// Only this one of the alternatives.
    #[must_use]
    pub fn only(&self, alternative: &'a Map<String, Value>) -> Self {
        Shape { alternatives: vec![alternative], ..self.clone() }
    }

    /// The keys that a table here may have.
    pub fn keys(&self) -> BTreeSet<&'a str> {
        let properties = self.alternatives.iter().filter_map(|a| a.get("properties")?.as_object());
        properties.flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Whether a table here may have no other keys.
    pub fn is_closed(&self) -> bool {
        let tables = || self.alternatives.iter().filter(|a| a.contains_key("properties"));
        let closed = |a: &&Map<String, Value>| a.get("additionalProperties") == Some(&Value::Bool(false));
        tables().next().is_some() && tables().all(closed)
    }

    /// Without the alternatives that a table with these values (`kind = "smtp"`) rules out.
    #[must_use]
    pub fn narrowed(&self, value_of: impl Fn(&str) -> Option<String>) -> Self {
        let fits = |alternative: &&&Map<String, Value>| {
            let Some(properties) = alternative.get("properties").and_then(Value::as_object) else { return true };
            properties.iter().all(|(key, node)| {
                let expected = node.get("const").and_then(Value::as_str);
                expected.is_none() || value_of(key).is_none() || expected == value_of(key).as_deref()
            })
        };
        Shape { alternatives: self.alternatives.iter().filter(fits).copied().collect(), ..self.clone() }
    }

    /// The JSON types that a value here may have.
    pub fn types(&self) -> BTreeSet<&'a str> {
        let mut types = BTreeSet::new();
        for alternative in &self.alternatives {
            match alternative.get("type") {
                Some(Value::String(one)) => types.extend([one.as_str()]),
                Some(Value::Array(several)) => types.extend(several.iter().filter_map(Value::as_str)),
                // An alternative of an enum.
                _ if alternative.get("const").is_some_and(Value::is_string) => types.extend(["string"]),
                _ => {}
            }
        }
        types
    }

    /// The words that a value here must be one of; empty when it is free.
    pub fn words(&self) -> Vec<&'a str> {
        let constants = self.alternatives.iter().filter_map(|a| a.get("const"));
        let enums = self.alternatives.iter().filter_map(|a| a.get("enum")?.as_array()).flatten();
        constants.chain(enums).filter_map(Value::as_str).collect()
    }
}
