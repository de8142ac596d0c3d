//! Plugins: a folder that teaches rekindle the records of one system. `plugin.toml` says what it is ([`Manifest`]),
//! `map.rhai` says what a record means, `fixtures/` holds records with what must come of them.
//!
//! ```text
//!  plugin.toml ── manifest ─┐
//!  map.rhai ───── check ────┼──▶ Plugin ──▶ mapper ──▶ facts   (for each record: program runs `map`, verbs write a draft)
//!  fixtures/ ──── testing ──┘
//! ```
//!
//! A script can state facts about its record and nothing else: it sees no file, no clock and no other record, and every
//! run is bounded by the budget of [`crate::script`]. So a plugin gives the same facts for the same record wherever and
//! whenever it runs, and a record that it fails on is put aside while the rest goes on.

mod check;
mod draft;
mod manifest;
mod mapper;
mod program;
pub mod testing;
#[cfg(test)]
mod tests;
mod verbs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SourceConfig;
use super::origin::Origin;
use crate::domain::clock::Business;
use crate::domain::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::domain::id::short_hash;
use crate::script::with_line_feeds;

pub use manifest::{Manifest, RecordFormat};
use program::Program;

/// A larger `plugin.toml` or `map.rhai` is not one.
const FILE_BYTES: u64 = 1024 * 1024;

/// Where plugins lie unless the configuration says otherwise.
pub(super) fn default_folder() -> PathBuf {
    PathBuf::from("plugins")
}

/// A plugin without mistakes, ready to run.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Manifest,
    program: Arc<Program>,
}

impl Plugin {
    pub(super) fn format(&self) -> RecordFormat {
        self.manifest.format
    }

    pub(super) fn mapper(self, config: &SourceConfig, business: &Business) -> Result<mapper::PluginMapper, String> {
        Ok(mapper::PluginMapper { origin: Origin::new(config)?, zone: business.zone.clone(), plugin: self })
    }
}

/// What became of reading one plugin's folder.
#[derive(Debug)]
pub struct Loaded {
    /// The folder's name.
    pub name: String,
    /// The plugin, unless something is wrong with it.
    pub plugin: Option<Plugin>,
    /// Everything that is wrong with it, and what hardly is as meant.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// The plugin, or everything that is wrong with it in one text.
    pub fn into_plugin(self) -> Result<Plugin, String> {
        let wrong = self.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let all: Vec<String> = wrong.map(ToString::to_string).collect();
        self.plugin.ok_or_else(|| format!("plugin `{}` cannot be used:\n{}", self.name, all.join("\n")))
    }
}

/// Reads the plugin `name` of `folder`.
pub fn load(folder: &Path, name: &str) -> Loaded {
    let mut diagnostics = Vec::new();
    let plugin = read(folder, name, &mut diagnostics);
    let usable = !diagnostics.iter().any(|d| d.severity == Severity::Error);
    Loaded { name: name.to_owned(), plugin: plugin.filter(|_| usable), diagnostics }
}

/// Reads all plugins of `folder`, in the order of their names. A folder that is not there has none.
pub fn load_all(folder: &Path) -> Vec<Loaded> {
    names(folder).iter().map(|name| load(folder, name)).collect()
}

/// Tells one state of a plugin's `plugin.toml` and `map.rhai` from another.
pub fn version(folder: &Path, name: &str) -> String {
    let content = |file: &str| read_file(&folder.join(name).join(file)).unwrap_or_default();
    short_hash(&[content("plugin.toml").as_bytes(), content("map.rhai").as_bytes()])
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn read(folder: &Path, name: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Plugin> {
    let path = folder.join(name);
    // The name comes from a configuration or a command line: it must not lead out of the folder.
    if !manifest::is_name(name) || !path.is_dir() {
        let known = names(folder);
        let near = did_you_mean(name, known.iter().map(String::as_str));
        let help = match (near, known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("there are no plugins in {}; set `[files] plugins`", folder.display()),
            (None, all) => format!("there is {}", all.join(", ")),
        };
        let problem = format!("there is no plugin `{name}`");
        diagnostics.push(Diagnostic::error(path.display().to_string(), problem).help(help));
        return None;
    }
    let open = |file: &str, help: &str, diagnostics: &mut Vec<Diagnostic>| {
        let path = path.join(file);
        let shown = path.display().to_string();
        let text = read_file(&path).map_err(|problem| Diagnostic::error(shown.clone(), problem).help(help));
        text.map_err(|problem| diagnostics.push(problem)).ok().map(|text| (shown, text))
    };
    let help = "a plugin says what it is in plugin.toml; see docs/guide/integrator.md";
    let manifest =
        open("plugin.toml", help, diagnostics).and_then(|(file, text)| manifest::read(&file, name, &text, diagnostics));
    let help = "write `fn map(record) { … }` in it; see docs/guide/integrator.md";
    let program = open("map.rhai", help, diagnostics)
        .and_then(|(file, text)| check::program(&file, &with_line_feeds(text), diagnostics));
    Some(Plugin { manifest: manifest?, program: Arc::new(program?) })
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "is missing".to_owned(),
        std::io::ErrorKind::InvalidData => "is not UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    if std::fs::metadata(path).map_err(cannot)?.len() > FILE_BYTES {
        return Err(format!("is longer than {FILE_BYTES} bytes"));
    }
    std::fs::read_to_string(path).map_err(cannot)
}
