//! Actions: what a firing wants done, as data. Scripts record them; only `pipeline::deliver` carries them out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One wish of a rule's `then`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// `email("win_back", #{ percent: 10 })`
    Email {
        /// The folder under `templates/`.
        template: String,
        /// What the rule hands to the template.
        vars: Map<String, Value>,
    },
    /// `webhook("crm", #{ ... })`
    Webhook {
        /// The name of an endpoint in `config.toml`; scripts never state addresses.
        endpoint: String,
        /// What the rule hands over.
        data: Map<String, Value>,
    },
    /// `task("Call Ana")`, for a person
    Task {
        /// What to do.
        title: String,
        /// Anything that helps: `note`, `priority`, `assignee`, `due_days`.
        details: Map<String, Value>,
    },
    /// `set_trait("vip", true)`: recorded as an event
    SetTrait {
        /// Which trait.
        name: String,
        /// Its new value; `null` clears it.
        value: Value,
    },
}

impl Action {
    /// The channel that carries it out: `email`, `webhook`, `task`, `trait`.
    pub fn channel(&self) -> &'static str {
        match self {
            Action::Email { .. } => "email",
            Action::Webhook { .. } => "webhook",
            Action::Task { .. } => "task",
            Action::SetTrait { .. } => "trait",
        }
    }

    /// What it is about, for listings: template, endpoint, title or trait.
    pub fn subject(&self) -> &str {
        match self {
            Action::Email { template, .. } => template,
            Action::Webhook { endpoint, .. } => endpoint,
            Action::Task { title, .. } => title,
            Action::SetTrait { name, .. } => name,
        }
    }
}
