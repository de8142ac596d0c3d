//! Single cells: numbers, truth values, conditions. All exact: no number passes through a binary fraction.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::{Number, Value};

use super::mapping::{Condition, ConsentField, Field, FieldType};
use super::row::{Problem, Row};

/// How this source writes numbers, and which columns are turned round for the row at hand.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) row: &'a Row,
    pub(super) decimal_comma: bool,
    pub(super) negate: &'a [String],
}

impl Cells<'_> {
    /// The number in `column`; `None` when the cell is empty.
    pub(super) fn number(&self, column: &str) -> Result<Option<Decimal>, Problem> {
        let Some(text) = self.row.text(column) else { return Ok(None) };
        let number = read_number(&text, self.decimal_comma).ok_or_else(|| {
            let comma = text.contains(',') && !self.decimal_comma;
            let hint =
                if comma { "; if the file writes decimals with a comma, set `decimal_comma = true`" } else { "" };
            Problem::new("bad_number", format!("`{text}` in column `{column}` is not a number{hint}"))
        })?;
        let negated = self.negate.iter().any(|c| c == column) && !number.is_zero();
        Ok(Some(if negated { -number } else { number }))
    }

    /// The number that `field` says; `None` when the cell is empty.
    pub(super) fn field_number(&self, field: &Field) -> Result<Option<Decimal>, Problem> {
        match &field.column {
            Some(column) => self.number(column),
            None => Ok(self.text(field).and_then(|text| read_number(&text, false))),
        }
    }

    /// What `field` says of this row; `None` when that is nothing.
    pub(super) fn value(&self, field: &Field) -> Result<Option<Value>, Problem> {
        let Some(column) = &field.column else { return Ok(field.value.clone().or_else(|| self.joined(field))) };
        Ok(match field.kind {
            None => self.row.value(column),
            Some(FieldType::Text) => self.row.text(column).map(|text| Value::from(text.into_owned())),
            Some(FieldType::Number) => self.number(column)?.map(number_value),
            Some(FieldType::Bool) => match self.row.text(column) {
                None => None,
                Some(text) => Some(Value::Bool(truth(&text).ok_or_else(|| not_a_truth(column, &text))?)),
            },
        })
    }

    /// What `field` says of this row, as text.
    pub(super) fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match &field.column {
            Some(column) => self.row.text(column),
            None => match field.value.clone().or_else(|| self.joined(field))? {
                Value::String(text) => Some(Cow::Owned(text)),
                other => Some(Cow::Owned(other.to_string())),
            },
        }
    }

    fn joined(&self, field: &Field) -> Option<Value> {
        let parts: Option<Vec<_>> = field.join.iter().map(|column| self.row.text(column)).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| Value::from(parts.join("/")))
    }

    /// Whether all of `conditions` hold.
    pub(super) fn hold(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let text = self.row.text(&condition.column);
        // Conditions ask what the file says, so nothing is turned round here.
        let number = || read_number(text.as_deref()?, self.decimal_comma);
        let is = |expected: &Value| match expected {
            Value::String(expected) => text.as_deref().unwrap_or_default() == expected,
            Value::Bool(expected) => text.as_deref().and_then(truth) == Some(*expected),
            other => crate::domain::event::decimal(other).is_some_and(|expected| number() == Some(expected)),
        };
        let holds = if let Some(expected) = &condition.equals {
            is(expected)
        } else if let Some(expected) = &condition.one_of {
            expected.iter().any(is)
        } else if let Some(start) = &condition.starts_with {
            text.as_deref().is_some_and(|text| text.starts_with(start.as_str()))
        } else if let Some(limit) = condition.less_than {
            number().is_some_and(|number| number < limit)
        } else if let Some(limit) = condition.greater_than {
            number().is_some_and(|number| number > limit)
        } else {
            text.is_none() == condition.empty.unwrap_or(true)
        };
        holds != condition.not
    }

    /// Whether the customer agreed; `None` when nothing is said. A word that is neither yes nor no puts the row aside:
    /// consent is never guessed.
    pub(super) fn consent(&self, field: &ConsentField) -> Result<Option<bool>, Problem> {
        let Some(text) = self.row.text(&field.column) else { return Ok(None) };
        let is_one_of = |words: &[String]| words.iter().any(|word| word.eq_ignore_ascii_case(&text));
        if field.given.is_empty() && field.withdrawn.is_empty() {
            return truth(&text).map(Some).ok_or_else(|| not_a_truth(&field.column, &text));
        }
        match (is_one_of(&field.given), is_one_of(&field.withdrawn)) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let message = format!("`{text}` in column `{}` is not among `given` or `withdrawn`", field.column);
                Err(Problem::new("bad_consent", message))
            }
        }
    }
}

fn not_a_truth(column: &str, text: &str) -> Problem {
    Problem::new(
        "bad_bool",
        format!("`{text}` in column `{column}` is neither yes nor no; use true, yes, 1, false, no, 0"),
    )
}

fn truth(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is(&["true", "yes", "y", "on", "1"]), is(&["false", "no", "n", "off", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// Reads `12.50`, `-3`, `1e3`; with a decimal comma `12,50` and `1.234,50`, but not `12.50`, which somebody wrote with a
/// point and which would come out a hundredfold.
fn read_number(text: &str, decimal_comma: bool) -> Option<Decimal> {
    if !decimal_comma {
        return text.parse().or_else(|_| Decimal::from_scientific(text)).ok();
    }
    let (whole, fraction) = text.split_once(',').unwrap_or((text, "0"));
    let mut thousands = whole.split('.').skip(1);
    if fraction.contains('.') || !thousands.all(|digits| digits.len() == 3) {
        return None;
    }
    format!("{}.{fraction}", whole.replace('.', "")).parse().ok()
}

/// A number that says in JSON what it says here; text where a JSON number would not.
pub(super) fn number_value(number: Decimal) -> Value {
    let number = number.normalize();
    let text = number.to_string();
    if let Ok(whole) = text.parse::<i64>() {
        return Value::from(whole);
    }
    let fraction = text.parse().ok().and_then(Number::from_f64).filter(|n| n.to_string() == text);
    fraction.map_or(Value::String(text), Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_stay_exact() {
        let check = |text: &str, decimal_comma, expected: Option<Value>| {
            assert_eq!(read_number(text, decimal_comma).map(number_value), expected, "{text}");
        };
        check("2.50", false, Some(json!(2.5)));
        check("-12", false, Some(json!(-12)));
        check("1.234,50", true, Some(json!(1234.5)));
        check("-12,5", true, Some(json!(-12.5)));
        check("12.50", true, None);
        check("1,234.500", true, None);
        check("1,234.50", false, None);
        check("0.12345678901234567891", false, Some(json!("0.12345678901234567891")));
        check("free", false, None);
    }

    #[test]
    fn conditions_ask_the_cell_as_it_stands() {
        let Value::Object(object) = json!({ "invoice": "C53", "price": "0.00", "note": "", "paid": "Yes" }) else {
            unreachable!()
        };
        let row = Row::Object(object);
        let check = |condition: &str, expected: bool| {
            let conditions = [toml::from_str(condition).unwrap()];
            let cells = Cells { row: &row, decimal_comma: false, negate: &["price".to_owned()] };
            assert_eq!(cells.hold(&conditions), expected, "{condition}");
        };
        check("column = 'invoice'\nstarts_with = 'C'", true);
        check("column = 'invoice'\nstarts_with = 'C'\nnot = true", false);
        check("column = 'price'\nequals = 0", true);
        check("column = 'price'\nequals = '0'", false);
        check("column = 'price'\nless_than = 0.01", true);
        check("column = 'invoice'\nless_than = 1", false);
        check("column = 'note'\nempty = true", true);
        check("column = 'paid'\nequals = true", true);
        check("column = 'invoice'\none_of = ['A1', 'C53']", true);
    }
}
