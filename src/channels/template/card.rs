//! Reads `template.toml`, naming everything that is wrong with it at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::consent::MessageClass;
use crate::domain::diagnostic::{Diagnostic, did_you_mean};

const KEYS: [&str; 3] = ["class", "topic", "optional"];
const CLASSES: [MessageClass; 3] = [MessageClass::Marketing, MessageClass::Transactional, MessageClass::Service];
const CLASS_HELP: &str = "write `class = \"marketing\"` (needs consent), \"transactional\" (the customer waits for it) or \
                          \"service\" (about a running relation)";

/// What `template.toml` says.
#[derive(Debug)]
pub(super) struct CardFile {
    pub(super) class: MessageClass,
    pub(super) topic: Option<String>,
    /// Variables that a rule may leave out, with the place where each is named.
    pub(super) optional: Vec<(String, usize)>,
}

/// Reads the text of `file`. `None` when there is no class to go by; everything wrong is added to `problems`.
pub(super) fn read(file: &str, text: &str, problems: &mut Vec<Diagnostic>) -> Option<CardFile> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(0, |span| span.start);
        problems.push(at(file, text, place, error.message().to_owned()));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut reader = Reader { file, text, problems };
    let table = table.into_inner();
    for key in table.keys() {
        let name: &str = key.get_ref();
        if !KEYS.contains(&name) {
            let help = did_you_mean(name, KEYS).map_or_else(
                || format!("known keys are {}", KEYS.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            reader.complain(key.span(), format!("unknown key `{name}`"), Some(help));
        }
    }
    let topic = table.get("topic").and_then(|value| reader.topic(value));
    let optional = table.get("optional").map(|value| reader.names(value)).unwrap_or_default();
    let Some(class) = table.get("class") else {
        reader.complain(0..0, "`class` is missing".to_owned(), Some(CLASS_HELP.to_owned()));
        return None;
    };
    Some(CardFile { class: reader.class(class)?, topic, optional })
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn complain(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        let mut problem = at(self.file, self.text, span.start, message);
        problem.help = help;
        self.problems.push(problem);
    }

    fn text(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            let found = value.get_ref().type_str();
            self.complain(value.span(), format!("`{key}` must be a text, not {found}"), None);
        }
        text
    }

    fn class(&mut self, value: &Spanned<DeValue<'_>>) -> Option<MessageClass> {
        let word = self.text("class", value)?;
        let class = CLASSES.into_iter().find(|class| class.as_str() == word);
        if class.is_none() {
            let help = did_you_mean(&word, CLASSES.map(MessageClass::as_str))
                .map_or_else(|| CLASS_HELP.to_owned(), |known| format!("did you mean `{known}`?"));
            self.complain(value.span(), format!("`{word}` is not a message class"), Some(help));
        }
        class
    }

    /// A topic becomes part of consent keys and of a List-Id, so it is held to what both can carry.
    fn topic(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let topic = self.text("topic", value)?;
        if is_name(&topic) {
            return Some(topic);
        }
        let help = "use lower-case letters, digits, `_` and `-`, at most 64".to_owned();
        self.complain(value.span(), format!("`{topic}` is not a topic"), Some(help));
        None
    }

    fn names(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<(String, usize)> {
        let Some(array) = value.get_ref().as_array() else {
            let help = "write `optional = [\"code\"]`".to_owned();
            self.complain(value.span(), "`optional` must be a list of variables".to_owned(), Some(help));
            return Vec::new();
        };
        array.iter().filter_map(|item| Some((self.text("optional", item)?, item.span().start))).collect()
    }
}

/// What a template or a topic may be called.
pub(super) fn is_name(text: &str) -> bool {
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(usable)
}

/// An error at byte `offset` of `text`.
pub(super) fn at(file: &str, text: &str, offset: usize, message: String) -> Diagnostic {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Diagnostic::error(file, message)
        .at(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        assert!(read("t/template.toml", text, &mut problems).is_none() || !problems.is_empty());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_wrong_with_a_card_is_named_at_once_with_its_place() {
        let found = problems("clas = 'marketing'\ntopic = 'Big Offers'\noptional = 'code'\n");
        assert_eq!(
            found,
            [
                "t/template.toml:1:1: error: unknown key `clas`\n  help: did you mean `class`?",
                "t/template.toml:2:9: error: `Big Offers` is not a topic\n  help: use lower-case letters, digits, `_` and `-`, \
                 at most 64",
                "t/template.toml:3:12: error: `optional` must be a list of variables\n  help: write `optional = [\"code\"]`",
                &format!("t/template.toml:1:1: error: `class` is missing\n  help: {CLASS_HELP}"),
            ]
        );
        let found = problems("\nclass = 'marketting'");
        assert_eq!(
            found,
            ["t/template.toml:2:9: error: `marketting` is not a message class\n  help: did you mean `marketing`?"]
        );
        assert!(problems("class = ")[0].starts_with("t/template.toml:1:"));
    }
}
