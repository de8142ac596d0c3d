//! Finding by reading what would go wrong by running: a verb that does not exist would put every record aside, one by one.
//! All of it is said here instead, all at once and at its place.

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::program::Program;
use super::verbs::{self, FUNCTIONS, VERBS};
use crate::domain::diagnostic::{Diagnostic, did_you_mean};
use crate::domain::event::names;
use crate::script::findings::{Findings, suggest};
use crate::script::library;
use crate::script::parse::{Dialect, parse};
use crate::script::tree::{Function, Step, call, chain, continues_a_chain, functions};

const MAPPINGS: Dialect = Dialect {
    name: "plugins",
    variables: &["record"],
    instead_of_import: "a plugin is one script; write the function into it",
};

/// Made by Rhai itself for closures; never written by hand.
const INTERNAL: [&str; 2] = ["curry", "call"];

/// Reads and checks `text`, the script of one plugin; `None` when it cannot run.
pub(super) fn program(file: &str, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Program> {
    let mut findings = Findings::new(file);
    let mut engine = verbs::engine();
    let tree = parse(&mut engine, text, MAPPINGS, &mut findings);
    let functions = functions(&tree, text);
    top_level(&tree, &mut findings);
    mind(&functions, text, &mut findings);
    let constants = constants(&tree);
    // The constants are computed when the script is loaded: they are looked at like any code.
    let statements = tree.statements().iter().filter(|s| matches!(s, Stmt::Var(..))).cloned();
    let tops = AST::new(statements.collect::<Vec<_>>(), rhai::Module::new());
    for tree in functions.iter().map(|function| &function.tree).chain([&tops]) {
        walk(tree, &functions, &constants, &mut findings);
    }
    let program = if findings.has_errors() {
        None
    } else {
        Program::new(engine, &tree, file).map_err(|failure| findings.add(failure.diagnostic())).ok()
    };
    diagnostics.extend(findings.into_sorted());
    program
}

fn top_level(tree: &AST, findings: &mut Findings) {
    for statement in tree.statements() {
        match statement {
            Stmt::Var(var, flags, at) if !flags.contains(ASTFlags::CONSTANT) => {
                let help = format!("write `const {}`, and read it inside functions as `global::{0}`", var.0.name);
                findings.error(*at, "`let` at the top of a file is never seen by its functions", Some(help));
            }
            Stmt::Var(..) | Stmt::Noop(_) => {}
            other => {
                let help = "move it into `fn map(record)`".to_owned();
                findings.error(other.position(), "only `const` and `fn` may stand at the top of a file", Some(help));
            }
        }
    }
}

fn constants(tree: &AST) -> Vec<String> {
    let statements = tree.statements().iter();
    let names = statements.filter_map(|statement| match statement {
        Stmt::Var(var, flags, _) if flags.contains(ASTFlags::CONSTANT) => Some(var.0.name.to_string()),
        _ => None,
    });
    names.collect()
}

/// There must be one `fn map(record)`.
fn mind(functions: &[Function], text: &str, findings: &mut Findings) {
    let help = "write `fn map(record) { … }`".to_owned();
    let Some(map) = functions.iter().find(|f| f.name == "map") else {
        let near = functions.iter().find(|f| !f.is_anonymous() && did_you_mean(&f.name, ["map"]).is_some());
        if let Some(near) = near {
            findings.error(
                near.at,
                format!("`fn {}` is never called", near.name),
                Some("did you mean `map`?".to_owned()),
            );
        } else if !text.contains("fn map(") {
            // Where it is there and could not be read, that has been said.
            findings.error(Position::NONE, "the plugin has no `map`", Some(help));
        }
        return;
    };
    if map.is_private {
        findings.error(map.at, "`map` is private", Some(help));
    } else if map.params.len() != 1 {
        findings.error(map.at, "`map` takes one record, and nothing else", Some(help));
    }
}

fn walk(tree: &AST, functions: &[Function], constants: &[String], findings: &mut Findings) {
    tree.walk(&mut |path: &[ASTNode]| {
        let Some(node) = path.last() else { return true };
        if let Some((call, at)) = call(node)
            && !call.is_operator_call()
        {
            called(call, at, functions, findings);
        }
        match node {
            ASTNode::Expr(expr @ (Expr::Dot(..) | Expr::Index(..))) if !continues_a_chain(path) => {
                methods(expr, functions, findings);
            }
            ASTNode::Expr(expr @ Expr::Variable(variable, ..)) if !variable.2.is_empty() => {
                let (space, name) = (variable.2.to_string(), variable.1.as_str());
                if space.trim_end_matches("::") != "global" || !constants.iter().any(|known| known == name) {
                    let help = suggest(name, constants.iter().map(String::as_str))
                        .or_else(|| Some(format!("write `const {name} = …;` at the top of the file")));
                    findings.error(expr.start_position(), format!("unknown constant `{name}`"), help);
                }
            }
            ASTNode::Stmt(Stmt::Import(_, at)) => {
                let help = MAPPINGS.instead_of_import.to_owned();
                findings.error(*at, "`import` does not exist in plugins", Some(help));
            }
            _ => {}
        }
        true
    });
}

/// A call by name.
fn called(call: &FnCallExpr, at: Position, functions: &[Function], findings: &mut Findings) {
    let (name, n_args) = (call.name.as_str(), call.args.len());
    if call.is_qualified() {
        let space = call.namespace.to_string();
        let space = space.trim_end_matches("::");
        let help = MAPPINGS.instead_of_import.to_owned();
        return findings.error(at, format!("unknown function `{space}::{name}`"), Some(help));
    }
    if let Some(own) = functions.iter().find(|f| f.name == name) {
        if !functions.iter().any(|f| f.name == name && f.params.len() == n_args) {
            let help = format!("`{name}({})`", own.params.join(", "));
            findings.error(at, format!("`{name}` is not called like this"), Some(help));
        }
        return;
    }
    let words = || VERBS.iter().chain(&FUNCTIONS);
    if let Some((_, fewest, most)) = words().find(|word| word.0 == name) {
        if !(*fewest..=*most).contains(&n_args) {
            let wanted = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
            findings.error(at, format!("`{name}` takes {wanted} arguments, not {n_args}"), None);
        }
        if name == "track"
            && let Some(Expr::StringConstant(event, at)) = call.args.first()
        {
            event_name(event, *at, findings);
        }
        return;
    }
    if library().iter().any(|known| known == name) || INTERNAL.contains(&name) {
        return;
    }
    let own = functions.iter().filter(|f| !f.is_anonymous()).map(|f| f.name.as_str());
    let all = words().map(|word| word.0).chain(own).chain(library().iter().map(String::as_str));
    let help = did_you_mean(name, all).map(|near| format!("did you mean `{near}`?"));
    let verbs: Vec<&str> = VERBS.iter().map(|verb| verb.0).collect();
    let help = help.or_else(|| Some(format!("a plugin can say {}", verbs.join(", "))));
    findings.error(at, format!("unknown function `{name}`"), help);
}

/// Any name may be used; a slip of a standard one is worth a word.
fn event_name(event: &str, at: Position, findings: &mut Findings) {
    let all = || names::ALL.iter().chain(names::COMMON).copied();
    if all().any(|known| known == event) {
        return;
    }
    let Some(near) = did_you_mean(event, all()) else { return };
    let help = Some(format!("did you mean `{near}`?"));
    if names::ALL.iter().any(|known| known.eq_ignore_ascii_case(event)) {
        findings.error(at, format!("`{event}` is not the event that is built in"), help);
    } else {
        findings.warning(at, format!("no standard event is called `{event}`"), help);
    }
}

/// The methods of a chain: functions of the sandbox, or of the file.
fn methods(expr: &Expr, functions: &[Function], findings: &mut Findings) {
    let Some((_, links)) = chain(expr) else { return };
    for link in links {
        let Step::Method(call) = link.step else { continue };
        let name = call.name.as_str();
        let is_own = functions.iter().any(|f| f.name == name && f.params.len() == call.args.len());
        if is_own || library().iter().any(|known| known == name) || INTERNAL.contains(&name) {
            continue;
        }
        let help = if VERBS.iter().any(|verb| verb.0 == name) {
            Some(format!("write {name}(…): it always is about this record"))
        } else {
            did_you_mean(name, library().iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
        };
        findings.error(link.at, format!("unknown method `{name}`"), help);
    }
}
