//! Missing values. `()` is false in every comparison but `!=`, and an error nearly everywhere else, so whatever may be
//! missing needs `??` before it is computed with. Which expressions may be missing is read from the tree.

use std::collections::BTreeSet;

use rhai::{ASTNode, Expr, Stmt};

use super::super::findings::Findings;
use super::super::host::answer::OWNED;
use super::super::host::customer::METHODS;
use super::tree::{Step, call, chain, variable};

/// Which local variables may hold a missing value where the walk stands.
#[derive(Default)]
pub(super) struct Missing {
    names: BTreeSet<String>,
}

impl Missing {
    /// Follows `let x = customer.plan` and `x = …`. Branches are read as if all were taken in turn.
    fn follow(&mut self, name: &str, value: &Expr) {
        if self.source(value).is_some() {
            self.names.insert(name.to_owned());
        } else {
            self.names.remove(name);
        }
    }

    /// The text of `expr` where it may be missing.
    fn source(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Dot(..) | Expr::Index(..) => self.chain_source(expr),
            Expr::Variable(..) => variable(expr).filter(|name| self.names.contains(*name)).map(str::to_owned),
            Expr::Coalesce(parts, _) => self.source(parts.last()?),
            Expr::Stmt(block) => match block.statements().last()? {
                Stmt::Expr(last) => self.source(last),
                _ => None,
            },
            _ => None,
        }
    }

    fn chain_source(&self, expr: &Expr) -> Option<String> {
        let (root, links) = chain(expr)?;
        let mut text = written(root);
        let mut missing = self.source(root).is_some();
        for (n, link) in links.iter().enumerate() {
            missing = Self::step_may_be_missing(root, n, &link.step) || (link.is_guarded && missing);
            text.push_str(&written_step(&link.step, link.is_guarded));
        }
        missing.then_some(text)
    }

    /// Whether the value after the `n`th step can be `()` although the one before it was there.
    fn step_may_be_missing(root: &Expr, n: usize, step: &Step<'_>) -> bool {
        let root = variable(root);
        match (root, n, step) {
            (Some("customer"), 0, Step::Property(name)) => {
                OWNED.iter().find(|owned| owned.name == *name).is_none_or(|owned| owned.may_be_missing)
            }
            (Some("customer"), 0, Step::Method(call)) => METHODS.iter().any(|m| m.0 == call.name && m.3),
            (Some("event"), 0, Step::Property(_)) => false,
            // What lies inside a trait or a property was sent by somebody: it may be there or not.
            (Some("customer" | "event"), _, Step::Property(_)) => true,
            _ => false,
        }
    }

    /// Looks at one node; `path` ends with it.
    pub(super) fn visit(&mut self, path: &[ASTNode<'_>], is_chain_start: bool, findings: &mut Findings) {
        let Some(node) = path.last() else { return };
        if let Some((call, _)) = call(node) {
            self.call(call, findings);
        }
        match node {
            ASTNode::Stmt(Stmt::Var(var, ..)) => self.follow(&var.0.name, &var.1),
            ASTNode::Stmt(Stmt::Assignment(assignment)) => {
                let (operator, sides) = &**assignment;
                if operator.is_op_assignment() {
                    self.refuse(&sides.rhs, "used in a calculation", findings);
                    self.refuse(&sides.lhs, "used in a calculation", findings);
                } else if let Some(name) = variable(&sides.lhs) {
                    self.follow(name, &sides.rhs);
                }
            }
            ASTNode::Stmt(Stmt::If(control, _) | Stmt::While(control, _) | Stmt::Do(control, ..)) => {
                self.refuse(&control.expr, "used as a condition", findings);
            }
            ASTNode::Expr(Expr::And(parts, _) | Expr::Or(parts, _)) => {
                for part in parts.iter() {
                    self.refuse(part, "used as a condition", findings);
                }
            }
            ASTNode::Expr(Expr::InterpolatedString(parts, _)) => {
                for part in parts {
                    self.refuse(part, "put into a text", findings);
                }
            }
            ASTNode::Expr(expr) if is_chain_start => self.steps(expr, findings),
            _ => {}
        }
    }

    /// What a condition gives back must be there.
    pub(super) fn visit_answer(&self, answer: &Expr, findings: &mut Findings) {
        self.refuse(answer, "used as the answer", findings);
    }

    /// The value of a template's variable.
    pub(super) fn visit_variable(&self, value: &Expr, findings: &mut Findings) {
        if let Some(source) = self.source(value) {
            let help = format!("a template prints nothing for it; give a default: {source} ?? …");
            findings.warning(value.start_position(), format!("`{source}` may be missing"), Some(help));
        }
    }

    fn call(&self, call: &rhai::FnCallExpr, findings: &mut Findings) {
        let is_unit = |expr: &Expr| matches!(expr, Expr::Unit(_));
        let qualified = call.is_qualified();
        match (call.name.as_str(), call.args.as_slice()) {
            ("!=", [a, b]) if !is_unit(a) && !is_unit(b) => {
                for side in [a, b] {
                    self.refuse(side, "compared with `!=`, which is true of a missing value", findings);
                }
            }
            ("==" | "!=" | "<" | "<=" | ">" | ">=", _) => {}
            // `x in list` arrives as `contains(list, x)`.
            ("contains", [list, _]) => self.refuse(list, "searched with `in`", findings),
            ("!", [value]) => self.refuse(value, "negated", findings),
            ("+" | "-" | "*" | "/" | "%" | "**" | "..", args) if call.is_operator_call() => {
                for value in args {
                    self.refuse(value, "used in a calculation", findings);
                }
            }
            // A library function works on what is there; our own helpers may well expect `()`.
            (name, args) if !qualified && crate::script::library().iter().any(|known| known == name) => {
                for value in args {
                    self.refuse(value, &format!("handed to `{name}`"), findings);
                }
            }
            _ => {}
        }
    }

    /// Steps on after something missing: `customer.first_name.to_upper()`.
    fn steps(&self, expr: &Expr, findings: &mut Findings) {
        let Some((root, links)) = chain(expr) else { return };
        let mut text = written(root);
        let mut missing = self.source(root).is_some();
        for (n, link) in links.iter().enumerate() {
            if missing && !link.is_guarded {
                let help = format!("give a default, ({text} ?? …), or step on with `?.`");
                findings.error(link.at, format!("`{text}` may be missing, and is used further"), Some(help));
                return;
            }
            missing = Self::step_may_be_missing(root, n, &link.step) || (link.is_guarded && missing);
            text.push_str(&written_step(&link.step, link.is_guarded));
        }
    }

    fn refuse(&self, expr: &Expr, how: &str, findings: &mut Findings) {
        if let Some(source) = self.source(expr) {
            let at = match expr {
                Expr::Stmt(block) => block.statements().last().map_or(expr.position(), Stmt::position),
                _ => expr.start_position(),
            };
            let help = format!("give a default: ({source} ?? …)");
            findings.error(at, format!("`{source}` may be missing, and is {how}"), Some(help));
        }
    }
}

fn written(expr: &Expr) -> String {
    match expr {
        Expr::Variable(..) => variable(expr).unwrap_or("…").to_owned(),
        Expr::StringConstant(text, _) => format!("{text:?}"),
        Expr::IntegerConstant(n, _) => n.to_string(),
        Expr::FnCall(call, _) => written_call(&call.name, &call.args),
        Expr::Dot(..) | Expr::Index(..) => chain(expr).map_or_else(
            || "…".to_owned(),
            |(root, links)| {
                let steps = links.iter().map(|link| written_step(&link.step, link.is_guarded));
                format!("{}{}", written(root), steps.collect::<String>())
            },
        ),
        _ => "…".to_owned(),
    }
}

fn written_step(step: &Step<'_>, is_guarded: bool) -> String {
    let guard = if is_guarded { "?" } else { "" };
    match step {
        Step::Property(name) if rhai::is_valid_identifier(name) => format!("{guard}.{name}"),
        Step::Property(name) => format!("{guard}[{name:?}]"),
        Step::Method(call) => format!("{guard}.{}", written_call(&call.name, &call.args)),
        Step::Index(key) => format!("{guard}[{}]", written(key)),
    }
}

fn written_call(name: &str, args: &[Expr]) -> String {
    let args: Vec<String> = args.iter().map(written).collect();
    format!("{name}({})", args.join(", "))
}
