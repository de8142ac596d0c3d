//! The rule language: files that a marketing team writes, read, checked and run.
//!
//! A file's way: `parse` (text → syntax tree, all errors) → `card` (what `RULE` states) → `check` (what would go wrong
//! while running, found by reading) → `program` (ready to be called) and,
//! where a condition allows it, `kernel/` (the same, many times as fast) → `rule` or `segments`. `book` does this for a whole
//! folder and keeps the last good version of what is broken; `host/` is what a script can see and say; `testing/` runs the
//! `NAME.test.toml` beside each rule on virtual time.
//!
//! Deciding is pure: the same rule version, subject and instant give the same evaluation. Nothing here waits, reads a clock
//! or knows a store.
#![warn(missing_docs)]

mod book;
mod card;
mod check;
mod conjuncts;
mod explain;
mod host;
mod kernel;
mod parse;
mod program;
pub mod reference;
mod rule;
mod segments;
pub mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::domain::diagnostic::did_you_mean;
use crate::domain::event::names;
use crate::domain::template::TemplateCards;
use crate::script::findings;

pub use book::RuleBook;
pub use explain::{Condition, SaidNo, condition};
pub use rule::Rule;

/// What exists outside the rules, for `check` to hold them to.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// The templates that `email` can name.
    pub templates: TemplateCards,
    /// The endpoints that `webhook` can name.
    pub webhooks: BTreeSet<String>,
    /// Names of events that this installation receives, besides rekindle's own and the e-commerce ones. Any name may be
    /// used; these only serve to notice slips.
    pub events: BTreeSet<String>,
}

/// Everything that a file under check may refer to.
struct Known<'a> {
    vocabulary: &'a Vocabulary,
    segments: &'a BTreeSet<String>,
    /// Name and number of parameters of each function in `shared/common.rhai`.
    common: &'a BTreeSet<(String, usize)>,
}

/// The event that `name` is probably a misspelling of.
fn is_event_slip<'a>(name: &str, known: &Known<'a>) -> Option<&'a str> {
    let events = || names::ALL.iter().chain(names::COMMON).copied();
    let all = || events().chain(known.vocabulary.events.iter().map(String::as_str));
    if all().any(|event| event == name) {
        return None;
    }
    did_you_mean(name, all())
}
