//! `event`: what woke an `on(...)` rule. `event.name`, `event.occurred_at` and the event's own `event.properties`.

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult};
use serde_json::json;

use super::answer;
use super::run::{Run, raise};
use crate::script::to_dynamic;

/// What can be read of an event.
pub(in crate::rules) const FIELDS: [&str; 3] = ["name", "occurred_at", "properties"];

/// The event in a script.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Event(pub(in crate::rules) Arc<Run>);

/// Its properties; a missing one is `()`.
#[derive(Clone, Debug)]
struct Properties(Arc<Run>);

impl Event {
    fn get(&self, field: &str) -> Result<Dynamic, Box<EvalAltResult>> {
        let Some(fact) = &self.0.subject.event else {
            return Err(raise("no event woke this run".to_owned()));
        };
        let value = match field {
            "name" => json!(fact.name),
            "occurred_at" => json!(fact.occurred_at.to_string()),
            "properties" => return Ok(Dynamic::from(Properties(Arc::clone(&self.0)))),
            _ => return Err(raise(format!("an event has no `{field}`; it has {}", FIELDS.join(", ")))),
        };
        self.0.see(|| format!("event.{field}"), || value.clone());
        Ok(to_dynamic(&value))
    }
}

impl Properties {
    fn get(&self, name: &str) -> Dynamic {
        let value = answer::event_property(&self.0.subject, name);
        self.0.see(|| format!("event.properties.{name}"), || value.to_json());
        value.into_dynamic()
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Event>("the event");
    engine.register_type_with_name::<Properties>("the event's properties");
    engine.register_indexer_get(|event: &mut Event, field: &str| event.get(field));
    engine.register_indexer_get(|properties: &mut Properties, name: &str| properties.get(name));
}
