//! Calls: does what is called exist, does it take so many arguments, and do the names in them exist?

use rhai::{Expr, FnCallExpr, Position};

use super::super::findings::{Findings, suggest};
use super::super::host::answer::OWNED;
use super::super::host::customer::METHODS;
use super::super::host::event::FIELDS;
use super::super::host::span::UNITS;
use super::super::host::verbs::VERBS;
use super::super::{card, is_event_slip};
use super::Kind;
use super::body::{Context, Reach};
use super::missing::Missing;
use super::tree::{Step, chain, text, variable};
use crate::domain::diagnostic::did_you_mean;
use crate::domain::template::TemplateCard;
use crate::script::library;

/// Made by Rhai itself for closures and `&&`-free calls; never written by hand in a rule.
const INTERNAL: [&str; 2] = ["curry", "call"];

/// A call by name: `email("x")`, `days(3)`, `round(x)`, `percent(customer)`, `common::percent(customer)`.
pub(super) fn call(
    context: &Context<'_>,
    function: &str,
    call: &FnCallExpr,
    at: Position,
    missing: &Missing,
    reach: &mut Reach,
    findings: &mut Findings,
) {
    let (name, n_args) = (call.name.as_str(), call.args.len());
    if call.is_qualified() {
        let space = call.namespace.to_string();
        return qualified(context, space.trim_end_matches("::"), name, n_args, call.namespace.position(), findings);
    }
    let locals: Vec<_> = context.functions.iter().filter(|f| f.name == name).collect();
    if !locals.is_empty() {
        reach.calls.entry(function.to_owned()).or_default().insert(name.to_owned());
        if locals.iter().all(|f| f.params.len() != n_args) {
            let help = format!("`{name}({})`", locals[0].params.join(", "));
            findings.error(
                at,
                format!("`{name}` takes {}, not {n_args}", arguments(locals[0].params.len())),
                Some(help),
            );
        }
        return;
    }
    if let Some((_, fewest, most)) = VERBS.iter().find(|verb| verb.0 == name) {
        reach.verbs.push((function.to_owned(), name.to_owned(), at));
        count(name, n_args, *fewest, *most, at, findings);
        return verb(context, name, call, missing, findings);
    }
    if UNITS.iter().any(|unit| unit.0 == name) {
        return count(name, n_args, 1, 1, at, findings);
    }
    if library().iter().any(|known| known == name) || INTERNAL.contains(&name) {
        return;
    }
    let help = if card::TRIGGERS.iter().any(|trigger| trigger.0 == name) {
        Some("a trigger stands on the card: const RULE = #{ trigger: … }".to_owned())
    } else if METHODS.iter().any(|method| method.0 == name) {
        Some(format!("ask the customer: customer.{name}(…)"))
    } else {
        let own = context.functions.iter().filter(|f| !f.is_anonymous()).map(|f| f.name.as_str());
        let words = VERBS.iter().map(|verb| verb.0).chain(UNITS.iter().map(|unit| unit.0)).chain(own);
        let all = words.chain(library().iter().map(String::as_str));
        let near = did_you_mean(name, all).map(|near| format!("did you mean `{near}`?"));
        near.or_else(|| {
            let shared = context.known.common.iter().any(|(known, _)| known == name);
            shared.then(|| format!("it is in shared/common.rhai: common::{name}(…)"))
        })
    };
    findings.error(at, format!("unknown function `{name}`"), help);
}

fn qualified(context: &Context<'_>, space: &str, name: &str, n_args: usize, at: Position, findings: &mut Findings) {
    if space != "common" {
        let help = "shared helpers are in rules/shared/common.rhai and are called as `common::name(…)`".to_owned();
        return findings.error(at, format!("unknown module `{space}`"), Some(help));
    }
    if context.kind == Kind::Common {
        let help = format!("within the file write `{name}(…)`");
        return findings.error(at, "this file is `common` itself", Some(help));
    }
    let known = context.known.common;
    let arities: Vec<usize> = known.iter().filter(|(known, _)| known == name).map(|(_, arity)| *arity).collect();
    match arities.first() {
        None => {
            let help = suggest(name, known.iter().map(|(name, _)| name.as_str()))
                .or_else(|| Some(format!("write `fn {name}(…) {{ … }}` in rules/shared/common.rhai")));
            findings.error(at, format!("unknown function `common::{name}`"), help);
        }
        Some(arity) if !arities.contains(&n_args) => {
            let message = format!("`common::{name}` takes {}, not {n_args}", arguments(*arity));
            findings.error(at, message, None);
        }
        Some(_) => {}
    }
}

fn verb(context: &Context<'_>, verb: &str, call: &FnCallExpr, missing: &Missing, findings: &mut Findings) {
    let vocabulary = context.known.vocabulary;
    let Some(first) = call.args.first() else { return };
    let at = first.start_position();
    match (verb, text(first)) {
        ("email", Some(name)) => match vocabulary.templates.get(name) {
            None => {
                let help = suggest(name, vocabulary.templates.keys().map(String::as_str))
                    .or_else(|| Some(format!("make the folder templates/{name}/")));
                findings.error(at, format!("unknown template `{name}`"), help);
            }
            Some(template) => variables(name, template, call.args.get(1), at, missing, findings),
        },
        ("webhook", Some(name)) if !vocabulary.webhooks.contains(name) => {
            let help = suggest(name, vocabulary.webhooks.iter().map(String::as_str))
                .or_else(|| Some("name an endpoint of config.toml; scripts never state addresses".to_owned()));
            findings.error(at, format!("unknown webhook endpoint `{name}`"), help);
        }
        ("set_trait", Some(name)) if OWNED.iter().any(|owned| owned.name == name) => {
            let help = "choose another name for the trait".to_owned();
            findings.error(at, format!("`{name}` is derived and cannot be set"), Some(help));
        }
        (_, None) if is_literal(first) => {
            findings.error(at, format!("the first argument of `{verb}` is a text"), None);
        }
        _ => {}
    }
}

/// What the template needs against what the rule hands over.
fn variables(
    name: &str,
    template: &TemplateCard,
    handed: Option<&Expr>,
    at: Position,
    missing: &Missing,
    findings: &mut Findings,
) {
    let given: Vec<(&str, Position, &Expr)> = match handed {
        None => Vec::new(),
        Some(Expr::Map(map, _)) => map.0.iter().map(|(key, value)| (key.name.as_str(), key.pos, value)).collect(),
        // Built elsewhere: only running it will tell.
        Some(_) => return,
    };
    let lacking: Vec<&str> =
        template.needs.iter().map(String::as_str).filter(|need| !given.iter().any(|(key, ..)| key == need)).collect();
    if !lacking.is_empty() {
        let names: Vec<String> = lacking.iter().map(|name| format!("`{name}`")).collect();
        let example: Vec<String> = lacking.iter().map(|name| format!("{name}: …")).collect();
        let help = format!("hand it over: email(\"{name}\", #{{ {} }})", example.join(", "));
        findings.error(at, format!("template `{name}` also needs {}", names.join(", ")), Some(help));
    }
    for (key, at, value) in given {
        if template.needs.contains(key) || template.optional.contains(key) {
            missing.visit_variable(value, findings);
        } else {
            let known = lacking.iter().copied().chain(template.optional.iter().map(String::as_str));
            let help = did_you_mean(key, known)
                .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
            findings.warning(at, format!("template `{name}` does not use `{key}`"), Some(help));
        }
    }
}

/// The links of a chain: properties and methods of the customer and the event, methods of anything else.
pub(super) fn links(context: &Context<'_>, expr: &Expr, reach: &mut Reach, function: &str, findings: &mut Findings) {
    let Some((root, links)) = chain(expr) else { return };
    for (n, link) in links.iter().enumerate() {
        match (variable(root), n, &link.step) {
            (Some("customer"), 0, Step::Property(name)) => property(name, link.at, findings),
            (Some("customer"), 0, Step::Method(call)) => method(context, call, link.at, findings),
            (Some("event"), 0, Step::Property(name)) if !FIELDS.contains(name) => {
                let help = suggest(name, FIELDS).map(|help| format!("{help}; what was sent is in event.properties"));
                findings.error(link.at, format!("an event has no `{name}`"), help);
            }
            (_, _, Step::Method(call)) => {
                let name = call.name.as_str();
                let local = context.functions.iter().any(|f| f.name == name && f.params.len() == call.args.len());
                if local {
                    reach.calls.entry(function.to_owned()).or_default().insert(name.to_owned());
                } else if !library().iter().any(|known| known == name) && !INTERNAL.contains(&name) {
                    let help = did_you_mean(name, library().iter().map(String::as_str));
                    let help = help.map(|near| format!("did you mean `{near}`?"));
                    findings.error(link.at, format!("unknown method `{name}`"), help);
                }
            }
            _ => {}
        }
    }
}

fn property(name: &str, at: Position, findings: &mut Findings) {
    if METHODS.iter().any(|method| method.0 == name) {
        let help = format!("write customer.{name}(\"…\")");
        return findings.error(at, format!("`{name}` is a question and needs its argument"), Some(help));
    }
    if OWNED.iter().any(|owned| owned.name == name) {
        return;
    }
    // Traits are free-form, so only what looks like a slip of a known name is worth a word.
    if let Some(near) = did_you_mean(name, OWNED.iter().map(|owned| owned.name)) {
        let message = format!("`{name}` is read as a trait of that name");
        findings.warning(at, message, Some(format!("did you mean `{near}`?")));
    }
}

fn method(context: &Context<'_>, call: &FnCallExpr, at: Position, findings: &mut Findings) {
    let name = call.name.as_str();
    let Some((_, fewest, most, _)) = METHODS.iter().find(|method| method.0 == name) else {
        let help = if VERBS.iter().any(|verb| verb.0 == name) {
            Some(format!("write {name}(…): it always is about this customer"))
        } else if OWNED.iter().any(|owned| owned.name == name) {
            Some(format!("write customer.{name}"))
        } else {
            suggest(name, METHODS.map(|method| method.0))
        };
        return findings.error(at, format!("a customer has no `{name}()`"), help);
    };
    count(name, call.args.len(), *fewest, *most, at, findings);
    let Some(first) = call.args.first() else { return };
    match text(first) {
        Some(segment) if name == "in_segment" => {
            if context.kind == Kind::Segments {
                let help = format!("call the function instead: {segment}(customer)");
                findings.error(at, "a segment cannot ask for membership of segments", Some(help));
            } else if !context.known.segments.contains(segment) {
                let help = suggest(segment, context.known.segments.iter().map(String::as_str));
                findings.error(first.start_position(), format!("unknown segment `{segment}`"), help);
            }
        }
        Some(event) => {
            if let Some(near) = is_event_slip(event, context.known) {
                let message = format!("no event is called `{event}` so far");
                findings.warning(first.start_position(), message, Some(format!("did you mean `{near}`?")));
            }
        }
        None if is_literal(first) => {
            findings.error(first.start_position(), format!("the first argument of `{name}` is a text"), None);
        }
        None => {}
    }
    match call.args.get(1) {
        Some(Expr::FnCall(unit, at)) if ["hours", "minutes"].contains(&unit.name.as_str()) => {
            findings.error(*at, "a window is counted in whole days", Some("use days(n)".to_owned()));
        }
        Some(window) if is_literal(window) => {
            let help = format!("write customer.{name}(…, days(30))");
            findings.error(window.start_position(), "a window is a span of days", Some(help));
        }
        _ => {}
    }
}

fn count(name: &str, n_args: usize, fewest: usize, most: usize, at: Position, findings: &mut Findings) {
    if (fewest..=most).contains(&n_args) {
        return;
    }
    let wanted = if fewest == most { arguments(most) } else { format!("{fewest} or {}", arguments(most)) };
    findings.error(at, format!("`{name}` takes {wanted}, not {n_args}"), None);
}

fn arguments(n: usize) -> String {
    match n {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

fn is_literal(expr: &Expr) -> bool {
    expr.is_constant() || matches!(expr, Expr::Map(..) | Expr::Array(..))
}
