//! Finding by reading what would go wrong by running. Rhai accepts a call of a function that does not exist, an assignment
//! to a customer, a `fn When`; it would fail at nine in the morning, for each customer anew. All of it is said here instead,
//! all at once and at its place.

mod body;
mod calls;
mod missing;

use rhai::{AST, ASTFlags, Stmt};

use super::Known;
use super::findings::Findings;
use crate::domain::diagnostic::did_you_mean;
use crate::script::tree::{self, Function, functions};

/// What sort of file it is, which decides what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `NAME.rhai`; whether an event wakes it.
    Rule {
        /// `on(...)`: `when` and `then` may take the event.
        has_event: bool,
    },
    /// `segments.rhai`
    Segments,
    /// `shared/common.rhai`
    Common,
}

/// The functions that a rule must have.
const MINDS: [&str; 2] = ["when", "then"];

/// Checks a whole file.
pub(super) fn check(kind: Kind, tree: &AST, text: &str, known: &Known<'_>, findings: &mut Findings) {
    let functions = functions(tree, text);
    top_level(kind, tree, findings);
    if let Kind::Rule { has_event } = kind {
        minds(&functions, text, has_event, findings);
    }
    if kind == Kind::Segments {
        for segment in functions.iter().filter(|f| !f.is_private && !f.is_anonymous()) {
            if segment.params != ["customer"] {
                let message = format!("segment `{}` does not take exactly `customer`", segment.name);
                let help = format!("write `fn {}(customer)`; a helper is a `private fn`", segment.name);
                findings.error(segment.at, message, Some(help));
            }
        }
    }
    let constants = constants(tree);
    let context = body::Context { kind, known, functions: &functions, constants: &constants };
    body::check(&context, tree, findings);
}

fn constants(tree: &AST) -> Vec<String> {
    let statements = tree.statements().iter();
    let names = statements.filter_map(|statement| match statement {
        Stmt::Var(var, flags, _) if flags.contains(ASTFlags::CONSTANT) => Some(var.0.name.to_string()),
        _ => None,
    });
    names.collect()
}

fn top_level(kind: Kind, tree: &AST, findings: &mut Findings) {
    for statement in tree.statements() {
        match statement {
            Stmt::Var(var, flags, at) if !flags.contains(ASTFlags::CONSTANT) => {
                let help = format!("write `const {}`, and read it inside functions as `global::{0}`", var.0.name);
                findings.error(*at, "`let` at the top of a file is never seen by its functions", Some(help));
            }
            Stmt::Var(var, _, _) if var.0.name == "RULE" && !matches!(kind, Kind::Rule { .. }) => {
                let help = "a rule is a file of its own: move it to rules/NAME.rhai".to_owned();
                findings.error(var.0.pos, "there is no `RULE` in this file", Some(help));
            }
            Stmt::Var(..) | Stmt::Noop(_) => {}
            other => {
                let help = "move it into a function".to_owned();
                findings.error(other.position(), "only `const` and `fn` may stand at the top of a file", Some(help));
            }
        }
    }
}

fn minds(functions: &[Function], text: &str, has_event: bool, findings: &mut Findings) {
    for mind in MINDS {
        let found: Vec<&Function> = functions.iter().filter(|f| f.name == mind).collect();
        let near = functions.iter().find(|f| {
            !MINDS.contains(&f.name.as_str()) && !f.is_anonymous() && did_you_mean(&f.name, [mind]).is_some()
        });
        match (found.as_slice(), near) {
            ([], Some(near)) => {
                let message = format!("`fn {}` is never asked", near.name);
                findings.error(near.at, message, Some(format!("did you mean `{mind}`?")));
            }
            // It is there and could not be read, which has been said.
            ([], None) if text.contains(&format!("fn {mind}(")) => {}
            ([], None) => {
                let body = if mind == "when" { "true" } else { "email(\"…\")" };
                let help = format!("add `fn {mind}(customer) {{ {body} }}`");
                findings.error(rhai::Position::NONE, format!("the rule has no `{mind}`"), Some(help));
            }
            ([_, second, ..], _) => {
                findings.error(second.at, format!("`{mind}` is defined twice"), Some("keep one of them".to_owned()));
            }
            ([one], _) => signature(one, has_event, findings),
        }
    }
}

fn signature(mind: &Function, has_event: bool, findings: &mut Findings) {
    let name = &mind.name;
    if mind.is_private {
        findings.error(mind.at, format!("`{name}` is private"), Some(format!("write `fn {name}(customer)`")));
    }
    let params: Vec<&str> = mind.params.iter().map(String::as_str).collect();
    match params.as_slice() {
        ["customer"] => {}
        ["customer", "event"] if has_event => {}
        ["customer", "event"] => {
            let help = "only a rule with the trigger on(\"…\") is woken by an event; remove the parameter".to_owned();
            findings.error(mind.at, format!("`{name}` has no event here"), Some(help));
        }
        _ => {
            let second = if has_event { format!(" or `fn {name}(customer, event)`") } else { String::new() };
            let help = format!("write `fn {name}(customer)`{second}");
            findings.error(mind.at, format!("`{name}` does not take `customer`"), Some(help));
        }
    }
}
