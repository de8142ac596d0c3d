//! What comes from outside, and what of it can be kept. The rules hold for every door alike, so a value that one door takes
//! is not one that another refuses, and no store is ever handed what it cannot give back.

use serde_json::{Map, Value};

use super::event::Fact;

/// Deepest nesting of lists and objects in a stated value. Profiles, ledger and log wrap values into objects of their own,
/// and whoever reads them back stops at 128.
pub const MAX_DEPTH: usize = 32;

/// Why something from outside cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// A short code to count by.
    pub reason: &'static str,
    /// What is wrong and what to do, for people.
    pub message: String,
}

impl Unusable {
    /// With a code and a sentence.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Unusable { reason, message: message.into() }
    }
}

/// Whether every value of `fields` can be kept.
pub fn check(fields: &Map<String, Value>) -> Result<(), Unusable> {
    fields.iter().try_for_each(|(key, value)| {
        check_text(key)?;
        check_value(value, MAX_DEPTH)
    })
}

/// Whether a text can be kept. NUL can be in no text of `PostgreSQL`; refused everywhere, stores stay interchangeable.
pub fn check_text(text: &str) -> Result<(), Unusable> {
    if text.contains('\0') {
        return Err(Unusable::new("nul_in_text", "a text contains the character NUL; leave it out"));
    }
    Ok(())
}

fn check_value(value: &Value, depth: usize) -> Result<(), Unusable> {
    let deeper = || {
        let message = format!("values are nested more than {MAX_DEPTH} deep; send what matters in fewer levels");
        depth.checked_sub(1).ok_or_else(|| Unusable::new("too_deep", message))
    };
    match value {
        Value::String(text) => check_text(text),
        Value::Array(items) => {
            let depth = deeper()?;
            items.iter().try_for_each(|item| check_value(item, depth))
        }
        Value::Object(fields) => {
            let depth = deeper()?;
            fields.iter().try_for_each(|(key, value)| {
                check_text(key)?;
                check_value(value, depth)
            })
        }
        _ => Ok(()),
    }
}

impl Fact {
    /// Whether everything in it can be kept.
    pub fn check(&self) -> Result<(), Unusable> {
        [&self.source, &self.message_id, &self.name].into_iter().try_for_each(|text| check_text(text))?;
        self.identities.iter().try_for_each(|identity| check_text(&identity.value))?;
        [&self.traits, &self.properties, &self.context].into_iter().try_for_each(check)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn depth_and_nul_are_told_wherever_they_stand() {
        let reason = |value: Value| {
            let fields = Map::from_iter([("key".to_owned(), value)]);
            check(&fields).map_err(|why| why.reason)
        };
        let nested = |n: usize| (0..n).fold(json!(1), |value, _| json!({ "deeper": [value] }));
        assert_eq!(reason(nested(MAX_DEPTH / 2)), Ok(()));
        assert_eq!(reason(nested(MAX_DEPTH / 2 + 1)), Err("too_deep"));
        assert_eq!(reason(json!([{ "a": ["b\0"] }])), Err("nul_in_text"));
        assert_eq!(reason(json!({ "a\0": 1 })), Err("nul_in_text"));
        assert_eq!(reason(json!("\\u0000 and \u{1} are only ugly")), Ok(()));
    }
}
