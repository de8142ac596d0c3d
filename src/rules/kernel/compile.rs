//! From Rhai's tree to ours. Functions are put where they are called, constants where they are read; what is not known
//! here is nobody's mistake and left to Rhai.

use rhai::{AST, ASTFlags, Expr, FnCallExpr, Stmt};

use super::node::Node;
use super::operator::{Comparison, Sum};
use crate::domain::clock::{DAY, HOUR};
use crate::rules::host::answer::{Answer, OWNED};
use crate::rules::host::run::Phase;
use crate::rules::host::span::Span;
use crate::script::tree::{Body, Step, bodies, chain, text, variable};

/// Functions may call each other so deep.
const MAX_DEPTH: usize = 8;

/// More steps are not compiled: a function is put wherever it is called, so eight lines of calls can be billions. So few,
/// Rhai takes with its budget as well.
const MAX_STEPS: usize = 2_000;

/// What a name stands for.
#[derive(Clone, Copy)]
enum Meaning {
    Customer,
    Event,
    Local(usize),
}

/// The names of one function, innermost last.
#[derive(Default)]
struct Names(Vec<(String, Meaning)>);

impl Names {
    fn find(&self, name: &str) -> Option<Meaning> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, meaning)| *meaning)
    }
}

/// A file's functions and constants.
struct File {
    functions: Vec<Body>,
    constants: Vec<Stmt>,
}

impl File {
    fn of(tree: &AST) -> Self {
        File { functions: bodies(tree), constants: tree.statements().to_vec() }
    }

    fn function(&self, name: &str, n_params: usize) -> Option<&Body> {
        self.functions.iter().find(|f| f.name == name && f.params.len() == n_params)
    }

    /// The value of `const NAME`; stated twice, the later one hides the other.
    fn constant(&self, name: &str) -> Option<&Expr> {
        self.constants.iter().rev().find_map(|statement| match statement {
            Stmt::Var(var, flags, _) if var.0.name == name && flags.contains(ASTFlags::CONSTANT) => Some(&var.1),
            _ => None,
        })
    }
}

/// The functions of one file, and the helpers that they may call.
pub(in crate::rules) struct Sources {
    file: File,
    common: Option<File>,
    phase: Phase,
}

impl Sources {
    /// Of a file whose conditions are run in `phase`.
    pub(in crate::rules) fn new(tree: &AST, common: Option<&AST>, phase: Phase) -> Self {
        Sources { file: File::of(tree), common: common.map(File::of), phase }
    }
}

pub(super) struct Compiler<'t> {
    sources: &'t Sources,
    /// Whose functions and constants are meant where none is named.
    home: &'t File,
    /// How many values have a name where we are.
    n_named: usize,
    depth: usize,
    n_steps: usize,
}

impl<'t> Compiler<'t> {
    pub(super) fn new(sources: &'t Sources) -> Self {
        Compiler { sources, home: &sources.file, n_named: 0, depth: 0, n_steps: 0 }
    }

    /// The function that takes the customer and, where it wants it, the event.
    pub(super) fn entry(mut self, name: &str) -> Option<Node> {
        let function = (1..=2).find_map(|n| self.home.function(name, n))?;
        let names = function.params.iter().cloned().zip([Meaning::Customer, Meaning::Event]);
        self.block(&function.statements, &mut Names(names.collect()))
    }

    /// `let`s and the value at the end.
    fn block(&mut self, statements: &[Stmt], names: &mut Names) -> Option<Node> {
        let outside = (names.0.len(), self.n_named);
        let node = self.statements(statements, names);
        names.0.truncate(outside.0);
        self.n_named = outside.1;
        node
    }

    fn statements(&mut self, statements: &[Stmt], names: &mut Names) -> Option<Node> {
        let (first, rest) = statements.split_first()?;
        if let Stmt::Var(var, ..) = first {
            let value = self.expr(&var.1, names)?;
            names.0.push((var.0.name.to_string(), self.name_next()));
            let under = self.statements(rest, names)?;
            return Some(Node::Let(Box::new([value, under])));
        }
        if !rest.is_empty() {
            return None;
        }
        match first {
            Stmt::Expr(expr) => self.expr(expr, names),
            Stmt::FnCall(call, _) => self.call(call, names),
            Stmt::If(flow, _) => {
                let condition = self.expr(&flow.expr, names)?;
                let then = self.block(flow.body.statements(), names)?;
                let otherwise = match flow.branch.statements() {
                    [] => Node::Constant(Answer::Missing),
                    branch => self.block(branch, names)?,
                };
                Some(Node::Choose(Box::new([condition, then, otherwise])))
            }
            Stmt::Block(block) => self.block(block.statements(), names),
            _ => None,
        }
    }

    fn name_next(&mut self) -> Meaning {
        self.n_named += 1;
        Meaning::Local(self.n_named - 1)
    }

    fn expr(&mut self, expr: &Expr, names: &mut Names) -> Option<Node> {
        self.n_steps += 1;
        if self.n_steps > MAX_STEPS {
            return None;
        }
        if let Some(constant) = constant(expr) {
            return Some(Node::Constant(constant));
        }
        match expr {
            Expr::Variable(..) => match variable(expr) {
                Some(name) => match names.find(name)? {
                    Meaning::Local(n) => Some(Node::Local(n)),
                    Meaning::Customer | Meaning::Event => None,
                },
                None => self.global(expr),
            },
            Expr::And(parts, _) => Some(Node::All(self.each(parts, names)?)),
            Expr::Or(parts, _) => Some(Node::Any(self.each(parts, names)?)),
            Expr::Coalesce(parts, _) => Some(Node::FirstKnown(self.each(parts, names)?)),
            Expr::FnCall(call, _) => self.call(call, names),
            Expr::Dot(..) | Expr::Index(..) => ask(expr, names, self.sources.phase),
            Expr::Stmt(block) => self.block(block.statements(), names),
            _ => None,
        }
    }

    fn each(&mut self, parts: &[Expr], names: &mut Names) -> Option<Vec<Node>> {
        parts.iter().map(|part| self.expr(part, names)).collect()
    }

    /// `global::NAME`
    fn global(&mut self, expr: &Expr) -> Option<Node> {
        let Expr::Variable(named, ..) = expr else { return None };
        let [space] = named.2.path.as_slice() else { return None };
        let value = if space.name == "global" { self.home.constant(&named.1)? } else { return None };
        self.expr(value, &mut Names::default())
    }

    /// An operator, or a function of this file or of `common`.
    fn call(&mut self, call: &FnCallExpr, names: &mut Names) -> Option<Node> {
        match (&call.op_token, &call.args[..]) {
            (Some(token), [left, right]) => {
                let sides = Box::new([self.expr(left, names)?, self.expr(right, names)?]);
                return match (Comparison::of(token), Sum::of(token)) {
                    (Some(by), _) => Some(Node::Compare(by, sides)),
                    (_, Some(by)) => Some(Node::Compute(by, sides)),
                    _ => None,
                };
            }
            (Some(_), [one]) if call.name == "!" => return Some(Node::Not(Box::new(self.expr(one, names)?))),
            (Some(_), [one]) if call.name == "-" => return Some(Node::Minus(Box::new(self.expr(one, names)?))),
            (Some(_), _) => return None,
            (None, _) => {}
        }
        if call.namespace.path.is_empty() && call.name == "contains" && self.home.function("contains", 2).is_none() {
            // `x in [a, b]`
            let [Expr::Array(list, _), one] = &call.args[..] else { return None };
            return Some(Node::OneOf(Box::new(self.expr(one, names)?), self.each(list, names)?));
        }
        self.script_call(call, names)
    }

    fn script_call(&mut self, call: &FnCallExpr, names: &mut Names) -> Option<Node> {
        let home = match call.namespace.path.as_slice() {
            [] => self.home,
            [space] if space.name == "common" => self.sources.common.as_ref()?,
            _ => return None,
        };
        let function = home.function(&call.name, call.args.len())?;
        if call.capture_parent_scope || self.depth == MAX_DEPTH {
            return None;
        }
        // Arguments are values of where the call stands, and come before everything that the function names itself.
        let (mut params, mut values) = (Names::default(), Vec::new());
        let n_named = self.n_named;
        for (param, argument) in function.params.iter().zip(&call.args) {
            let handle = variable(argument).and_then(|name| names.find(name));
            let meaning = if let Some(handle @ (Meaning::Customer | Meaning::Event)) = handle {
                handle
            } else {
                values.push(self.expr(argument, names)?);
                self.name_next()
            };
            params.0.push((param.clone(), meaning));
        }
        let outer = std::mem::replace(&mut self.home, home);
        self.depth += 1;
        let body = self.block(&function.statements, &mut params);
        self.depth -= 1;
        self.home = outer;
        self.n_named = n_named;
        let with = |under, value| Node::Let(Box::new([value, under]));
        Some(values.into_iter().rev().fold(body?, with))
    }
}

fn constant(expr: &Expr) -> Option<Answer<'static>> {
    Some(match expr {
        Expr::BoolConstant(flag, _) => Answer::Flag(*flag),
        Expr::IntegerConstant(whole, _) => Answer::Whole(*whole),
        Expr::FloatConstant(number, _) => Answer::Number(**number),
        Expr::StringConstant(text, _) => Answer::Text(text.to_string().into()),
        Expr::Unit(_) => Answer::Missing,
        _ => return None,
    })
}

/// What is asked of the customer or of the event.
fn ask(expr: &Expr, names: &Names, phase: Phase) -> Option<Node> {
    let (root, links) = chain(expr)?;
    let steps: Vec<&Step<'_>> = links.iter().map(|link| &link.step).collect();
    match (names.find(variable(root)?)?, &steps[..]) {
        (Meaning::Customer, [Step::Property(name)]) => Some(match OWNED.iter().find(|owned| owned.name == *name) {
            Some(owned) => Node::Owned(owned),
            None => Node::Trait((*name).to_owned()),
        }),
        (Meaning::Customer, [Step::Method(call)]) => question(call, phase),
        (Meaning::Event, [Step::Property("name")]) => Some(Node::EventName),
        (Meaning::Event, [Step::Property("properties"), Step::Property(name)]) => {
            Some(Node::EventProperty((*name).to_owned()))
        }
        _ => None,
    }
}

fn question(call: &FnCallExpr, phase: Phase) -> Option<Node> {
    let about = text(call.args.first()?)?.to_owned();
    match (call.name.as_str(), &call.args[1..]) {
        ("days_since", []) => Some(Node::Since { event: about, unit: DAY }),
        ("hours_since", []) => Some(Node::Since { event: about, unit: HOUR }),
        ("has_done", []) => Some(Node::HasDone(about)),
        // Of a segment, Rhai says why not.
        ("in_segment", []) if phase != Phase::Segment => Some(Node::InSegment(about)),
        ("count", rest) => Some(Node::Count { event: about, window_days: window(rest)? }),
        ("sum", rest) => Some(Node::Sum { event: about, window_days: window(rest)? }),
        _ => None,
    }
}

/// `days(30)` or nothing.
#[expect(clippy::option_option, reason = "whether it is known, and whether there is one")]
fn window(rest: &[Expr]) -> Option<Option<i32>> {
    match rest {
        [] => Some(None),
        [Expr::FnCall(call, _)] if call.namespace.path.is_empty() => {
            let [Expr::IntegerConstant(n, _)] = &call.args[..] else { return None };
            let span = ["days", "hours", "minutes"].contains(&call.name.as_str()).then(|| Span::new(&call.name, *n))?;
            Some(Some(span.ok()?.whole_days()?))
        }
        _ => None,
    }
}
