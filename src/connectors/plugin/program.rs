//! A checked `map.rhai`, ready to be called. Its functions live in a module of their own behind one small wrapper, which
//! keeps `global::NAME` working in them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use rhai::{AST, CallFnOptions, Dynamic, Engine, Module, Scope};

use super::draft::{Outcome, Running};
use crate::connectors::row::Problem;
use crate::script::{Failure, with_budget};

/// Under this name the wrapper finds the script's functions.
const SPACE: &str = "file";

/// One script.
#[derive(Debug)]
pub(super) struct Program {
    engine: Engine,
    wrapper: AST,
    file: String,
}

impl Program {
    /// Makes the `map` of `tree`, which was checked, callable. The constants are computed here, once.
    pub(super) fn new(mut engine: Engine, tree: &AST, file: &str) -> Result<Self, Failure> {
        let tree = AST::new_with_source(tree.statements().to_vec(), Arc::clone(tree.shared_lib()), file);
        let module = with_budget(|| Module::eval_ast_as_new(Scope::new(), &tree, &engine));
        let module = module.map_err(|error| Failure::of(&error, file))?;
        engine.register_static_module(SPACE, Arc::new(module));
        let wrapper = engine.compile(format!("fn map(record) {{ {SPACE}::map(record) }}"));
        let wrapper = wrapper.expect("the wrapper is ours and well formed");
        Ok(Program { engine, wrapper, file: file.to_owned() })
    }

    /// Runs `map` over one record. `zone` is that of times which state none.
    pub(super) fn run(&self, record: Dynamic, zone: &TimeZone) -> Result<Outcome, Problem> {
        let running = Running::new(zone);
        // The tag is how a verb, which is handed nothing but words, finds the record that it speaks of.
        let options = CallFnOptions::new().eval_ast(false).with_tag(running.clone());
        let answer = with_budget(|| {
            self.engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), &self.wrapper, "map", (record,))
        });
        running.outcome(answer.err().map(|error| Failure::of(&error, &self.file)))
    }
}
