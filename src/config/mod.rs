//! Configuration: one file that a stranger can read, one struct per section, every key known.
//!
//! A kind's own section lives beside the kind; this folder composes them, reports everything that is wrong at once (file,
//! line, column, suggestion), and lets the environment override any key: `REKINDLE__HTTP__LISTEN=127.0.0.1:8080`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::channels::journal::{JournalConfig, default_endpoints};
use crate::channels::mailbox::FolderConfig;
use crate::channels::{EmailConfig, WebhookConfig};
use crate::connectors::SourceConfig;
use crate::domain::diagnostic::{Diagnostic, did_you_mean};
use crate::models::ModelsConfig;

mod sections;

pub use sections::{
    BusinessConfig, ContactConfig, FilesConfig, HttpConfig, ScheduleConfig, StoreConfig, WriteKeyConfig,
};

/// What a variable's name begins with to override a key.
const ENVIRONMENT_PREFIX: &str = "REKINDLE__";

/// The whole configuration. Every section may be left out.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[store]`
    pub store: StoreConfig,
    /// `[business]`
    pub business: BusinessConfig,
    /// `[http]`
    pub http: HttpConfig,
    /// `[files]`
    pub files: FilesConfig,
    /// `[contact]`
    pub contact: ContactConfig,
    /// `[schedule]`
    pub schedule: ScheduleConfig,
    /// `[models]`
    pub models: ModelsConfig,
    /// `[email]`; left out, mail is written into a folder beside the data.
    pub email: Option<EmailConfig>,
    /// `[webhook]`; left out, webhooks are written into a file beside the data.
    pub webhook: Option<WebhookConfig>,
    /// `[[sources]]`
    pub sources: Vec<SourceConfig>,
}

/// The sections by name, for suggestions.
const SECTIONS: [&str; 10] =
    ["store", "business", "http", "files", "contact", "schedule", "models", "email", "webhook", "sources"];

impl Config {
    /// Reads `path`; relative paths in it are taken from the folder that it lies in. `environment` overrides single keys.
    pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Diagnostic>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let help = "give the path with --config FILE; the shipped config.toml is a complete example";
            vec![Diagnostic::error(&file, format!("cannot be read: {e}")).help(help)]
        })?;
        let mut config = Config::parse(&text, &file, environment)?;
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        config.resolve_paths(base);
        Ok(config)
    }

    /// Reads `text`, which messages call `file`.
    pub fn parse(text: &str, file: &str, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Diagnostic>> {
        let reader = Reader { text, file };
        let table = DeTable::parse(text).map_err(|e| vec![reader.diagnostic(&e)])?.into_inner();
        let mut config = Config::default();
        let mut problems = config.apply(table, &reader);
        if problems.is_empty() {
            problems = config.override_from(environment);
        }
        if problems.is_empty() {
            problems = config.problems().into_iter().map(|p| Diagnostic::error(file, p)).collect();
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// How mail leaves.
    pub fn email(&self) -> EmailConfig {
        let default = || {
            let from = format!("\"{}\" <shop@localhost>", self.business.name.replace(['"', '\\'], ""));
            EmailConfig::Folder(FolderConfig { path: self.store.path.join("mailbox"), from, reply_to: None })
        };
        self.email.clone().unwrap_or_else(default)
    }

    /// How webhooks leave.
    pub fn webhook(&self) -> WebhookConfig {
        let path = || self.store.path.join("webhooks.jsonl");
        let default = || WebhookConfig::Journal(JournalConfig { path: path(), endpoints: default_endpoints() });
        self.webhook.clone().unwrap_or_else(default)
    }

    fn apply(&mut self, table: DeTable<'_>, reader: &Reader<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (key, value) in table {
            if let Err(problem) = self.set_section(key.get_ref(), value, reader) {
                problems.push(problem.unwrap_or_else(|| reader.unknown_section(&key)));
            }
        }
        problems
    }

    /// `Err(None)`: there is no such section.
    fn set_section(
        &mut self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        reader: &Reader<'_>,
    ) -> Result<(), Option<Diagnostic>> {
        match name {
            "store" => self.store = reader.section(value)?,
            "business" => self.business = reader.section(value)?,
            "http" => self.http = reader.section(value)?,
            "files" => self.files = reader.section(value)?,
            "contact" => self.contact = reader.section(value)?,
            "schedule" => self.schedule = reader.section(value)?,
            "models" => self.models = reader.section(value)?,
            "email" => self.email = Some(reader.section(value)?),
            "webhook" => self.webhook = Some(reader.section(value)?),
            "sources" => self.sources = reader.section(value)?,
            _ => return Err(None),
        }
        Ok(())
    }

    /// Each variable is laid over what the file says, section by section.
    fn override_from(&mut self, environment: &BTreeMap<String, String>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            if let Err(problem) = self.override_one(&keys, value) {
                problems.push(Diagnostic::error(format!("environment variable {name}"), problem));
            }
        }
        problems
    }

    fn override_one(&mut self, keys: &[String], value: &str) -> Result<(), String> {
        let [section, key] = keys else {
            return Err("name a section and a key, such as REKINDLE__HTTP__LISTEN".to_owned());
        };
        if self.http.set(section, key, value)?
            || self.store.set(section, key, value)
            || self.business.set(section, key, value)
            || self.files.set(section, key, value)
        {
            return Ok(());
        }
        let known = "store.path, business.time_zone, business.currency, business.name, http.listen, http.public_url, \
                     files.rules, files.templates, files.plugins";
        Err(format!("`{section}.{key}` cannot be set from the environment; these can: {known}"))
    }

    /// Everything that is wrong across sections.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.business.problems());
        problems.extend(self.http.problems());
        problems.extend(self.contact.problems());
        problems.extend(self.models.check());
        for source in &self.sources {
            problems.extend(source.validate());
        }
        problems
    }

    fn resolve_paths(&mut self, base: &Path) {
        let join = |path: &mut PathBuf| *path = base.join(&*path);
        join(&mut self.store.path);
        join(&mut self.files.rules);
        join(&mut self.files.templates);
        join(&mut self.files.plugins);
        if let Some(EmailConfig::Folder(folder)) = &mut self.email {
            join(&mut folder.path);
        }
        if let Some(WebhookConfig::Journal(journal)) = &mut self.webhook {
            join(&mut journal.path);
        }
        for source in &mut self.sources {
            source.plugin_folder.clone_from(&self.files.plugins);
            if let Some(path) = &mut source.path {
                join(path);
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
}

impl Reader<'_> {
    fn section<T: DeserializeOwned>(&self, value: Spanned<DeValue<'_>>) -> Result<T, Option<Diagnostic>> {
        let span = value.span();
        T::deserialize(ValueDeserializer::from(value)).map_err(|e| {
            let start = e.span().map_or(span.start, |s| s.start);
            Some(self.at(start, e.message()))
        })
    }

    fn unknown_section(&self, key: &Spanned<toml::de::DeString<'_>>) -> Diagnostic {
        let name: &str = key.get_ref();
        let diagnostic = self.at(key.span().start, &format!("there is no section `{name}`"));
        match did_you_mean(name, SECTIONS) {
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic.help(format!("sections are {}", SECTIONS.join(", "))),
        }
    }

    fn diagnostic(&self, error: &toml::de::Error) -> Diagnostic {
        self.at(error.span().map_or(0, |s| s.start), error.message())
    }

    fn at(&self, offset: usize, message: &str) -> Diagnostic {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let diagnostic = Diagnostic::error(self.file, message).at(number(line), number(column));
        match suggestion(message) {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

/// serde says "unknown field `x`, expected one of `a`, `b`": out of that comes "did you mean".
fn suggestion(message: &str) -> Option<String> {
    let (what, rest) = message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    debug_assert!(what.is_empty() || !what.contains('`'), "the unknown name comes first");
    let (unknown, expected) = rest.split_once('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    did_you_mean(unknown, known).map(|meant| format!("did you mean `{meant}`?"))
}
