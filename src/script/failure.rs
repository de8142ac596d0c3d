//! Why a script stopped, and where: Rhai's nested errors brought down to the innermost place, in words for whoever wrote
//! the script.

use std::fmt;

use rhai::{EvalAltResult, Position};

use crate::domain::diagnostic::Diagnostic;

/// The innermost cause of a failed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The file whose code failed.
    pub file: String,
    /// From 1, where known.
    pub line: Option<u32>,
    /// From 1, where known.
    pub column: Option<u32>,
    /// What happened: lower case, no full stop.
    pub message: String,
}

impl Failure {
    /// Reads `error`, raised by a run that began in `file`.
    pub fn of(error: &EvalAltResult, file: &str) -> Self {
        let mut file = file.to_owned();
        let mut error = error;
        while let EvalAltResult::ErrorInFunctionCall(_, source, inner, _)
        | EvalAltResult::ErrorInModule(source, inner, _) = error
        {
            if !source.is_empty() {
                file.clone_from(source);
            }
            error = inner;
        }
        let (line, column) = line_and_column(error.position());
        Failure { file, line, column, message: describe(error) }
    }

    /// Only where: `rules/win_back.rhai:7:14`. The message may repeat what a customer typed, so it is nothing for a log.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }

    /// The same as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        let diagnostic = Diagnostic::error(self.file.clone(), self.message.clone());
        match (self.line, self.column) {
            (Some(line), Some(column)) => diagnostic.at(line, column),
            _ => diagnostic,
        }
    }
}

impl fmt::Display for Failure {
    /// `rules/win_back.rhai:7:14: cannot compute + of a number and a missing value`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// Rhai's position as line and column, both from 1.
pub fn line_and_column(position: Position) -> (Option<u32>, Option<u32>) {
    let small = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok());
    (small(position.line()), small(position.position().or(position.line().map(|_| 1))))
}

fn describe(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => value.to_string(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unfitting(signature),
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("unknown variable `{name}`"),
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("unknown module `{name}`"),
        EvalAltResult::ErrorMismatchDataType(wanted, got, _)
        | EvalAltResult::ErrorMismatchOutputType(wanted, got, _) => {
            format!("expected {}, not {}", kind(wanted), kind(got))
        }
        EvalAltResult::ErrorStackOverflow(_) => "the functions call each other too deep".to_owned(),
        EvalAltResult::ErrorDataTooLarge(what, _) => format!("too large a value: {}", lower(what)),
        EvalAltResult::ErrorIndexingType(what, _) => format!("nothing can be read from or written to {}", kind(what)),
        EvalAltResult::ErrorDotExpr(what, _) => lower(what),
        other => lower(&{
            // Rhai appends the position, which we state ourselves.
            let mut bare = other.to_string();
            if let Some(at) = bare.rfind(" (line ") {
                bare.truncate(at);
            }
            bare
        }),
    }
}

/// `+ (i64, ())` → "`+` does not work on a whole number and a missing value".
fn unfitting(signature: &str) -> String {
    let (name, arguments) = signature.split_once('(').unwrap_or((signature, ""));
    let name = name.trim();
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let kinds: Vec<&str> = arguments.split(", ").filter(|a| !a.is_empty()).map(kind).collect();
    match kinds.as_slice() {
        [] => format!("`{name}` is unknown, or needs arguments"),
        [one] => format!("`{name}` does not work on {one}"),
        [first @ .., last] => format!("`{name}` does not work on {} and {last}", first.join(", ")),
    }
}

/// Rhai's name of a type in words: `a text`, `a list`.
pub(crate) fn kind(type_name: &str) -> &str {
    // Of a text Rhai names every type that it could be.
    let name = type_name.split(" | ").next().unwrap_or(type_name);
    let name = name.rsplit("::").next().unwrap_or(name);
    match name.trim_start_matches('&').trim_start_matches("mut ") {
        "()" => "a missing value",
        "i64" | "i32" => "a whole number",
        "f64" => "a number",
        "string" | "ImmutableString" | "str" | "String" => "a text",
        "bool" => "true or false",
        "array" | "Array" => "a list",
        "map" | "Map" => "a map",
        "char" => "a character",
        "Fn" | "FnPtr" => "a function",
        other => other,
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect::<String>().trim_end_matches('.').to_owned()
}
