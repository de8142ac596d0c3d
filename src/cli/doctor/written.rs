//! What people wrote: rules, segments, templates.

use super::Check;
use crate::config::Config;
use crate::daemon::{Written, read_written};
use crate::domain::diagnostic::Severity;
use crate::domain::rule::Trigger;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let written = read_written(config, None);
    vec![diagnostics(&written), unused(&written)]
}

fn diagnostics(written: &Written) -> Check {
    let n = |severity| written.diagnostics.iter().filter(|d| d.severity == severity).count();
    let (n_errors, n_warnings) = (n(Severity::Error), n(Severity::Warning));
    let remedy = "`rekindle check` names each with file, line and help";
    match (n_errors, n_warnings) {
        (0, 0) => {
            let n_rules = written.book.rules().count();
            Check::ok("rules", format!("{n_rules} rules and {} templates are sound", written.templates.cards().len()))
        }
        (0, n) => Check::warn("rules", format!("{n} warnings in rules and templates"), remedy),
        (n, _) => {
            Check::fail("rules", format!("{n} errors in rules and templates: what is broken does nothing"), remedy)
        }
    }
}

/// What costs attention and changes nothing.
fn unused(written: &Written) -> Check {
    let book = &written.book;
    let named = |segment: &str| {
        book.rules().any(|rule| match &rule.card.trigger {
            Trigger::Entering { segment: of } | Trigger::Leaving { segment: of } => of == segment,
            _ => rule.card.audience.as_deref() == Some(segment),
        })
    };
    let segments = book.segment_names().filter(|name| !named(name) && !book.mentions(name));
    let segments = segments.map(|name| format!("segment {name}"));
    let templates = written.templates.cards().keys().filter(|name| !book.mentions(name));
    let all: Vec<String> = segments.chain(templates.map(|name| format!("template {name}"))).collect();
    if all.is_empty() {
        return Check::ok("unused", "every segment and template is named by a rule");
    }
    let remedy = "nothing, if they are for listings or for later; else remove them";
    Check::warn("unused", format!("no rule names: {}", all.join(", ")), remedy)
}
