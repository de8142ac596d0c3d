//! Configuration: one file that a stranger can read, one struct per section, every key known.
//!
//! A kind's own section lives beside the kind; this folder composes them, reports everything that is wrong at once (file,
//! line, column, suggestion), lets the environment override any single value (`REKINDLE__HTTP__LISTEN=127.0.0.1:8080`),
//! and says of every key what holds and who said so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::channels::journal::{JournalConfig, default_endpoints};
use crate::channels::mailbox::FolderConfig;
use crate::channels::{EmailConfig, WebhookConfig};
use crate::connectors::SourceConfig;
use crate::domain::diagnostic::Diagnostic;
use crate::models::ModelsConfig;

mod origin;
mod overlay;
mod reader;
mod schema;
mod sections;

use origin::Written;
use overlay::Variables;
use reader::Reader;

pub use origin::{Origin, Setting};
pub use schema::{Shape, schema};
pub use sections::{
    BusinessConfig, ContactConfig, FilesConfig, HttpConfig, ScheduleConfig, StoreConfig, WriteKeyConfig,
};

/// The whole configuration. Every section may be left out.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// `[store]`
    #[schemars(default)]
    pub store: StoreConfig,
    /// `[business]`
    #[schemars(default)]
    pub business: BusinessConfig,
    /// `[http]`
    #[schemars(default)]
    pub http: HttpConfig,
    /// `[files]`
    #[schemars(default)]
    pub files: FilesConfig,
    /// `[contact]`
    #[schemars(default)]
    pub contact: ContactConfig,
    /// `[schedule]`
    #[schemars(default)]
    pub schedule: ScheduleConfig,
    /// `[models]`
    #[schemars(default)]
    pub models: ModelsConfig,
    /// `[email]`; left out, mail is written into a folder beside the data.
    pub email: Option<EmailConfig>,
    /// `[webhook]`; left out, webhooks are written into a file beside the data.
    pub webhook: Option<WebhookConfig>,
    /// `[[sources]]`
    #[schemars(default)]
    pub sources: Vec<SourceConfig>,
}

impl Config {
    /// Reads `path`; relative paths in it are taken from the folder that it lies in. `environment` overrides single keys.
    pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Diagnostic>> {
        Config::load_explained(path, environment).map(|(config, _)| config)
    }

    /// The same, with every key in force and where it came from.
    pub fn load_explained(
        path: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<(Self, Vec<Setting>), Vec<Diagnostic>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let help = "give the path with --config FILE; the shipped config.toml is a complete example";
            vec![Diagnostic::error(&file, format!("cannot be read: {e}")).help(help)]
        })?;
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Config::read(&text, &file, environment, Some(base))
    }

    /// Reads `text`, which messages call `file`.
    pub fn parse(text: &str, file: &str, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Diagnostic>> {
        Config::read(text, file, environment, None).map(|(config, _)| config)
    }

    fn read(
        text: &str,
        file: &str,
        environment: &BTreeMap<String, String>,
        base: Option<&Path>,
    ) -> Result<(Self, Vec<Setting>), Vec<Diagnostic>> {
        let reader = Reader { text, file, variables: Variables::of(environment, text.len()) };
        let mut table = DeTable::parse(text).map_err(|e| vec![reader.diagnostic(&e)])?.into_inner();
        let schema = schema();
        let whole = Shape::whole(&schema);
        let mut problems = reader.variables.overlay(&mut table, &whole);
        let places = origin::written(&table);
        problems.extend(reader.unknown_keys(&mut table, &whole));
        let mut config = Config::default();
        for (key, value) in table {
            if let Err(found) = config.set_section(key.get_ref(), value, &reader, &places) {
                problems.extend(found);
            }
        }
        problems.extend(config.problems().into_iter().map(|problem| reader.located(problem, &places)));
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Some(base) = base {
            config.resolve_paths(base);
        }
        let settings = origin::settings(&config, &places, |offset| reader.origin(offset));
        Ok((config, settings))
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

    fn set_section(
        &mut self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        reader: &Reader<'_>,
        places: &BTreeMap<String, Written>,
    ) -> Result<(), Vec<Diagnostic>> {
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
            "sources" => self.sources = reader.list(name, value, places, SourceConfig::validate)?,
            // The schema has a section that nobody reads: better refused than ignored.
            other => return Err(vec![reader.at(value.span().start, &format!("section `{other}` is not read"))]),
        }
        Ok(())
    }

    /// Everything that is wrong across sections.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.business.problems());
        problems.extend(self.http.problems());
        problems.extend(self.contact.problems());
        problems.extend(self.models.check());
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
