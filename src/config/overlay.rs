//! The environment over the file: `REKINDLE__MODELS__TIER__OTHERWISE=copper` is `otherwise` of `[models.tier]`. Variables
//! are laid over what the file says before anything is read, so every key that holds one value can be set, and what is
//! wrong with a value is found by the same reading. Lists are the file's: half a list from elsewhere is nobody's list.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::Shape;
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

/// What a variable's name begins with to override a key.
const PREFIX: &str = "REKINDLE__";

/// The variables that are meant for the configuration, each with a place of its own behind the end of the file's text, by
/// which messages find back to it.
#[derive(Debug)]
pub(super) struct Variables<'a> {
    all: Vec<(&'a str, &'a str)>,
    end: usize,
}

impl<'a> Variables<'a> {
    pub(super) fn of(environment: &'a BTreeMap<String, String>, end_of_text: usize) -> Self {
        let ours = environment.iter().filter(|(name, _)| name.starts_with(PREFIX));
        Variables { all: ours.map(|(name, value)| (name.as_str(), value.as_str())).collect(), end: end_of_text }
    }

    /// The variable that stands at `offset`.
    pub(super) fn at(&self, offset: usize) -> Option<&'a str> {
        self.all.get(offset.checked_sub(self.end + 1)?).map(|(name, _)| *name)
    }

    fn place(&self, n: usize) -> Range<usize> {
        self.end + 1 + n..self.end + 1 + n
    }

    /// Lays all of them over `table`.
    pub(super) fn overlay(&self, table: &mut DeTable<'a>, whole: &Shape<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (n, (name, value)) in self.all.iter().enumerate() {
            let keys: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
            if let Err((problem, help)) = set(table, whole, &keys, value, &self.place(n)) {
                let diagnostic = Diagnostic::error(shown(name), problem);
                problems.push(help.into_iter().fold(diagnostic, Diagnostic::help));
            }
        }
        problems
    }
}

/// How messages call a variable.
pub(super) fn shown(name: &str) -> String {
    format!("environment variable {name}")
}

type Problem = (String, Option<String>);

fn set<'a>(
    table: &mut DeTable<'a>,
    shape: &Shape<'_>,
    keys: &[String],
    value: &'a str,
    place: &Range<usize>,
) -> Result<(), Problem> {
    let Some((key, rest)) = keys.split_first() else { return Ok(()) };
    let Some(inner) = shape.property(key) else {
        let near = did_you_mean(key, shape.keys()).map(|near| format!("did you mean `{}`?", near.to_uppercase()));
        let known = shape.keys().into_iter().collect::<Vec<_>>().join(", ");
        return Err((format!("there is no key `{key}` here"), near.or_else(|| Some(format!("there are {known}")))));
    };
    let new = match rest {
        [] => scalar(key, value, &inner)?,
        _ if inner.keys().is_empty() => {
            let what = if inner.types().contains("array") { "a list" } else { "one value" };
            return Err((format!("`{key}` is {what}, and has no key `{}` to set", rest.join(".")), None));
        }
        _ => {
            if let Some(there) = table.get_mut(key.as_str()).map(Spanned::get_mut)
                && let DeValue::Table(there) = there
            {
                return set(there, &inner, rest, value, place);
            }
            let mut made = DeTable::new();
            set(&mut made, &inner, rest, value, place)?;
            DeValue::Table(made)
        }
    };
    table.remove(key.as_str());
    table.insert(Spanned::new(place.clone(), key.clone().into()), Spanned::new(place.clone(), new));
    Ok(())
}

/// The text of a variable as the value that belongs here.
fn scalar<'a>(key: &str, text: &'a str, shape: &Shape<'_>) -> Result<DeValue<'a>, Problem> {
    let types = shape.types();
    if types.contains("boolean")
        && let Ok(yes) = text.parse()
    {
        return Ok(DeValue::Boolean(yes));
    }
    if types.contains("integer") || types.contains("number") {
        match DeValue::parse(text).map(Spanned::into_inner) {
            Ok(value @ DeValue::Integer(_)) => return Ok(value),
            Ok(value @ DeValue::Float(_)) if types.contains("number") => return Ok(value),
            _ => {}
        }
    }
    if types.contains("string") {
        return Ok(DeValue::String(text.into()));
    }
    let wanted = if types.contains("integer") {
        "a whole number"
    } else if types.contains("number") {
        "a number"
    } else if types.contains("boolean") && types.contains("object") {
        "`false`; to set what it holds, name a key of it"
    } else if types.contains("boolean") {
        "`true` or `false`"
    } else if types.contains("array") {
        return Err((format!("`{key}` is a list, and lists are set in the file"), None));
    } else {
        let known = shape.keys().into_iter().map(str::to_uppercase).collect::<Vec<_>>().join(", ");
        return Err((format!("`{key}` is a section; name a key of it"), Some(format!("there are {known}"))));
    };
    Err((format!("`{text}` is not {wanted}"), None))
}
