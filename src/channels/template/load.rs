//! Reads the templates folder: compiles what is good and says, with file and line, what is wrong with the rest.

use std::collections::BTreeSet;
use std::path::Path;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};

use super::card::{self, CardFile, at};
use super::{BUILT_INS, Templates};
use crate::domain::consent::MessageClass;
use crate::domain::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::domain::id::short_hash;
use crate::domain::template::{TemplateCard, TemplateCards};

/// The files of a template. `CARD` is read, the others are rendered.
const CARD: &str = "template.toml";
pub(super) const PARTS: [&str; 3] = ["subject.txt", "body.html", "body.txt"];

/// Bytes that one file may have: many times what mail programs show.
const MAX_FILE: usize = 256 * 1024;

/// Steps of one rendering (a simple mail takes about a hundred); a runaway loop ends in milliseconds.
const FUEL: u64 = 100_000;

const BUSINESS: [&str; 2] = ["business.name", "business.address"];
const NOW: [&str; 2] = ["now.date", "now.year"];

impl Templates {
    /// Reads all templates in `dir`. One with an error keeps its version from `last_good`, or is left out; the rest can be
    /// used.
    pub fn load(dir: &Path, last_good: Option<&Templates>) -> (Templates, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let mut environment = environment();
        let mut cards = TemplateCards::new();
        // An unreadable folder is not an empty one.
        let everything = || last_good.map(|last| last.cards.keys().cloned().collect()).unwrap_or_default();
        for name in folders(dir, &mut problems).unwrap_or_else(everything) {
            let mut loader =
                Loader { name: &name, dir: dir.join(&name), environment: &mut environment, problems: vec![] };
            let template = loader.load();
            let found = loader.problems;
            let sound = template.filter(|_| found.iter().all(|p| p.severity != Severity::Error));
            problems.extend(found);
            let card = sound.or_else(|| last_good.and_then(|last| last.lend(&name, &mut environment)));
            if let Some(card) = card {
                cards.insert(name, card);
            }
        }
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        (Templates { folder: dir.to_owned(), environment, cards }, problems)
    }

    /// Puts this version of a template into `environment`.
    fn lend(&self, name: &str, environment: &mut Environment<'static>) -> Option<TemplateCard> {
        let card = self.cards.get(name)?;
        for part in PARTS {
            let key = format!("{name}/{part}");
            if let Ok(template) = self.environment.get_template(&key) {
                environment.add_template_owned(key, template.source().to_owned()).ok()?;
            }
        }
        Some(card.clone())
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|name| {
        let html = Path::new(name).extension().is_some_and(|e| e == "html");
        if html { AutoEscape::Html } else { AutoEscape::None }
    });
    environment.set_debug(true); // so that an error names the variable
    environment.set_fuel(Some(FUEL));
    // Only while loading, for the trial run; strict from then on.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment
}

/// `None`: the folder cannot be read.
fn folders(dir: &Path, problems: &mut Vec<Diagnostic>) -> Option<BTreeSet<String>> {
    let file = dir.display().to_string();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            problems.push(Diagnostic::error(file, format!("cannot read the templates folder: {e}")));
            return None;
        }
    };
    let mut names = BTreeSet::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        if card::is_name(&name) {
            names.insert(name);
        } else {
            let help = "use lower-case letters, digits, `_` and `-`, at most 64";
            let problem =
                Diagnostic::error(entry.path().display().to_string(), format!("`{name}` cannot be a template's name"));
            problems.push(problem.help(help));
        }
    }
    Some(names)
}

struct Loader<'a> {
    name: &'a str,
    dir: std::path::PathBuf,
    environment: &'a mut Environment<'static>,
    problems: Vec<Diagnostic>,
}

impl Loader<'_> {
    fn load(&mut self) -> Option<TemplateCard> {
        self.look_for_strangers();
        let card_text = self.read(CARD);
        let card = card_text.as_ref().and_then(|text| card::read(&self.path(CARD), text, &mut self.problems));
        let texts = PARTS.map(|part| self.read(part));
        let mut used = BTreeSet::new();
        for (part, text) in PARTS.into_iter().zip(&texts) {
            if let Some(text) = text {
                used.extend(self.compile(part, text, card.as_ref()));
            }
        }
        let (card, card_text) = (card?, card_text?);
        for (name, place) in card.optional.iter().filter(|(name, _)| !used.contains(name)) {
            let mut problem =
                at(&self.path(CARD), &card_text, *place, format!("no part of the template uses `{name}`"));
            problem.help = did_you_mean(name, used.iter().map(String::as_str)).map(|u| format!("did you mean `{u}`?"));
            self.problems.push(problem);
        }
        let optional: BTreeSet<String> = card.optional.into_iter().map(|(name, _)| name).collect();
        let needs = used.into_iter().filter(|name| !optional.contains(name)).collect();
        let mut hashed = vec![card_text.as_bytes()];
        hashed.extend(texts.iter().flatten().map(String::as_bytes));
        let version = short_hash(&hashed);
        Some(TemplateCard { class: card.class, topic: card.topic, needs, optional, version })
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).display().to_string()
    }

    /// A file that is not one of the four is most often a misspelt one.
    fn look_for_strangers(&mut self) {
        let known = [CARD, PARTS[0], PARTS[1], PARTS[2]];
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || known.contains(&name.as_str()) {
                continue;
            }
            let mut problem = Diagnostic::warning(self.path(&name), "this file is not part of a template");
            problem.help = did_you_mean(&name, known).map(|k| format!("did you mean `{k}`?"));
            self.problems.push(problem);
        }
    }

    fn read(&mut self, file: &str) -> Option<String> {
        let path = self.path(file);
        let problem = match std::fs::read(&path) {
            Ok(bytes) if bytes.len() > MAX_FILE => format!("has {} bytes; at most {MAX_FILE} are allowed", bytes.len()),
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text),
                Err(_) => "is not UTF-8 text".to_owned(),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "is missing".to_owned(),
            Err(e) => format!("cannot be read: {e}"),
        };
        self.problems.push(
            Diagnostic::error(path, problem).help("a template has template.toml, subject.txt, body.html and body.txt"),
        );
        None
    }

    /// Compiles one part, checks what can be checked without a customer, and says which variables a rule must know of.
    fn compile(&mut self, part: &str, text: &str, card: Option<&CardFile>) -> BTreeSet<String> {
        let file = self.path(part);
        if let Some((place, word)) = foreign_statement(text) {
            let help = "a template stands alone, so that what it needs can be seen; copy the text into it";
            self.problems.push(at(&file, text, place, format!("`{word}` is not available")).help(help));
            return BTreeSet::new();
        }
        let key = format!("{}/{part}", self.name);
        if let Err(error) = self.environment.add_template_owned(key.clone(), text.to_owned()) {
            self.problems.push(diagnose(&file, text, &error));
            return BTreeSet::new();
        }
        let template = self.environment.get_template(&key).expect("it was added above");
        let globals: BTreeSet<String> = self.environment.globals().map(|(name, _)| name.to_owned()).collect();
        let used = template.undeclared_variables(false);
        let nested = template.undeclared_variables(true);
        // Misspelt filters and functions are found by running once with nothing filled in; other failures of that run only
        // mean that there was nothing to work on.
        let unknown = [ErrorKind::UnknownFilter, ErrorKind::UnknownTest, ErrorKind::UnknownFunction];
        if let Err(error) = template.render(context! {})
            && unknown.contains(&error.kind())
        {
            self.problems.push(diagnose(&file, text, &error));
        }
        for path in &nested {
            let fields: &[&str] = match path.split('.').next() {
                Some("business") => &BUSINESS,
                Some("now") => &NOW,
                _ => continue,
            };
            if !fields.contains(&path.as_str()) {
                let help = did_you_mean(path, fields.iter().copied())
                    .map_or_else(|| format!("there is {}", fields.join(" and ")), |f| format!("did you mean `{f}`?"));
                let place = text.find(path.as_str()).unwrap_or(0);
                self.problems.push(at(&file, text, place, format!("there is no `{path}`")).help(help));
            }
        }
        self.check_unsubscribe(part, text, card.map(|c| c.class), used.contains("unsubscribe_url"));
        used.into_iter().filter(|name| !BUILT_INS.contains(&name.as_str()) && !globals.contains(name)).collect()
    }

    fn check_unsubscribe(&mut self, part: &str, text: &str, class: Option<MessageClass>, used: bool) {
        let file = self.path(part);
        match class {
            Some(MessageClass::Marketing) if !used && part != PARTS[0] => {
                let problem =
                    Diagnostic::error(file, "a marketing mail must say how to leave: `unsubscribe_url` is missing");
                self.problems.push(problem.help("add a link to {{ unsubscribe_url }}"));
            }
            Some(class) if class != MessageClass::Marketing && used => {
                let place = text.find("unsubscribe_url").unwrap_or(0);
                let message = format!("a {} mail has no `unsubscribe_url`", class.as_str());
                self.problems
                    .push(at(&file, text, place, message).help("remove the link, or make the class `marketing`"));
            }
            _ => {}
        }
    }
}

/// The first statement that would bring in another template. (The feature cannot be left out: minijinja 3.0 does not
/// build with `fuel` and without `multi_template`.)
fn foreign_statement(text: &str) -> Option<(usize, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("{%") {
        let start = from + found + 2;
        let statement = text[start..].trim_start_matches(['-', '+']).trim_start();
        let word = statement.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if ["include", "import", "from", "extends"].contains(&word) {
            return Some((text.len() - statement.len(), word));
        }
        from = start;
    }
    None
}

/// What minijinja says, at its place.
pub(super) fn diagnose(file: &str, text: &str, error: &minijinja::Error) -> Diagnostic {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::SyntaxError | ErrorKind::UndefinedError, Some(detail)) => detail.to_owned(),
        (ErrorKind::OutOfFuel, _) => format!("takes more than {FUEL} steps; is a loop too long?"),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    match (error.range(), error.line()) {
        (Some(range), _) => at(file, text, range.start, message),
        (None, Some(line)) => Diagnostic::error(file, message).at(u32::try_from(line).unwrap_or(u32::MAX), 1),
        (None, None) => Diagnostic::error(file, message),
    }
}
