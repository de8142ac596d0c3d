//! The verbs of `then`: `email`, `webhook`, `task`, `set_trait`. They only record what is wanted; `pipeline::deliver`
//! carries it out, once.

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use super::answer::OWNED;
use super::customer::Customer;
use super::run::{Phase, raise};
use crate::domain::action::Action;
use crate::script::{to_json, to_json_map};

/// Name, fewest and most arguments.
pub(in crate::rules) const VERBS: [(&str, usize, usize); 4] =
    [("email", 1, 2), ("webhook", 1, 2), ("task", 1, 2), ("set_trait", 2, 2)];

type Answer = Result<(), Box<EvalAltResult>>;

/// Records what `action` makes of the run that `context` belongs to.
fn record(context: &NativeCallContext, action: impl FnOnce() -> Result<Action, String>) -> Answer {
    let verb = context.fn_name();
    // The run travels as the call's tag: a verb has no customer among its arguments.
    let run = context.tag().and_then(|tag| tag.read_lock::<Customer>().map(|customer| customer.0.clone()));
    let Some(run) = run.filter(|run| run.phase() == Phase::Then) else {
        return Err(raise(format!("`{verb}` acts, and only `then` may act")));
    };
    action().and_then(|action| run.record(action)).map_err(|error| raise(format!("`{verb}`: {error}")))
}

fn email(template: &str, vars: &rhai::Map) -> Result<Action, String> {
    Ok(Action::Email { template: template.to_owned(), vars: to_json_map(vars)? })
}

fn webhook(endpoint: &str, data: &rhai::Map) -> Result<Action, String> {
    Ok(Action::Webhook { endpoint: endpoint.to_owned(), data: to_json_map(data)? })
}

fn task(title: &str, details: &rhai::Map) -> Result<Action, String> {
    Ok(Action::Task { title: title.to_owned(), details: to_json_map(details)? })
}

fn set_trait(name: &str, value: &Dynamic) -> Result<Action, String> {
    if OWNED.iter().any(|owned| owned.name == name) {
        return Err(format!("`{name}` is derived and cannot be set; choose another name"));
    }
    Ok(Action::SetTrait { name: name.to_owned(), value: to_json(value)? })
}

pub(super) fn register(engine: &mut Engine) {
    type Verb = fn(&str, &rhai::Map) -> Result<Action, String>;
    let verbs: [(&str, Verb); 3] = [("email", email), ("webhook", webhook), ("task", task)];
    for (name, verb) in verbs {
        engine.register_fn(name, move |context: NativeCallContext, what: &str| -> Answer {
            record(&context, || verb(what, &rhai::Map::new()))
        });
        engine.register_fn(name, move |context: NativeCallContext, what: &str, with: rhai::Map| -> Answer {
            record(&context, || verb(what, &with))
        });
    }
    engine.register_fn("set_trait", |context: NativeCallContext, name: &str, value: Dynamic| -> Answer {
        record(&context, || set_trait(name, &value))
    });
}
