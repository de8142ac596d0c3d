//! The page of the rule language.

use std::fmt::Write as _;

use super::{cell, heading};
use crate::rules::reference::{ITEMS, OPERATIONS, STRING_BYTES, Word, language};

const INTO_TEXT: &str = "writing into a text cannot fail";

pub(super) fn render(missing: &mut Vec<String>) -> String {
    let language = language();
    missing.extend(language.missing.iter().cloned());
    let about = "What rules, segments and shared helpers may see and say. How to write one is in \
                 [the marketer's guide](../guide/marketer.md); [rules/README.md](../../rules/README.md) is the language on \
                 one page, with examples.";
    let mut text = heading("The rule language", "rhai-api", about);
    chapter("The card", "The keys of `const RULE = #{ … }`. Any other key is an error.", &language.card, &mut text);
    chapter("Triggers", "What `trigger` can be, and about whom the rule is then asked.", &language.triggers, &mut text);
    let about = "Everything is read from one customer at one instant. Any other name is a trait: `customer.first_name`, \
                 `customer[\"loyalty card\"]`; it is `()` where it was never stated.";
    chapter("The customer", about, &language.properties, &mut text);
    chapter("Questions to the customer", "`event` is a name, `window` a span.", &language.questions, &mut text);
    let about = "Where the trigger is `on(…)`, `when` and `then` may take it: `fn when(customer, event)`.";
    chapter("The event", about, &language.event, &mut text);
    chapter(
        "Spans of time",
        "`n` is a whole number, from 1 to what makes a hundred years.",
        &language.spans,
        &mut text,
    );
    let about = "Only `then` acts, and only by these. They record what is wanted, at most 20 in one firing; it is carried \
                 out afterwards, once.";
    chapter("Verbs", about, &language.verbs, &mut text);
    writeln!(
        text,
        "\n## Bounds\n\nOne run may take {OPERATIONS} steps, build texts of {STRING_BYTES} bytes and lists and maps of {ITEMS} \
         items. There is no `import`, no `eval`, no clock, no chance, no file and no network."
    )
    .expect(INTO_TEXT);
    let about = "These come with [Rhai](https://rhai.rs), and the words are Rhai's. Most can be written behind a value: \
                 `name.to_upper()` is `to_upper(name)`.";
    chapter("Functions of the language", about, &language.library, &mut text);
    text
}

fn chapter(title: &str, about: &str, words: &[Word], text: &mut String) {
    writeln!(text, "\n## {title}\n\n{about}\n").expect(INTO_TEXT);
    let missing = words.iter().any(|word| word.may_be_missing);
    text.push_str(if missing {
        "| write | means | can be `()` |\n|---|---|---|\n"
    } else {
        "| write | means |\n|---|---|\n"
    });
    for word in words {
        let written: Vec<String> = word.signatures.iter().map(|s| format!("`{}`", cell(s))).collect();
        write!(text, "| {} | {} |", written.join(" "), cell(&word.means)).expect(INTO_TEXT);
        if missing {
            text.push_str(if word.may_be_missing { " yes |" } else { " |" });
        }
        text.push('\n');
    }
}
