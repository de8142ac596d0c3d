//! A checked file, ready to be called. Its functions live in a module of their own behind one small wrapper, which keeps
//! `global::NAME` working in them (a plain call of a function in a tree loses it) and costs a microsecond.

use std::sync::Arc;

use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Module, Position, Scope, Stmt};

use super::host::customer::Customer;
use super::host::event::Event;
use super::host::run::Run;
use crate::script::{Failure, with_budget};

/// Under this name the wrapper finds the file's functions. No name in a rule can reach it: `check` refuses all modules but
/// `common`.
const SPACE: &str = "file";

/// One file's functions.
#[derive(Debug)]
pub(super) struct Program {
    engine: Engine,
    wrapper: AST,
    file: String,
}

/// The functions and constants of `tree` as a module.
pub(super) fn module(engine: &Engine, tree: &AST, file: &str) -> Result<Module, Failure> {
    let is_card = |statement: &&Stmt| matches!(statement, Stmt::Var(var, ..) if var.0.name == "RULE");
    let statements: Vec<Stmt> = tree.statements().iter().filter(|s| !is_card(s)).cloned().collect();
    let tree = AST::new_with_source(statements, Arc::clone(tree.shared_lib()), file);
    with_budget(|| Module::eval_ast_as_new(Scope::new(), &tree, engine)).map_err(|error| Failure::of(&error, file))
}

impl Program {
    /// Makes `entries` (name, number of parameters) of `tree` callable.
    pub(super) fn new(mut engine: Engine, tree: &AST, file: &str, entries: &[(&str, usize)]) -> Result<Self, Failure> {
        let module = module(&engine, tree, file)?;
        engine.register_static_module(SPACE, Arc::new(module));
        let wrap = |(name, arity): &(&str, usize)| {
            let params = ["customer", "event"][..(*arity).min(2)].join(", ");
            format!("fn {name}({params}) {{ {SPACE}::{name}({params}) }}\n")
        };
        let wrapper = engine.compile(entries.iter().map(wrap).collect::<String>()).map_err(|error| {
            let error = EvalAltResult::ErrorParsing(*error.0, Position::NONE);
            Failure::of(&error, file)
        })?;
        Ok(Program { engine, wrapper, file: file.to_owned() })
    }

    /// Calls `entry` over the subject of `run`.
    pub(super) fn call(&self, entry: &str, run: &Arc<Run>, takes_event: bool) -> Result<Dynamic, Failure> {
        let customer = Customer(Arc::clone(run));
        // The tag is how a verb, which has no customer among its arguments, finds its run.
        let options = CallFnOptions::new().eval_ast(false).with_tag(customer.clone());
        let mut scope = Scope::new();
        let answer = with_budget(|| {
            if takes_event {
                let event = Event(Arc::clone(run));
                self.engine.call_fn_with_options(options, &mut scope, &self.wrapper, entry, (customer, event))
            } else {
                self.engine.call_fn_with_options(options, &mut scope, &self.wrapper, entry, (customer,))
            }
        });
        answer.map_err(|error| Failure::of(&error, &self.file))
    }

    /// Calls a condition, which must answer yes or no.
    pub(super) fn ask(&self, entry: &str, run: &Arc<Run>, takes_event: bool) -> Result<bool, Failure> {
        let answer = self.call(entry, run, takes_event)?;
        answer.as_bool().map_err(|kind| {
            let kind = if kind == "()" { "a missing value" } else { kind };
            let message = format!("`{entry}` must answer true or false, not {kind}");
            Failure { file: self.file.clone(), line: None, column: None, message }
        })
    }
}
