//! What was found wrong in one file, in the words and places of `domain::diagnostic`.

use rhai::Position;

use crate::domain::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::script::failure::line_and_column;

/// The problems of one file.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    list: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn new(file: &str) -> Self {
        Findings { file: file.to_owned(), list: Vec::new() }
    }

    /// Not taken over.
    pub(crate) fn error(&mut self, at: Position, message: impl Into<String>, help: Option<String>) {
        self.push(Diagnostic::error(self.file.clone(), message), at, help);
    }

    /// Works, but hardly as meant.
    pub(crate) fn warning(&mut self, at: Position, message: impl Into<String>, help: Option<String>) {
        self.push(Diagnostic::warning(self.file.clone(), message), at, help);
    }

    /// One that another part has put into words already.
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    fn push(&mut self, diagnostic: Diagnostic, at: Position, help: Option<String>) {
        let diagnostic = match line_and_column(at) {
            (Some(line), Some(column)) => diagnostic.at(line, column),
            _ => diagnostic,
        };
        self.list.push(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them, in the order of the file, each once.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        self.list.dedup();
        self.list
    }
}

/// "did you mean", else what there is to choose from.
pub(crate) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = did_you_mean(word, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    match all.len() {
        0 => None,
        1..=12 => Some(format!("there is {}", all.join(", "))),
        n => Some(format!("there are {n}, among them {}", all[..8].join(", "))),
    }
}
