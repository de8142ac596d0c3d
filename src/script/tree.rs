//! Rhai's syntax tree in the shapes that checking needs: functions with their bodies, and chains such as
//! `customer.address?.city` as a list of links. All contact with the tree's odd corners is here.

use rhai::{AST, ASTFlags, ASTNode, Expr, FnAccess, FnCallExpr, Position, Stmt};

/// One function of a file.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) params: Vec<String>,
    pub(crate) is_private: bool,
    /// Of its name.
    pub(crate) at: Position,
    /// Of its body.
    span: (Position, Position),
    /// Only this function's statements can be reached from this tree.
    pub(crate) tree: AST,
}

impl Function {
    /// A closure: part of the function that it is written in.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name.starts_with("anon$")
    }

    fn contains(&self, at: Position) -> bool {
        self.span.0 <= at && at <= self.span.1
    }
}

/// The functions of `tree`, in the order of the file.
pub(crate) fn functions(tree: &AST, text: &str) -> Vec<Function> {
    let one = |def: &rhai::Shared<rhai::ScriptFuncDef>| {
        let mut only = tree.clone();
        only.clear_statements();
        only.retain_functions(|_, _, name, arity| name == def.name && arity == def.params.len());
        let body_at = def.body.start_position();
        Function {
            name: def.name.to_string(),
            params: def.params.iter().map(ToString::to_string).collect(),
            is_private: def.access == FnAccess::Private,
            at: name_position(text, &def.name, body_at),
            span: (body_at, def.body.end_position()),
            tree: only,
        }
    };
    let mut functions: Vec<Function> = tree.iter_fn_def().map(one).collect();
    functions.sort_by_key(|f| f.span.0);
    functions
}

/// A function taken out of its tree.
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) params: Vec<String>,
    pub(crate) statements: Vec<Stmt>,
}

/// All functions with their statements. Rhai shows a body only to who walks through it.
pub(crate) fn bodies(tree: &AST) -> Vec<Body> {
    let one = |function: Function| {
        let mut statements = Vec::new();
        function.tree.walk(&mut |path| {
            if let [ASTNode::Stmt(statement)] = path {
                statements.push((*statement).clone());
            }
            true
        });
        Body { name: function.name, params: function.params, statements }
    };
    functions(tree, "").into_iter().map(one).collect()
}

/// The function that a closure is written in; the function itself for any other.
pub(crate) fn home<'a>(functions: &'a [Function], function: &'a Function) -> &'a Function {
    if !function.is_anonymous() {
        return function;
    }
    functions.iter().find(|f| !f.is_anonymous() && f.contains(function.span.0)).unwrap_or(function)
}

/// Rhai keeps no position of a function's name: it is the last one written before the body.
fn name_position(text: &str, name: &str, body: Position) -> Position {
    let last_line = body.line().unwrap_or(1);
    let lines: Vec<&str> = text.lines().take(last_line).collect();
    for (n, line) in lines.iter().enumerate().rev() {
        let Some(at) = line.find("fn ") else { continue };
        let after = &line[at + 3..];
        let spaces = after.len() - after.trim_start().len();
        if after.trim_start().starts_with(name) {
            let column = line[..at + 3 + spaces].chars().count() + 1;
            let small = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
            return Position::new(small(n + 1), small(column));
        }
    }
    body
}

/// One step of a chain, with whether it was taken with `?.` or `?[`.
pub(crate) enum Step<'a> {
    Property(&'a str),
    Method(&'a FnCallExpr),
    Index(&'a Expr),
}

pub(crate) struct Link<'a> {
    pub(crate) step: Step<'a>,
    pub(crate) at: Position,
    pub(crate) is_guarded: bool,
}

/// `root.a.b(c)[d]` → the root and its links; `None` for anything else.
pub(crate) fn chain(expr: &Expr) -> Option<(&Expr, Vec<Link<'_>>)> {
    let (Expr::Dot(pair, flags, _) | Expr::Index(pair, flags, _)) = expr else { return None };
    let mut links = Vec::new();
    let mut by_index = matches!(expr, Expr::Index(..));
    let mut flags = *flags;
    let mut rest = &pair.rhs;
    loop {
        let is_guarded = flags.contains(ASTFlags::NEGATED);
        let ends = flags.contains(ASTFlags::BREAK);
        match rest {
            Expr::Dot(next, next_flags, _) | Expr::Index(next, next_flags, _) if !ends => {
                links.push(link(&next.lhs, by_index, is_guarded));
                by_index = matches!(rest, Expr::Index(..));
                flags = *next_flags;
                rest = &next.rhs;
            }
            last => {
                links.push(link(last, by_index, is_guarded));
                return Some((&pair.lhs, links));
            }
        }
    }
}

fn link(expr: &Expr, by_index: bool, is_guarded: bool) -> Link<'_> {
    let step = match expr {
        Expr::Property(property, _) if !by_index => Step::Property(property.2.as_str()),
        Expr::MethodCall(call, _) if !by_index => Step::Method(call),
        // `customer["plan"]` reads the same as `customer.plan`.
        Expr::StringConstant(name, _) if by_index => Step::Property(name.as_str()),
        other => Step::Index(other),
    };
    Link { step, at: expr.position(), is_guarded }
}

/// Whether the last node of `path` continues the chain that the node before it is part of.
pub(crate) fn continues_a_chain(path: &[ASTNode<'_>]) -> bool {
    let [.., ASTNode::Expr(parent), ASTNode::Expr(node)] = path else { return false };
    match parent {
        Expr::Dot(pair, ..) => std::ptr::eq(&raw const pair.rhs, std::ptr::from_ref(*node)),
        Expr::Index(pair, flags, _) => {
            !flags.contains(ASTFlags::BREAK) && std::ptr::eq(&raw const pair.rhs, std::ptr::from_ref(*node))
        }
        _ => false,
    }
}

/// A function or operator call, as a statement or inside an expression.
pub(crate) fn call<'a>(node: &ASTNode<'a>) -> Option<(&'a FnCallExpr, Position)> {
    match node {
        ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at)) => Some((call, *at)),
        _ => None,
    }
}

/// The text of a text constant.
pub(crate) fn text(expr: &Expr) -> Option<&str> {
    if let Expr::StringConstant(text, _) = expr { Some(text.as_str()) } else { None }
}

/// The name of a plain variable.
pub(crate) fn variable(expr: &Expr) -> Option<&str> {
    if let Expr::Variable(variable, ..) = expr
        && variable.2.is_empty()
    {
        return Some(variable.1.as_str());
    }
    None
}
