//! One record of a file, whatever the format: asked by column.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Why a record was put aside: a code to count by, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: Cow<'static, str>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Problem { reason: Cow::Borrowed(reason), message: message.into() }
    }
}

pub(super) fn too_long(n_bytes_max: usize) -> Problem {
    let message = format!("the line is longer than {n_bytes_max} bytes; raise `max_line_bytes` if that is right");
    Problem::new("line_too_long", message)
}

pub(super) fn not_utf8(error: &std::str::Utf8Error) -> Problem {
    let at = error.valid_up_to() + 1;
    let help = "save the file as UTF-8, for instance with `iconv -f WINDOWS-1252 -t UTF-8`";
    Problem::new("not_utf8", format!("byte {at} of the line is not UTF-8; {help}"))
}

/// A record as it stands in the file.
pub(super) struct Record {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    /// Its bytes without the line end; of an over-long one only the beginning.
    pub(super) raw: Vec<u8>,
    /// What it says, or why it cannot be read.
    pub(super) row: Result<Row, Problem>,
}

/// Where records come from.
pub(super) trait Records: Send {
    /// The next record; `None` at the end of the file.
    fn next(&mut self) -> io::Result<Option<Record>>;

    /// Bytes read, and in all.
    fn progress(&self) -> (u64, u64);
}

/// The readable content of a record.
#[derive(Clone, Debug)]
pub(super) enum Row {
    /// A CSV row: all cells in one text, cut at `ends`.
    Cells { columns: Arc<[String]>, text: String, ends: Vec<usize> },
    /// A JSON object.
    Object(Map<String, Value>),
}

impl Row {
    fn cell(&self, column: &str) -> Option<&str> {
        let Row::Cells { columns, text, ends } = self else { return None };
        let index = columns.iter().position(|c| c == column)?;
        let from = if index == 0 { 0 } else { ends[index - 1] };
        Some(text[from..ends[index]].trim())
    }

    /// A JSON value: `/a/b` is a JSON pointer, anything else the name of a field at the top.
    fn field(&self, column: &str) -> Option<&Value> {
        let Row::Object(object) = self else { return None };
        let Some(path) = column.strip_prefix('/') else { return object.get(column) };
        let mut names = path.split('/').map(|name| name.replace("~1", "/").replace("~0", "~"));
        let mut value = object.get(&names.next()?)?;
        for name in names {
            value = match value {
                Value::Object(inner) => inner.get(&name)?,
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// The column's text without surrounding blanks; `None` when it is empty, missing or `null`.
    pub(super) fn text(&self, column: &str) -> Option<Cow<'_, str>> {
        let text = match self {
            Row::Cells { .. } => Cow::Borrowed(self.cell(column)?),
            Row::Object(_) => match self.field(column)? {
                Value::Null => return None,
                Value::String(text) => Cow::Borrowed(text.trim()),
                other => Cow::Owned(other.to_string()),
            },
        };
        (!text.is_empty()).then_some(text)
    }

    /// The column as it is: text in CSV, any value in JSON. `None` as for [`Row::text`].
    pub(super) fn value(&self, column: &str) -> Option<Value> {
        match self {
            Row::Object(_) => match self.field(column)? {
                Value::Null => None,
                Value::String(text) => Some(text.trim()).filter(|t| !t.is_empty()).map(Value::from),
                other => Some(other.clone()),
            },
            Row::Cells { .. } => self.text(column).map(|text| Value::from(text.into_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_columns_are_names_or_pointers() {
        let Value::Object(object) = json!({ "a/b": " x ", "c": { "d~": [1, null] }, "e": "" }) else { unreachable!() };
        let row = Row::Object(object);
        assert_eq!(row.text("a/b").as_deref(), Some("x"));
        assert_eq!(row.text("/a~1b").as_deref(), Some("x"));
        assert_eq!(row.value("/c/d~0/0"), Some(json!(1)));
        assert_eq!(row.value("/c/d~0/1"), None);
        assert_eq!(row.text("e"), None);
        assert_eq!(row.text("/c/nothing"), None);
    }
}
