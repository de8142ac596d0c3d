//! Why a condition said no: the first part of it that is false, where it stands, what it looked at, and what would make
//! it true.
//!
//! A part is asked by running the function with everything else of its last statement blanked out, so it is the same
//! function, with the same variables before it, and every place keeps its line and column. Where the text cannot be cut
//! as the syntax tree says it should be, the condition is one part.

use std::ops::Range;
use std::sync::Arc;

use rhai::{AST, ASTNode, Engine, Expr, Module, Position, Stmt};
use serde_json::Value;

use super::book::RuleBook;
use super::conjuncts::{blanked, comparison, last_statement, parts, trimmed};
use super::host;
use super::host::run::{Phase, Run};
use super::program::Program;
use super::rule::Rule;
use crate::domain::rule::Seen;
use crate::domain::subject::Subject;
use crate::script::to_json;

/// Conditions that ask other conditions are followed so far.
const MAX_DEPTH: usize = 5;

/// The part of a condition that said no.
#[derive(Clone, Debug, PartialEq)]
pub struct SaidNo {
    /// The file that it stands in.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// As written, in one line.
    pub text: String,
    /// What it looked at.
    pub seen: Vec<Seen>,
    /// What would make it true, with the value that stands against it.
    pub missing: String,
    /// It failed instead of answering.
    pub error: Option<String>,
    /// Where it asks another condition: what said no there.
    pub inside: Option<Box<SaidNo>>,
}

/// A condition's text and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What stands between the function's brackets, as written, moved to the left edge.
    pub text: String,
    /// That of its first line, from 1.
    pub line: u32,
}

/// One function of one file.
struct Asked<'a> {
    common: Option<&'a Arc<Module>>,
    path: &'a str,
    text: &'a str,
    name: &'a str,
    phase: Phase,
}

/// What hides a function from the wrapper that calls it.
const PRIVATE: &str = "private fn ";

impl RuleBook {
    /// The part of `rule`'s condition that says no to `subject`; `None` where it says yes.
    pub fn why_no(&self, rule: &Rule, subject: &Subject) -> Option<SaidNo> {
        let common = self.common_module();
        let asked = Asked { common, path: &rule.path, text: &rule.text, name: "when", phase: Phase::When };
        asked.explain(self, subject, 0)
    }

    /// The part of a segment's condition that keeps `subject` out; `None` where nothing does, or there is no such segment.
    pub fn why_not_in(&self, segment: &str, subject: &Subject) -> Option<SaidNo> {
        self.explain_segment(segment, subject, 0)
    }

    fn explain_segment(&self, segment: &str, subject: &Subject, depth: usize) -> Option<SaidNo> {
        let (path, text) = self.segments_file()?;
        if !self.segment_names().any(|name| name == segment) {
            return None;
        }
        let common = self.common_module();
        Asked { common, path, text, name: segment, phase: Phase::Segment }.explain(self, subject, depth)
    }

    /// A segment's condition.
    pub fn segment_condition(&self, segment: &str) -> Option<Condition> {
        condition(self.segments_file()?.1, segment)
    }

    /// A segment's `///` lines.
    pub fn segment_description(&self, segment: &str) -> Option<String> {
        let tree = host::engine(None).compile(self.segments_file()?.1).ok()?;
        let comments = tree.iter_fn_def().find(|f| f.name == segment)?.comments.join("\n");
        let lines = comments.lines().map(|line| line.trim_start_matches('/').trim());
        Some(lines.collect::<Vec<_>>().join(" ").trim().to_owned())
    }

    /// Whether any rule or another segment names this segment or template.
    pub fn mentions(&self, name: &str) -> bool {
        let (quoted, called) = (format!("\"{name}\""), format!("{name}("));
        let in_rules = self.rules().any(|rule| rule.text.contains(&quoted));
        let by_segments = self.segments_file().is_some_and(|(_, text)| text.matches(&called).count() > 1);
        in_rules || by_segments
    }
}

impl Rule {
    /// Its `when`.
    pub fn condition(&self) -> Option<Condition> {
        condition(&self.text, "when")
    }

    /// The file as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The body of function `name` of a rule's or segments' `text`.
pub fn condition(text: &str, name: &str) -> Option<Condition> {
    let tree = host::engine(None).compile(text).ok()?;
    let body = &tree.iter_fn_def().find(|f| f.name == name)?.body;
    let (from, to) = (offset(text, body.start_position())? + 1, offset(text, body.end_position())?);
    let inner = text.get(from..to)?;
    let n_blank = inner.lines().take_while(|line| line.trim().is_empty()).count();
    let lines: Vec<&str> = inner.trim_end().lines().skip(n_blank).collect();
    let indent = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indent.min().unwrap_or(0);
    let lines: Vec<&str> = lines.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
    let line = u32::try_from(body.start_position().line()? + n_blank).ok()?;
    Some(Condition { text: lines.join("\n"), line })
}

impl Asked<'_> {
    fn explain(&self, book: &RuleBook, subject: &Subject, depth: usize) -> Option<SaidNo> {
        let engine = host::engine(self.common);
        let tree = engine.compile(self.text).ok()?;
        let def = tree.iter_fn_def().find(|f| f.name == self.name)?;
        let (arity, open) = (def.params.len(), offset(self.text, def.body.start_position())?);
        let blank = blanked(self.text);
        let last = last_statement(&blank, open)?;
        let function = Function { asked: self, blank: &blank, last: last.clone(), arity };
        let before = trimmed(&blank, open + 1..last.start);
        match function.gets_to_its_end(subject) {
            Ok(true) => {}
            Ok(false) => return Some(function.ended_early(&before, subject, None)),
            Err(error) => return Some(function.ended_early(&before, subject, Some(error))),
        }
        let cut = parts(&blank, last.clone(), "&&");
        let cut = if cut.len() == conjuncts_of(&tree, self.name, arity) { cut } else { vec![last.clone()] };
        for part in cut {
            let said = function.part(&part, subject).and_then(|value| function.yes(&value));
            let error = match said {
                Ok(true) => continue,
                Ok(false) => None,
                Err(error) => Some(error),
            };
            let mut no = function.said_no(&part, subject, error);
            if depth < MAX_DEPTH {
                no.inside = self.inside(&no.text, book, subject, depth).map(Box::new);
            }
            return Some(no);
        }
        None
    }

    /// A part that only asks another condition: a function of the same file, or a segment.
    fn inside(&self, part: &str, book: &RuleBook, subject: &Subject, depth: usize) -> Option<SaidNo> {
        let of_customer = ["(customer)", "(customer, event)"].iter().find_map(|end| part.strip_suffix(end));
        if let Some(name) = of_customer.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')) {
            let asked = Asked { name, ..*self };
            return asked.explain(book, subject, depth + 1);
        }
        let segment = part.strip_prefix("customer.in_segment(\"")?.strip_suffix("\")")?;
        book.explain_segment(segment, subject, depth + 1)
    }
}

/// A function, cut.
struct Function<'a> {
    asked: &'a Asked<'a>,
    blank: &'a str,
    last: Range<usize>,
    arity: usize,
}

impl Function<'_> {
    /// Whether no statement before the last one says no.
    fn gets_to_its_end(&self, subject: &Subject) -> Result<bool, String> {
        self.yes(&self.run(&self.only_true(), subject).0?)
    }

    fn only_true(&self) -> String {
        format!("{:<width$}", "true", width = self.last.len())
    }

    fn yes(&self, value: &Value) -> Result<bool, String> {
        match value {
            Value::Bool(yes) => Ok(*yes),
            // As asking the whole would say: a missing value is no answer.
            _ => Err(format!("`{}` must answer true or false, not {value}", self.asked.name)),
        }
    }

    fn part(&self, part: &Range<usize>, subject: &Subject) -> Result<Value, String> {
        self.run(&self.alone(part), subject).0
    }

    /// The last statement with all but `part` blanked.
    fn alone(&self, part: &Range<usize>) -> String {
        let blank = |range: Range<usize>| -> String {
            self.asked.text[range].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
        };
        let text = &self.asked.text[part.clone()];
        format!("{}{text}{}", blank(self.last.start..part.start), blank(part.end..self.last.end))
    }

    fn run(&self, last: &str, subject: &Subject) -> (Result<Value, String>, Vec<Seen>) {
        let Asked { common, path, text, name, phase } = *self.asked;
        let text = format!("{}{last}{}", &text[..self.last.start], &text[self.last.end..]);
        // It is called from outside here; as long, so that every place stays.
        let text =
            text.replacen(&format!("{PRIVATE}{name}("), &format!("{:>width$}{name}(", "fn ", width = PRIVATE.len()), 1);
        let run = Arc::new(Run::new(subject, phase, true));
        let value = program(common, path, &text, name, self.arity).and_then(|program| {
            let value = program.call(name, &run, self.arity == 2).map_err(|failure| failure.to_string())?;
            // What is no data (the customer itself) only stands on one side of something.
            Ok(to_json(&value).unwrap_or(Value::Null))
        });
        (value, run.take_seen())
    }

    /// The statements before the last one said no, or failed.
    fn ended_early(&self, before: &Range<usize>, subject: &Subject, error: Option<String>) -> SaidNo {
        let (_, seen) = self.run(&self.only_true(), subject);
        let missing = "the function ends here; it must get to its last statement".to_owned();
        SaidNo { seen, missing, error, ..self.place(before) }
    }

    fn said_no(&self, part: &Range<usize>, subject: &Subject, error: Option<String>) -> SaidNo {
        let (_, seen) = self.run(&self.alone(part), subject);
        let missing = if error.is_some() { String::new() } else { self.missing(part, subject) };
        SaidNo { seen, missing, error, ..self.place(part) }
    }

    fn place(&self, part: &Range<usize>) -> SaidNo {
        let before = &self.asked.text[..part.start];
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        SaidNo {
            file: self.asked.path.to_owned(),
            line: number(before.matches('\n').count() + 1),
            column: number(column),
            text: one_line(self.asked.text, self.blank, part),
            seen: Vec::new(),
            missing: String::new(),
            error: None,
            inside: None,
        }
    }

    /// What would make `part` true.
    fn missing(&self, part: &Range<usize>, subject: &Subject) -> String {
        let choices = parts(self.blank, part.clone(), "||");
        if choices.len() > 1 {
            let each: Vec<String> = choices.iter().map(|choice| self.missing(choice, subject)).collect();
            return each.join("; or ");
        }
        let written = one_line(self.asked.text, self.blank, part);
        let Some((left, sign, right)) = comparison(self.blank, part.clone()) else {
            return match written.strip_prefix('!') {
                Some(rest) => format!("`{rest}` is true; it must be false"),
                None => format!("`{written}` is false; it must be true"),
            };
        };
        let side = |range: &Range<usize>| (one_line(self.asked.text, self.blank, range), self.part(range, subject));
        let ((left, is), (right, wanted)) = (side(&left), side(&right));
        let is = is.map_or_else(|_| "not to be had".to_owned(), |value| shown(&value));
        let wanted = wanted.map_or(right, |value| shown(&value));
        let must = match sign {
            ">=" => "be at least",
            ">" => "be more than",
            "<=" => "be at most",
            "<" => "be less than",
            "!=" => "be another than",
            "in" => "be one of",
            _ => "be",
        };
        format!("`{left}` is {is}; it must {must} {wanted}")
    }
}

fn program(common: Option<&Arc<Module>>, path: &str, text: &str, name: &str, arity: usize) -> Result<Program, String> {
    let engine: Engine = host::engine(common);
    let tree: AST = engine.compile(text).map_err(|error| error.to_string())?;
    Program::new(engine, &tree, path, &[(name, arity)]).map_err(|failure| failure.to_string())
}

/// How many conditions the last statement of a function joins, by the syntax tree.
fn conjuncts_of(tree: &AST, name: &str, arity: usize) -> usize {
    let mut only = tree.clone();
    only.clear_statements();
    only.retain_functions(|_, _, function, n| function == name && n == arity);
    let mut n_parts = 1;
    only.walk(&mut |path: &[ASTNode]| {
        if let [ASTNode::Stmt(statement)] = path {
            n_parts = match statement {
                Stmt::Expr(expr) | Stmt::Return(Some(expr), ..) => match &**expr {
                    Expr::And(parts, _) => parts.len(),
                    _ => 1,
                },
                _ => 1,
            };
        }
        true
    });
    n_parts
}

fn offset(text: &str, at: Position) -> Option<usize> {
    let (line, column) = (at.line()?, at.position()?);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    text[start..].char_indices().nth(column - 1).map(|(n, _)| start + n)
}

/// A part of `text` without comments and line breaks.
fn one_line(text: &str, blank: &str, part: &Range<usize>) -> String {
    let kept = part.clone().filter(|at| text.is_char_boundary(*at)).filter_map(|at| {
        let letter = text[at..].chars().next()?;
        Some(if blank.as_bytes()[at].is_ascii_whitespace() { ' ' } else { letter })
    });
    kept.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value for people.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "missing".to_owned(),
        Value::Number(n) if n.is_f64() => {
            let short = format!("{:.4}", n.as_f64().unwrap_or_default());
            short.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}
