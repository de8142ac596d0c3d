//! From text to syntax tree, with every problem and not only the first: Rhai stops at one error, so what it stopped at is
//! blanked with spaces (all positions stay) and the rest is read again.

use rhai::{AST, Engine, LexError, ParseError, ParseErrorType, Position};

use super::findings::Findings;
use crate::domain::diagnostic::did_you_mean;

/// More broken places than this in one file are not worth telling apart.
const MOST_PROBLEMS: usize = 50;

/// What the scripts of one language have that others do not, for the words of a complaint.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// What such scripts are called: `rules`.
    pub(crate) name: &'static str,
    /// The variables that their functions are handed.
    pub(crate) variables: &'static [&'static str],
    /// What to do where somebody misses `import`.
    pub(crate) instead_of_import: &'static str,
}

/// Reads `text` as far as it can be read; problems go to `findings`. The tree holds everything that is whole, also where a
/// variable in it is unknown. `engine` comes back strict about variables.
pub(crate) fn parse(engine: &mut Engine, text: &str, dialect: Dialect, findings: &mut Findings) -> AST {
    engine.set_strict_variables(false);
    let (tree, broken) = recover(engine, text);
    engine.set_strict_variables(true);
    // What is misspelt only shows in strict reading, which gives up the whole item at once.
    let (_, strict) = recover(engine, text);
    for error in &broken {
        report(error, text, dialect, findings);
    }
    let lost: Vec<&str> = broken.iter().filter_map(|error| declared(text, error.position())).collect();
    for error in &strict {
        // A variable whose own line is broken is not unknown as well.
        if matches!(error.err_type(), ParseErrorType::VariableUndefined(name) if !lost.contains(&name.as_str())) {
            report(error, text, dialect, findings);
        }
    }
    tree
}

/// The variable that the line at `position` declares.
fn declared(text: &str, position: Position) -> Option<&str> {
    let line = text.lines().nth(position.line()?.checked_sub(1)?)?;
    line.trim_start().strip_prefix("let ")?.split([' ', '=', ';']).next()
}

fn recover(engine: &Engine, text: &str) -> (AST, Vec<ParseError>) {
    let mut text = text.to_owned();
    let mut errors = Vec::new();
    while errors.len() < MOST_PROBLEMS {
        let error = match engine.compile(&text) {
            Ok(tree) => return (tree, errors),
            Err(error) => error,
        };
        let repaired = without_line(engine, &text, &error).unwrap_or_else(|| repair(&text, &error));
        errors.push(error);
        if repaired == text {
            break;
        }
        text = repaired;
    }
    (AST::empty(), errors)
}

/// `text` without the statement that `error` is in, where that is a line of its own and its loss mends the function.
fn without_line(engine: &Engine, text: &str, error: &ParseError) -> Option<String> {
    let at = offset(text, error.position());
    let start = text[..at].rfind('\n')? + 1;
    let end = at + text[at..].find('\n')?;
    let line = &text[start..end];
    if !line.starts_with([' ', '\t']) || !line.trim_end().ends_with(';') || is_undefined(error) {
        return None;
    }
    let rest = format!("{}{}{}", &text[..start], " ".repeat(line.chars().count()), &text[end..]);
    let is_mended = match engine.compile(&rest) {
        Ok(_) => true,
        Err(next) => next.position() > error.position() || is_undefined(&next),
    };
    is_mended.then_some(rest)
}

fn is_undefined(error: &ParseError) -> bool {
    matches!(error.err_type(), ParseErrorType::VariableUndefined(_) | ParseErrorType::ModuleUndefined(_))
}

/// `text` without what `error` is about.
fn repair(text: &str, error: &ParseError) -> String {
    let at = offset(text, error.position());
    match error.err_type() {
        // A number stands wherever a variable can be read, so the rest of the function is still looked at.
        ParseErrorType::VariableUndefined(name) if text[at..].starts_with(name.as_str()) => {
            format!("{}0{}{}", &text[..at], " ".repeat(name.len() - 1), &text[at + name.len()..])
        }
        ParseErrorType::ModuleUndefined(name) if text[at..].starts_with(&format!("{name}::")) => {
            let end = at + name.len() + 2;
            format!("{}{}{}", &text[..at], " ".repeat(name.len() + 2), &text[end..])
        }
        // A function inside a function: the one before it was never closed.
        ParseErrorType::WrongFnDefinition => blank_item(text, at.saturating_sub(1)),
        _ => blank_item(text, at),
    }
}

fn blank_item(text: &str, at: usize) -> String {
    let starts = item_starts(text);
    // What was blanked before starts nothing, so an error past the end falls to the last item that is left.
    let Some(&start) = starts.iter().rev().find(|&&start| start <= at).or(starts.first()) else {
        return text.to_owned();
    };
    let end = starts.iter().find(|&&next| next > start).copied().unwrap_or(text.len());
    let blanks: String = text[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    format!("{}{blanks}{}", &text[..start], &text[end..])
}

/// Where the top-level items begin: at the words in the first column, with the doc comments above them.
fn item_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut doc_start = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("///") {
            doc_start.get_or_insert(at);
        } else {
            if line.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '#') {
                starts.push(doc_start.unwrap_or(at));
            }
            doc_start = None;
        }
        at += line.len();
    }
    starts
}

/// The byte at `position`; the end of the text where there is none.
fn offset(text: &str, position: Position) -> usize {
    let (Some(line), column) = (position.line(), position.position().unwrap_or(1)) else { return text.len() };
    let mut at = 0;
    for (n, content) in text.split_inclusive('\n').enumerate() {
        if n + 1 == line {
            return at + content.char_indices().nth(column - 1).map_or(content.len(), |(byte, _)| byte);
        }
        at += content.len();
    }
    text.len()
}

fn report(error: &ParseError, text: &str, dialect: Dialect, findings: &mut Findings) {
    let (message, help) = describe(error.err_type(), text, dialect);
    let at = error.position();
    let at = if at.is_none() {
        Position::new(u16::try_from(text.lines().count().max(1)).unwrap_or(u16::MAX), 1)
    } else {
        at
    };
    findings.error(at, message, help);
}

fn describe(error: &ParseErrorType, text: &str, dialect: Dialect) -> (String, Option<String>) {
    let say = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    match error {
        ParseErrorType::VariableUndefined(name) => {
            let is_constant = text.contains(&format!("const {name} ")) || text.contains(&format!("const {name}="));
            let help = if is_constant {
                Some(format!("inside a function a constant is read as `global::{name}`"))
            } else {
                let names = text.split("let ").skip(1).filter_map(|rest| rest.split([' ', '=', ';']).next());
                let near = did_you_mean(name, names.chain(dialect.variables.iter().copied()));
                near.filter(|near| near != name).map(|near| format!("did you mean `{near}`?"))
            };
            (format!("unknown variable `{name}`"), help)
        }
        ParseErrorType::WrongFnDefinition => {
            say("a function begins inside another one", "close the function before it with `}`")
        }
        ParseErrorType::UnexpectedEOF => say("the file ends too early", "look for a bracket that is never closed"),
        ParseErrorType::Reserved(name) if name == "import" => {
            say(&format!("`import` does not exist in {}", dialect.name), dialect.instead_of_import)
        }
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "eval" => {
            say(&format!("`eval` does not exist in {}", dialect.name), "write the code itself")
        }
        ParseErrorType::Reserved(name) => {
            (format!("`{name}` is a reserved word"), Some("choose another name".to_owned()))
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => say("a text is never closed", "close it with `\"`"),
        ParseErrorType::BadInput(LexError::UnexpectedInput(what)) => (format!("unexpected `{what}`"), None),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "=" => {
            say("`=` assigns, it does not compare", "write `==`")
        }
        ParseErrorType::MissingToken(token, why) => (format!("`{token}` is missing {why}"), None),
        ParseErrorType::FnDuplicatedDefinition(name, _) => (format!("function `{name}` is defined twice"), None),
        ParseErrorType::AssignmentToConstant(name) => (format!("`{name}` is a constant and cannot be changed"), None),
        other => {
            let text = other.to_string().replace('\'', "`");
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_ascii_lowercase());
            (first.into_iter().chain(letters).collect(), None)
        }
    }
}
