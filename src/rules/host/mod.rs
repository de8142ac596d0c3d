//! What a rule may see and say: the customer, the event, spans of time, and the verbs that record actions. One file each;
//! `check` reads the same tables that the engine is built from, so it cannot promise what running would refuse.

pub(super) mod answer;
pub(super) mod customer;
pub(super) mod event;
pub(super) mod run;
pub(super) mod span;
pub(super) mod verbs;

use std::sync::Arc;

use rhai::{Engine, Module};

/// A sandbox with everything that a rule or a segment can call, and the company's own `common::` helpers.
pub(super) fn engine(common: Option<&Arc<Module>>) -> Engine {
    let mut engine = crate::script::sandbox();
    customer::register(&mut engine);
    event::register(&mut engine);
    span::register(&mut engine);
    verbs::register(&mut engine);
    // Also without a file: `common::f` is then an unknown function, said by `check` in our words.
    engine.register_static_module("common", common.map_or_else(|| Arc::new(Module::new()), Arc::clone));
    engine
}
