//! JSON on our side, `Dynamic` on the script's. A missing value is `null` here and `()` there.

use rhai::{Array, Dynamic};
use serde_json::{Map, Number, Value};

/// Lists and maps may lie in each other so deep. A script can nest hundreds of them, which would be too much for the stack
/// of whoever walks through, and for JSON readers, which stop at 128.
const DEEPEST: usize = 64;

/// For a script to see. Numbers too large for a 64-bit integer become floats.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or(f64::MAX).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Array>().into(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.as_str().into(), to_dynamic(value))).collect::<rhai::Map>().into()
        }
    }
}

/// What a script handed over, as data; an error for what is not data (a function, the customer itself, an infinite
/// number, lists in lists without end).
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    convert(value, DEEPEST)
}

/// A script's map as data.
pub fn to_json_map(map: &rhai::Map) -> Result<Map<String, Value>, String> {
    convert_map(map, DEEPEST)
}

fn convert(value: &Dynamic, deepest: usize) -> Result<Value, String> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(whole) = value.as_int() {
        return Ok(Value::Number(whole.into()));
    }
    if let Ok(number) = value.as_float() {
        return Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("{number} is not a usable number"));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.to_string()));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Value::String(text.as_str().to_owned()));
    }
    if let Ok(items) = value.as_array_ref() {
        let inside = deepest.checked_sub(1).ok_or_else(too_deep)?;
        return items.iter().map(|item| convert(item, inside)).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        let inside = deepest.checked_sub(1).ok_or_else(too_deep)?;
        return convert_map(&map, inside).map(Value::Object);
    }
    Err(format!("a value of type {} cannot be handed over; hand over text, numbers, lists or maps", value.type_name()))
}

fn convert_map(map: &rhai::Map, deepest: usize) -> Result<Map<String, Value>, String> {
    map.iter()
        .map(|(key, value)| {
            // Only the outermost key: of something too deep there would be one for each level.
            let keyed = |error: String| if deepest == DEEPEST { format!("`{key}`: {error}") } else { error };
            Ok((key.to_string(), convert(value, deepest).map_err(keyed)?))
        })
        .collect()
}

fn too_deep() -> String {
    format!("lists and maps lie in each other more than {DEEPEST} levels deep")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_comes_back_as_it_went() {
        let value = json!({ "a": [1, 2.5, "x", null, true], "b": { "c": -9_007_199_254_740_993_i64 } });
        assert_eq!(to_json(&to_dynamic(&value)).unwrap(), value);
    }

    #[test]
    fn what_is_not_data_is_refused_with_its_key() {
        let map = rhai::Map::from([("share".into(), f64::NAN.into())]);
        assert_eq!(to_json_map(&map).unwrap_err(), "`share`: NaN is not a usable number");
    }
}
