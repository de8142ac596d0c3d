//! Walking through the functions of a file, with everything that is looked for on the way.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::super::findings::{Findings, suggest};
use super::super::{Known, host};
use super::missing::Missing;
use super::tree::{Function, call, chain, continues_a_chain, home, variable};
use super::{Kind, calls};

/// What the walk knows of the file and of the world around it.
pub(super) struct Context<'a> {
    pub(super) kind: Kind,
    pub(super) known: &'a Known<'a>,
    pub(super) functions: &'a [Function],
    pub(super) constants: &'a [String],
}

/// Which function calls which, and where verbs stand: a verb must not be reachable from a condition.
#[derive(Default)]
pub(super) struct Reach {
    pub(super) calls: BTreeMap<String, BTreeSet<String>>,
    pub(super) verbs: Vec<(String, String, Position)>,
}

pub(super) fn check(context: &Context<'_>, tree: &AST, findings: &mut Findings) {
    let mut reach = Reach::default();
    // The card is data and has been read as such; what the other constants call is looked at like any code.
    let constants = tree.statements().iter().filter(|statement| is_constant(statement)).cloned();
    let constants = AST::new(constants.collect::<Vec<_>>(), rhai::Module::new());
    walk(context, "", &constants, &mut reach, findings);
    for function in context.functions {
        let name = home(context.functions, function).name.clone();
        let last = walk(context, &name, &function.tree, &mut reach, findings);
        if function.name == "when" && last == Some(false) {
            let help = "remove the file if the rule is not wanted".to_owned();
            findings.warning(function.at, "`when` always says no, so this rule never fires", Some(help));
        }
    }
    verbs_out_of_place(context, &reach, findings);
    unused(context, &reach, findings);
}

fn is_constant(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Var(var, ..) if var.0.name != "RULE")
}

/// Walks one function. Gives back what it always answers, where that is a plain `true` or `false`.
fn walk(context: &Context<'_>, function: &str, tree: &AST, reach: &mut Reach, findings: &mut Findings) -> Option<bool> {
    let mut missing = Missing::default();
    let is_condition = match context.kind {
        Kind::Rule { .. } => function == "when",
        Kind::Segments => context.functions.iter().any(|f| f.name == function && !f.is_private),
        Kind::Common => false,
    };
    let mut n_statements = 0;
    let mut returned = false;
    let mut answer = None;
    let mut last_answer: Option<Expr> = None;
    tree.walk(&mut |path: &[ASTNode]| {
        let Some(node) = path.last() else { return true };
        if let [ASTNode::Stmt(statement)] = path {
            n_statements += 1;
            if returned {
                let help = "remove it, or the `return` before it".to_owned();
                findings.warning(statement.position(), "this is never reached", Some(help));
                returned = false;
            }
            returned |= matches!(statement, Stmt::Return(..));
            last_answer = if let Stmt::Expr(expr) = statement { Some((**expr).clone()) } else { None };
            answer = match statement {
                Stmt::Expr(expr) => match &**expr {
                    Expr::BoolConstant(value, _) if n_statements == 1 => Some(*value),
                    _ => None,
                },
                _ => None,
            };
        }
        let is_chain_start = matches!(node, ASTNode::Expr(Expr::Dot(..) | Expr::Index(..))) && !continues_a_chain(path);
        missing.visit(path, is_chain_start, findings);
        if is_condition && let ASTNode::Stmt(Stmt::Return(Some(value), ..)) = node {
            missing.visit_answer(value, findings);
        }
        if let Some((call, at)) = call(node)
            && !call.is_operator_call()
        {
            calls::call(context, function, call, at, &missing, reach, findings);
        }
        match node {
            ASTNode::Expr(expr) if is_chain_start => calls::links(context, expr, reach, function, findings),
            ASTNode::Expr(Expr::Variable(..)) => constant(context, node, findings),
            ASTNode::Stmt(Stmt::Assignment(assignment)) => assigned(&assignment.1.lhs, findings),
            ASTNode::Stmt(Stmt::Import(_, at)) => {
                let help = "put shared helpers into rules/shared/common.rhai and call them as `common::name(…)`";
                findings.error(*at, "`import` does not exist in rules", Some(help.to_owned()));
            }
            _ => {}
        }
        true
    });
    if is_condition && let Some(last) = &last_answer {
        missing.visit_answer(last, findings);
    }
    answer
}

/// `global::NAME` of a constant that is not there.
fn constant(context: &Context<'_>, node: &ASTNode<'_>, findings: &mut Findings) {
    let ASTNode::Expr(expr @ Expr::Variable(variable, ..)) = node else { return };
    if variable.2.is_empty() {
        return;
    }
    let (space, name) = (variable.2.to_string(), variable.1.as_str());
    let space = space.trim_end_matches("::");
    if space != "global" {
        let help = "constants of this file are read as `global::NAME`; nothing else has any".to_owned();
        findings.error(expr.start_position(), format!("`{space}::{name}` does not exist"), Some(help));
    } else if !context.constants.iter().any(|known| known == name) {
        let help = suggest(name, context.constants.iter().map(String::as_str).filter(|name| *name != "RULE"))
            .or_else(|| Some(format!("write `const {name} = …;` at the top of the file")));
        findings.error(expr.start_position(), format!("unknown constant `{name}`"), help);
    }
}

fn assigned(target: &Expr, findings: &mut Findings) {
    let root = chain(target).map_or(target, |(root, _)| root);
    match variable(root) {
        Some("customer") => {
            let help = "in `then`, set_trait(\"name\", value) records a new value".to_owned();
            findings.error(target.start_position(), "the customer cannot be changed by assignment", Some(help));
        }
        Some("event") => {
            let help = "copy the value into a variable of its own: let x = …".to_owned();
            findings.error(target.start_position(), "an event cannot be changed", Some(help));
        }
        _ => {}
    }
}

fn verbs_out_of_place(context: &Context<'_>, reach: &Reach, findings: &mut Findings) {
    let roots: BTreeSet<&str> = match context.kind {
        Kind::Rule { .. } => BTreeSet::from(["when"]),
        Kind::Segments | Kind::Common => context.functions.iter().map(|f| f.name.as_str()).collect(),
    };
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&str> = roots.into_iter().collect();
    while let Some(function) = waiting.pop() {
        if asked.insert(function) {
            waiting.extend(reach.calls.get(function).into_iter().flatten().map(String::as_str));
        }
    }
    for (function, verb, at) in &reach.verbs {
        let is_known = context.functions.iter().any(|f| f.name == *function);
        if asked.contains(function.as_str()) || !is_known {
            let message = match context.kind {
                Kind::Rule { .. } if function == "when" => format!("`{verb}` acts, and `when` only asks"),
                Kind::Rule { .. } if is_known => format!("`{verb}` acts, and `when` calls `{function}`"),
                Kind::Rule { .. } => format!("`{verb}` acts, and stands outside of `then`"),
                Kind::Segments => format!("`{verb}` acts, and a segment only asks"),
                Kind::Common => format!("`{verb}` acts, and shared helpers only compute"),
            };
            findings.error(*at, message, Some("move it into a rule's `then`".to_owned()));
        }
    }
}

fn unused(context: &Context<'_>, reach: &Reach, findings: &mut Findings) {
    let called: BTreeSet<&String> = reach.calls.values().flatten().collect();
    for function in context.functions.iter().filter(|f| !f.is_anonymous()) {
        let is_entry = match context.kind {
            // A near miss of `when` has been reported as such.
            Kind::Rule { .. } => ["when", "then"]
                .iter()
                .any(|mind| crate::domain::diagnostic::did_you_mean(&function.name, [*mind]).is_some()),
            Kind::Segments => !function.is_private,
            Kind::Common => true,
        } || called.contains(&function.name);
        if is_word(&function.name) {
            // It would shadow what every other rule means by the name.
            let message = format!("`{}` is a word of the language", function.name);
            findings.error(function.at, message, Some("choose another name".to_owned()));
        } else if !is_entry {
            let help = "remove it, or call it".to_owned();
            findings.warning(function.at, format!("`{}` is never called", function.name), Some(help));
        }
    }
}

fn is_word(name: &str) -> bool {
    host::verbs::VERBS.iter().any(|verb| verb.0 == name) || host::span::UNITS.iter().any(|unit| unit.0 == name)
}
