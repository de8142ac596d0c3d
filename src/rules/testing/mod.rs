//! Tests of rules: `NAME.test.toml` beside `NAME.rhai`, run on virtual time through the same folding and the same
//! evaluation as everything else.
//!
//! A test says who the customer is, what happens when, and what the rule should then want. Consent, caps and control groups
//! are not part of it: a test is about deciding.

mod file;
mod runner;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::RuleBook;
use crate::domain::clock::Business;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::rule::Seen;

/// How a test went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed {
        /// What the test asks for, one line each.
        expected: Vec<String>,
        /// What the rule wanted, one line each.
        got: Vec<String>,
        /// What went wrong besides, such as an error of the script.
        because: Option<String>,
        /// When the rule was last asked; `None` when it never was.
        asked_at: Option<String>,
        /// What `when` and `then` looked at then.
        seen: Vec<Seen>,
    },
    /// It could not be run: a test file with a mistake, or a rule that did not load.
    Broken {
        /// What is wrong.
        problem: Diagnostic,
    },
    /// The rule has no tests.
    Untested,
}

/// One test, or the lack of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestReport {
    /// The rule's id.
    pub rule: String,
    /// The test's name; `None` when the report is about the rule or the file as a whole.
    pub test: Option<String>,
    /// The test file.
    pub file: String,
    /// Where the test begins, from 1.
    pub line: Option<u32>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl TestReport {
    /// Whether this stands in the way. A rule without tests does not.
    pub fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. } | Outcome::Broken { .. })
    }
}

/// Runs the tests below `dir`: those of the rule `only`, else all.
pub fn run_tests(book: &RuleBook, dir: &Path, only: Option<&str>, business: &Business) -> Vec<TestReport> {
    let mut ids: BTreeSet<String> = book.rules().map(|rule| rule.id.clone()).collect();
    ids.extend(test_files(dir));
    ids.retain(|id| only.is_none_or(|only| only == id));
    ids.iter().flat_map(|id| run_rule(book, dir, id, business)).collect()
}

/// The rules that have a test file, whether or not they exist.
fn test_files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".test.toml").map(str::to_owned)).collect()
}

fn run_rule(book: &RuleBook, dir: &Path, id: &str, business: &Business) -> Vec<TestReport> {
    let path = dir.join(format!("{id}.test.toml"));
    let file = path.display().to_string();
    let whole = |outcome| TestReport { rule: id.to_owned(), test: None, file: file.clone(), line: None, outcome };
    let broken = |problem| whole(Outcome::Broken { problem });
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return vec![whole(Outcome::Untested)],
        Err(error) => return vec![broken(Diagnostic::error(file.clone(), format!("it cannot be read: {error}")))],
    };
    let Some(rule) = book.rule(id) else {
        let rule_file = dir.join(format!("{id}.rhai"));
        let problem = if rule_file.exists() {
            Diagnostic::error(rule_file.display().to_string(), "the rule did not load, so its tests were not run")
        } else {
            Diagnostic::error(file.clone(), format!("there is no rule `{id}` beside these tests"))
        };
        return vec![broken(problem)];
    };
    let tests = match file::read(&file, &text, business) {
        Ok(tests) => tests,
        Err(problems) => return problems.into_iter().map(broken).collect(),
    };
    if tests.is_empty() {
        return vec![whole(Outcome::Untested)];
    }
    let run = |test: &file::Test| TestReport {
        rule: id.to_owned(),
        test: Some(test.name.clone()),
        file: file.clone(),
        line: Some(test.line),
        outcome: runner::run(book, rule, test, business),
    };
    tests.iter().map(run).collect()
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.test.as_deref().unwrap_or("");
        match &self.outcome {
            Outcome::Passed => write!(f, "ok        {}: {name}", self.rule),
            Outcome::Untested => write!(f, "untested  {}: write {}", self.rule, self.file),
            Outcome::Broken { problem } => write!(f, "broken    {}\n{problem}", self.rule),
            Outcome::Failed { expected, got, because, asked_at, seen } => {
                write!(f, "FAILED    {}: {name}\n  {}", self.rule, self.file)?;
                if let Some(line) = self.line {
                    write!(f, ":{line}")?;
                }
                if let Some(because) = because {
                    write!(f, "\n  {because}")?;
                }
                for (title, lines) in [("expected", expected), ("got", got)] {
                    write!(f, "\n  {title}")?;
                    if lines.is_empty() {
                        write!(f, "\n    nothing")?;
                    }
                    lines.iter().try_for_each(|line| write!(f, "\n    {line}"))?;
                }
                match asked_at {
                    None => write!(f, "\n  the rule was never asked"),
                    Some(at) => {
                        write!(f, "\n  when last asked ({at}) it saw")?;
                        seen.iter().try_for_each(|seen| {
                            let value = if seen.value.is_null() { "()".to_owned() } else { seen.value.to_string() };
                            write!(f, "\n    {} = {value}", seen.what)
                        })
                    }
                }
            }
        }
    }
}
