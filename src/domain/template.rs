//! What the rest of the house knows of a message template: its class, its topic and what it needs to be given.

use std::collections::{BTreeMap, BTreeSet};

use super::consent::MessageClass;

/// One template's card, from `templates/NAME/template.toml` and from reading its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateCard {
    /// Stated, never guessed.
    pub class: MessageClass,
    /// Consent may be given or withdrawn for it alone.
    pub topic: Option<String>,
    /// Variables that a rule must hand over.
    pub needs: BTreeSet<String>,
    /// Variables that a rule may hand over.
    pub optional: BTreeSet<String>,
    /// Hash of all its files.
    pub version: String,
}

/// All usable templates by name.
pub type TemplateCards = BTreeMap<String, TemplateCard>;
