//! What is wrong with something that a human wrote: where, what, and what to do. Always all problems at once, never a
//! crash.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Works, but probably not as meant.
    Warning,
    /// Not taken over.
    Error,
}

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Path as the user knows it.
    pub file: String,
    /// From 1; `None` when the problem is the file as a whole.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error in `file` as a whole.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            file: file.into(),
            line: None,
            column: None,
            message: message.into(),
            help: None,
        }
    }

    /// A warning about `file` as a whole.
    pub fn warning(file: impl Into<String>, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(file, message) }
    }

    /// At this line and column, both from 1.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        (self.line, self.column) = (Some(line), Some(column));
        self
    }

    /// At this byte of `text`, the content of the file.
    #[must_use]
    pub fn at_offset(self, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        self.at(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Only where: `rules/win_back.rhai:7:14`.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// `rules/win_back.rhai:7:14: error: unknown template winback` and, on a second line, the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{}: {severity}: {}", self.place(), self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n  help: {help}"))
    }
}

/// The nearest of `known` to a misspelt `word`, if one is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let n_letters = word.chars().count();
    let n_slips = (n_letters / 3).max(1);
    // Comparing takes time and room by the product of both lengths; nobody misspells a name of a thousand letters.
    let is_comparable = |candidate: &&str| {
        n_letters <= LONGEST_NAME && candidate.chars().take(2 * LONGEST_NAME).count().abs_diff(n_letters) <= n_slips
    };
    let near = |candidate: &&str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let best = known.into_iter().filter(is_comparable).min_by_key(near)?;
    (near(&best) <= n_slips).then_some(best)
}

/// In letters.
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word_and_an_endless_name_from_both() {
        assert_eq!(did_you_mean("winback", ["win_back", "cart"]), Some("win_back"));
        assert_eq!(did_you_mean("Tier", ["tiers", "tier"]), Some("tier"));
        assert_eq!(did_you_mean("x", ["win_back"]), None);
        // Compared letter by letter, these would take half a terabyte.
        let (endless, other) = ("x".repeat(256 * 1024), "y".repeat(256 * 1024));
        assert_eq!(did_you_mean(&endless, ["win_back", &other]), None);
    }
}
