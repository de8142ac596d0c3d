//! As much of JSON Schema (draft 2020-12) as our own schema uses. A keyword that is not here fails the test, so nothing is
//! passed over in silence.

use serde_json::Value;

/// Everything in `value` that `schema` does not allow; empty when it is valid.
pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "", &mut found);
    found
}

/// They say something to people, or to editors.
const ANNOTATIONS: [&str; 6] = ["$schema", "$defs", "title", "description", "default", "format"];

fn check(root: &Value, node: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(keywords) = node.as_object() else {
        assert_eq!(node, &Value::Bool(true), "a schema is an object or `true`");
        return;
    };
    let valid = |node: &Value| {
        let mut inner = Vec::new();
        check(root, node, value, path, &mut inner);
        inner.is_empty()
    };
    let mut no = |why: String| found.push(format!("{path}: {why}"));
    for (keyword, argument) in keywords {
        match keyword.as_str() {
            "$ref" => {
                let target = root.pointer(&argument.as_str().unwrap()[1..]).expect("the reference leads somewhere");
                check(root, target, value, path, found);
                return siblings(root, keywords, value, path, found);
            }
            "type" if !types(argument).iter().any(|t| has_type(value, t)) => no(format!("{value} is not {argument}")),
            "const" if value != argument => no(format!("{value} is not {argument}")),
            "enum" if !argument.as_array().unwrap().contains(value) => no(format!("{value} is none of {argument}")),
            "anyOf" if !argument.as_array().unwrap().iter().any(valid) => no(format!("{value} fits no alternative")),
            "oneOf" if argument.as_array().unwrap().iter().filter(|n| valid(n)).count() != 1 => {
                no(format!("{value} does not fit exactly one alternative"));
            }
            "minimum" if value.as_f64() < argument.as_f64() && value.is_number() => no(format!("{value} is too small")),
            "maximum" if value.as_f64() > argument.as_f64() && value.is_number() => no(format!("{value} is too large")),
            "minLength" | "maxLength" => {
                let n = value.as_str().map(|text| text.chars().count() as u64);
                let fits = |n: u64| {
                    if keyword == "minLength" {
                        n >= argument.as_u64().unwrap()
                    } else {
                        n <= argument.as_u64().unwrap()
                    }
                };
                if !n.is_none_or(fits) {
                    no(format!("{value} has not the right length"));
                }
            }
            "minItems" | "maxItems" => {
                let n = value.as_array().map(|items| items.len() as u64);
                let fits = |n: u64| {
                    if keyword == "minItems" {
                        n >= argument.as_u64().unwrap()
                    } else {
                        n <= argument.as_u64().unwrap()
                    }
                };
                if !n.is_none_or(fits) {
                    no(format!("{value} has not the right length"));
                }
            }
            _ => {}
        }
    }
    siblings(root, keywords, value, path, found);
}

/// What looks into tables and lists.
fn siblings(
    root: &Value,
    keywords: &serde_json::Map<String, Value>,
    value: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    for keyword in keywords.keys() {
        let known = [
            "$ref",
            "type",
            "const",
            "enum",
            "anyOf",
            "oneOf",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "prefixItems",
            "pattern",
        ];
        assert!(known.contains(&keyword.as_str()) || ANNOTATIONS.contains(&keyword.as_str()), "`{keyword}` is new");
    }
    if let Some(table) = value.as_object() {
        let properties = keywords.get("properties").and_then(Value::as_object);
        for (key, inner) in table {
            let path = format!("{path}/{key}");
            match properties.and_then(|p| p.get(key)).or_else(|| keywords.get("additionalProperties")) {
                Some(Value::Bool(false)) => found.push(format!("{path}: there is no such key")),
                Some(node) => check(root, node, inner, &path, found),
                None => {}
            }
        }
        let required =
            keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        found.extend(required.filter(|key| !table.contains_key(*key)).map(|key| format!("{path}: `{key}` is missing")));
    }
    if let Some(items) = value.as_array() {
        let first = keywords.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (n, item) in items.iter().enumerate() {
            if let Some(node) = first.get(n).or_else(|| keywords.get("items")) {
                check(root, node, item, &format!("{path}/{n}"), found);
            }
        }
    }
}

fn types(argument: &Value) -> Vec<&str> {
    match argument {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("`{other}` is not a type of JSON"),
    }
}
