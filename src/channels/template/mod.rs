//! Message templates: one folder per message under `templates/`, written by people.
//!
//! ```text
//! templates/win_back/template.toml   class = "marketing", topic = "offers", optional = ["code"]
//!                    subject.txt     We miss you, {{ customer.first_name | default("there", true) }}
//!                    body.html       escaped
//!                    body.txt        the same for readers without HTML; required, so that no mail is HTML only
//! ```
//!
//! `optional` names what a rule may leave out (the template has a `default` for it); all else that a template uses and that is
//! not one of the [`BUILT_INS`] must be handed over, and `check` holds rules to it.
//!
//! The language is Jinja (minijinja), strict: a variable that is not there is an error, never an empty place in a mail to a
//! customer. `load` finds every problem of every template at once and keeps the good ones; `render` is pure.

mod card;
mod load;
mod render;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::tz::TimeZone;
use minijinja::Environment;

use crate::domain::template::TemplateCards;

pub use render::{Rendered, Values};

/// What a template sees without a rule handing it over: `customer`, the person's own values; `business`, the
/// [`Letterhead`]; `unsubscribe_url`, in marketing mail only; `now`, the business's day (`now.date`, `now.year`).
pub const BUILT_INS: [&str; 4] = ["customer", "business", "unsubscribe_url", "now"];

/// What templates see as `business`, and whose calendar `now` is in.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// `business.name`: how the company signs.
    pub name: String,
    /// `business.address`: the postal address that many countries require in marketing mail; `none` when not configured.
    pub address: Option<String>,
    /// The zone in which `now` is read.
    pub zone: TimeZone,
}

/// All usable templates of one folder, compiled.
pub struct Templates {
    folder: PathBuf,
    environment: Environment<'static>,
    cards: TemplateCards,
}

impl Templates {
    /// What the rest of the house knows of them.
    pub fn cards(&self) -> &TemplateCards {
        &self.cards
    }
}

/// The templates in use: read by the channels at each message, replaced as a whole when the folder has changed.
#[derive(Clone)]
pub struct SharedTemplates(Arc<RwLock<Arc<Templates>>>);

impl SharedTemplates {
    /// Starts with these.
    pub fn new(templates: Templates) -> Self {
        SharedTemplates(Arc::new(RwLock::new(Arc::new(templates))))
    }

    /// Those in use now.
    pub fn current(&self) -> Arc<Templates> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next message on, these.
    pub fn replace(&self, templates: Templates) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(templates);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Map, Value, json};

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::consent::MessageClass;
    use crate::domain::diagnostic::Diagnostic;

    const LEAVE: &str = "https://shop.example/u/TOKEN";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// A service template with this subject, HTML and text.
    fn template(subject: &str, html: &str, text: &str) -> Templates {
        let card = ("t/template.toml", "class = 'service'");
        let dir = folder(&[card, ("t/subject.txt", subject), ("t/body.html", html), ("t/body.txt", text)]);
        let (templates, problems) = Templates::load(dir.path(), None);
        assert_eq!(problems, []);
        templates
    }

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn render(templates: &Templates, name: &str, vars: Value, customer: Value) -> Result<Rendered, Diagnostic> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let letterhead = Letterhead { name: "Müller & Sons".to_owned(), address: None, zone };
        let now: Timestamp = "2025-12-31T23:30:00Z".parse().unwrap();
        let marketing = templates.cards().get(name).is_some_and(|card| card.class == MessageClass::Marketing);
        let (vars, customer) = (object(vars), object(customer));
        let unsubscribe_url = marketing.then_some(LEAVE);
        templates
            .render(name, &Values { vars: &vars, customer: &customer, letterhead: &letterhead, unsubscribe_url, now })
    }

    #[test]
    fn the_shipped_templates_load_and_render_with_and_without_a_name() {
        let (templates, problems) = Templates::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")), None);
        assert_eq!(problems, []);
        let expected = [
            ("cart_rescue", MessageClass::Marketing, Some("reminders"), json!({})),
            ("review_apology", MessageClass::Service, None, json!({ "rating": 2 })),
            ("second_order", MessageClass::Marketing, Some("offers"), json!({ "percent": 10.0 })),
            ("win_back", MessageClass::Marketing, Some("offers"), json!({ "percent": 20, "code": "BACK20" })),
        ];
        assert!(templates.cards().keys().eq(expected.iter().map(|(name, ..)| *name)));
        for (name, class, topic, vars) in expected {
            let card = &templates.cards()[name];
            assert_eq!((card.class, card.topic.as_deref()), (class, topic), "{name}");
            assert!(card.needs.iter().eq(object(vars.clone()).keys()), "{name}: {:?}", card.needs);
            for (customer, greeting) in [(json!({ "first_name": "Ana" }), "Hi Ana,"), (json!({}), "Hi there,")] {
                let mail = render(&templates, name, vars.clone(), customer).unwrap();
                assert!(mail.text.contains(greeting) && mail.html.contains(greeting), "{name}");
                assert!(mail.html.contains("Müller &amp; Sons") && mail.text.contains("Müller & Sons"), "{name}");
                assert!(!mail.html.contains("http") || class == MessageClass::Marketing, "{name}: external asset");
                for number in ["10%", "20%"].iter().filter(|_| vars.get("percent").is_some()) {
                    let is_ours = number.starts_with(&vars["percent"].as_f64().unwrap().to_string());
                    assert_eq!(mail.text.contains(number), is_ours, "{name}: {}", mail.text);
                }
                assert_eq!(mail.text.contains(LEAVE), class == MessageClass::Marketing, "{name}");
            }
        }
    }

    #[test]
    fn a_missing_variable_is_named_with_its_file_and_line() {
        let templates = template("S", "<p>\n  Hi {{ customer.first_name }}", "{{ percent }}");
        let problem = render(&templates, "t", json!({ "percent": 5 }), json!({ "first_name": null })).unwrap_err();
        assert!(problem.file.ends_with("t/body.html"), "{problem}");
        assert_eq!((problem.line, problem.column), (Some(2), Some(9)));
        assert_eq!(problem.message, "`customer.first_name` is undefined");
        let problem = render(&templates, "t", json!({}), json!({ "first_name": "A" })).unwrap_err();
        assert!(problem.file.ends_with("t/body.txt") && problem.message == "`percent` is undefined", "{problem}");
    }

    #[test]
    fn what_a_customer_calls_himself_is_escaped_in_html_and_never_run() {
        let templates =
            template("Hi {{ customer.first_name }}", "<b>{{ customer.first_name }}</b>", "{{ customer.first_name }}");
        for name in ["{{ 7*7 }}", "</script><script>alert(1)</script>", "\"onload=\"x", "{% raw %}"] {
            let mail = render(&templates, "t", json!({}), json!({ "first_name": name })).unwrap();
            assert_eq!(mail.text, name);
            let inside = mail.html.strip_prefix("<b>").and_then(|h| h.strip_suffix("</b>")).unwrap();
            assert!(!inside.contains(['<', '>', '"']), "{inside}");
        }
        let mail = render(&templates, "t", json!({}), json!({ "first_name": "Bob\r\nBcc: x@y\0" })).unwrap();
        assert_eq!(mail.subject, "Hi Bob Bcc: x@y");
    }

    #[test]
    fn the_business_day_and_whole_numbers_read_naturally() {
        let templates = template("{{ now.date }}", "{{ now.year }}", "{{ price }} {{ share }} {{ list | join('+') }}");
        let vars = json!({ "price": 20.0, "share": 0.5, "list": [1.0, 2] });
        let mail = render(&templates, "t", vars, json!({})).unwrap();
        assert_eq!(
            (mail.subject.as_str(), mail.html.as_str(), mail.text.as_str()),
            ("2026-01-01", "2026", "20 0.5 1+2")
        );
    }

    #[test]
    fn an_endless_loop_and_an_endless_text_are_stopped() {
        let templates =
            template("S", "{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}", "T");
        let problem = render(&templates, "t", json!({}), json!({})).unwrap_err();
        assert!(problem.message.contains("takes more than 100000 steps"), "{problem}");
        let templates = template("S", "{{ 'x' * 2000000 }}", "T");
        assert!(render(&templates, "t", json!({}), json!({})).unwrap_err().message.contains("2000000 bytes"));
    }

    #[test]
    fn everything_wrong_in_the_folder_is_named_at_once_and_the_good_templates_remain() {
        let dir = folder(&[
            ("good/template.toml", "class = 'service'\noptional = ['code']"),
            ("good/subject.txt", "S"),
            (
                "good/body.html",
                "{{ code | default('') }}{{ percent }}{% for x in range(3) %}{{ loop.index }}{% endfor %}",
            ),
            ("good/body.txt", "T"),
            ("broken/template.toml", "class = 'marketing'\noptional = ['cod']"),
            ("broken/subjct.txt", "S"),
            ("broken/body.html", "<p>{{ code | uper }}</p>\n{{ business.nam }}"),
            ("broken/body.txt", "line\n{% if code %}"),
            ("including/template.toml", "class = 'service'"),
            ("including/subject.txt", "{{ unsubscribe_url }}"),
            ("including/body.html", "\n {%- include 'good/body.html' %}"),
            ("including/body.txt", ""),
            ("Bad Name/x", ""),
        ]);
        let (templates, problems) = Templates::load(dir.path(), None);
        assert!(templates.cards().keys().eq(["good"]));
        assert!(templates.cards()["good"].needs.iter().eq(["percent"]));
        assert!(templates.cards()["good"].optional.iter().eq(["code"]));
        let prefix = format!("{}/", dir.path().display());
        let mut lines: Vec<String> = problems.iter().map(|p| p.to_string().replace(&prefix, "")).collect();
        lines.sort();
        let four = "a template has template.toml, subject.txt, body.html and body.txt";
        let expected = [
            "Bad Name: error: `Bad Name` cannot be a template's name\n  help: use lower-case letters, digits, `_` and `-`, at \
             most 64",
            "broken/body.html: error: a marketing mail must say how to leave: `unsubscribe_url` is missing\n  help: add a link \
             to {{ unsubscribe_url }}",
            "broken/body.html:1:14: error: unknown filter: filter uper is unknown",
            "broken/body.html:2:4: error: there is no `business.nam`\n  help: did you mean `business.name`?",
            "broken/body.txt:2:12: error: unexpected end of input, expected end of block",
            "broken/subjct.txt: warning: this file is not part of a template\n  help: did you mean `subject.txt`?",
            &format!("broken/subject.txt: error: is missing\n  help: {four}"),
            "broken/template.toml:2:13: error: no part of the template uses `cod`\n  help: did you mean `code`?",
            "including/body.html:2:6: error: `include` is not available\n  help: a template stands alone, so that what it needs \
             can be seen; copy the text into it",
            "including/subject.txt:1:4: error: a service mail has no `unsubscribe_url`\n  help: remove the link, or make the \
             class `marketing`",
        ];
        assert_eq!(lines, expected);
        let problem = render(&templates, "broken", json!({}), json!({})).unwrap_err();
        assert!(problem.message.contains("no usable template `broken`"), "{problem}");
    }

    #[test]
    fn a_template_changes_its_version_with_any_of_its_files() {
        let of = |text: &str| template("S", "H", text).cards()["t"].version.clone();
        assert_eq!(of("T"), of("T"));
        assert_ne!(of("T"), of("T "));
    }

    #[test]
    fn a_missing_folder_is_a_problem_and_not_a_crash() {
        let (templates, problems) = Templates::load(Path::new("/nowhere/templates"), None);
        assert!(templates.cards().is_empty());
        assert!(problems[0].message.starts_with("cannot read the templates folder"));
    }
}
