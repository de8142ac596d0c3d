//! A folder of rules, taken over as a whole: everything that is sound, the last good version of what is not, and every
//! problem. Loading never fails, so nothing that somebody writes into the folder can stop the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rhai::{AST, Module};

use super::check::{Kind, check};
use super::findings::Findings;
use super::rule::{Rule, Source};
use super::segments::Segments;
use super::{Known, Vocabulary, host, parse, program};
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::segment::Memberships;
use crate::domain::subject::Subject;
use crate::script::with_line_feeds;

/// A file longer than this is not a rule.
const FILE_BYTES: u64 = 256 * 1024;

/// The rules in force: an immutable snapshot. A change on disk makes a new book; what is running finishes on the old one.
#[derive(Debug, Default)]
pub struct RuleBook {
    rules: BTreeMap<String, Arc<Rule>>,
    segments: Option<Arc<Segments>>,
    common: Option<Arc<Common>>,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug)]
struct Common {
    text: String,
    module: Arc<Module>,
    functions: BTreeSet<(String, usize)>,
    tree: AST,
}

impl RuleBook {
    /// Reads all rules below `dir`. What is broken keeps its version from `last_good`; a file that is gone is gone.
    pub fn load(dir: &Path, vocabulary: &Vocabulary, last_good: Option<&RuleBook>) -> RuleBook {
        let mut book = RuleBook::default();
        let files = match list(dir, &mut book.diagnostics) {
            Ok(files) => files,
            Err(error) => {
                // An unreadable folder is not an empty one.
                let help = "the rules in force stay as they are".to_owned();
                let problem = Diagnostic::error(shown(dir), format!("the folder cannot be read: {error}")).help(help);
                let (rules, segments, common) = last_good.map_or_else(Default::default, |last| {
                    (last.rules.clone(), last.segments.clone(), last.common.clone())
                });
                return RuleBook { rules, segments, common, diagnostics: vec![problem] };
            }
        };
        let shared = book.load_common(dir, vocabulary, last_good);
        let names = book.load_segments(dir, vocabulary, &shared, last_good);
        let known = Known { vocabulary, segments: &names, common: &shared };
        for (id, file) in files {
            book.load_rule(dir, &id, &file, &known, last_good);
        }
        book
    }

    /// All rules, by id.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// One rule.
    pub fn rule(&self, id: &str) -> Option<&Arc<Rule>> {
        self.rules.get(id)
    }

    /// Everything that was found wrong, errors and warnings, in the order of the files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether something was not taken over.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The names of all segments.
    pub fn segment_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|segments| segments.names())
    }

    /// Whether a segment's condition is compiled: else Rhai is asked about everybody.
    pub fn is_segment_compiled(&self, name: &str) -> bool {
        self.segments.as_ref().is_some_and(|segments| segments.is_compiled(name))
    }

    /// Of each segment, what changes when its condition was edited: the hash of its text and of what it leans on.
    pub fn segment_versions(&self) -> BTreeMap<String, String> {
        self.segments.as_ref().map_or_else(Default::default, |segments| segments.versions.clone())
    }

    /// The segments that `subject` is in and not in, and what went wrong while asking. Where a condition fails, membership
    /// stays as `subject.segments` has it; where nothing changed, that is what is given back.
    pub fn segments_of(&self, subject: &Subject) -> (Arc<Memberships>, Vec<Diagnostic>) {
        self.segments.as_ref().map_or_else(Default::default, |segments| segments.of(subject))
    }

    /// Takes the helpers in and gives back which there are; of a broken file without a last good version, those it meant.
    fn load_common(
        &mut self,
        dir: &Path,
        vocabulary: &Vocabulary,
        last_good: Option<&RuleBook>,
    ) -> BTreeSet<(String, usize)> {
        let path = dir.join("shared").join("common.rhai");
        let Some(text) = self.read(&path) else {
            self.common = if path.exists() { last_good.and_then(|last| last.common.clone()) } else { None };
            return self.common.as_ref().map(|common| common.functions.clone()).unwrap_or_default();
        };
        let mut findings = Findings::new(&shown(&path));
        let mut engine = host::engine(None);
        let tree = parse::parse(&mut engine, &text, &mut findings);
        let (none, no_segments) = (BTreeSet::new(), BTreeSet::new());
        let known = Known { vocabulary, segments: &no_segments, common: &none };
        check(Kind::Common, &tree, &text, &known, &mut findings);
        let public = tree.iter_functions().filter(|f| f.access == rhai::FnAccess::Public);
        let functions: BTreeSet<(String, usize)> = public.map(|f| (f.name.to_owned(), f.params.len())).collect();
        if !findings.has_errors() {
            match program::module(&engine, &tree, &shown(&path)) {
                Ok(module) => {
                    let common = Common { text, module: Arc::new(module), functions: functions.clone(), tree };
                    self.common = Some(Arc::new(common));
                }
                Err(failure) => findings.add(failure.diagnostic()),
            }
        }
        self.diagnostics.extend(findings.into_sorted());
        if self.common.is_none() {
            self.common = last_good.and_then(|last| last.common.clone());
        }
        self.common.as_ref().map_or(functions, |common| common.functions.clone())
    }

    /// Takes the segments in and gives back their names, in the same way.
    fn load_segments(
        &mut self,
        dir: &Path,
        vocabulary: &Vocabulary,
        shared: &BTreeSet<(String, usize)>,
        last_good: Option<&RuleBook>,
    ) -> BTreeSet<String> {
        let path = dir.join("segments.rhai");
        let Some(text) = self.read(&path) else {
            self.segments = if path.exists() { last_good.and_then(|last| last.segments.clone()) } else { None };
            let names = |segments: &Arc<Segments>| segments.names().map(str::to_owned).collect();
            return self.segments.as_ref().map(names).unwrap_or_default();
        };
        let mut findings = Findings::new(&shown(&path));
        self.lean_on_common(&text, &mut findings);
        let none = BTreeSet::new();
        let known = Known { vocabulary, segments: &none, common: shared };
        let common_text = self.common.as_ref().map_or("", |common| common.text.as_str());
        let common_tree = self.common.as_ref().map(|common| &common.tree);
        let source = Source { id: "segments", path: &shown(&path), text: &text, common_text, common_tree };
        let engine = host::engine(self.common_module());
        let (segments, names) = Segments::load(engine, &source, &known, &mut findings);
        self.diagnostics.extend(findings.into_sorted());
        self.segments = segments.map(Arc::new).or_else(|| last_good.and_then(|last| last.segments.clone()));
        // Rules are held to what is in force; to what was meant only while nothing is.
        self.segments.as_ref().map_or(names, |segments| segments.names().map(str::to_owned).collect())
    }

    fn load_rule(&mut self, dir: &Path, id: &str, file: &str, known: &Known<'_>, last_good: Option<&RuleBook>) {
        let path = dir.join(file);
        let last = last_good.and_then(|last| last.rules.get(id));
        let mut rule = None;
        if let Some(text) = self.read(&path) {
            let mut findings = Findings::new(&shown(&path));
            self.lean_on_common(&text, &mut findings);
            let common_text = self.common.as_ref().map_or("", |common| common.text.as_str());
            let common_tree = self.common.as_ref().map(|common| &common.tree);
            let source = Source { id, path: &shown(&path), text: &text, common_text, common_tree };
            rule = Rule::load(host::engine(self.common_module()), &source, known, &mut findings).map(Arc::new);
            self.diagnostics.extend(findings.into_sorted());
        }
        if let Some(rule) = rule.or_else(|| last.cloned()) {
            self.rules.insert(id.to_owned(), rule);
        }
    }

    /// What calls helpers cannot be taken over while there are none in force.
    fn lean_on_common(&self, text: &str, findings: &mut Findings) {
        let is_broken = self.common.is_none() && self.diagnostics.iter().any(|d| d.file.ends_with("common.rhai"));
        if is_broken && text.contains("common::") {
            let message = "this file uses shared/common.rhai, which is broken";
            findings.error(rhai::Position::NONE, message, Some("repair that file first".to_owned()));
        }
    }

    /// The segments in force: path and text of their file.
    pub(super) fn segments_file(&self) -> Option<(&str, &str)> {
        self.segments.as_ref().map(|segments| (segments.path.as_str(), segments.text.as_str()))
    }

    pub(super) fn common_module(&self) -> Option<&Arc<Module>> {
        self.common.as_ref().map(|common| &common.module)
    }

    /// The text of a file; `None` when there is no such file, or it cannot be read, which is then reported.
    fn read(&mut self, path: &Path) -> Option<String> {
        let mut refuse = |message: String| {
            self.diagnostics.push(Diagnostic::error(shown(path), message));
            None
        };
        match fs::metadata(path) {
            Ok(meta) if meta.len() > FILE_BYTES => refuse(format!("the file is longer than {FILE_BYTES} bytes")),
            Ok(_) => match fs::read_to_string(path) {
                Ok(text) => Some(with_line_feeds(text)),
                Err(error) => refuse(format!("the file cannot be read: {error}")),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => refuse(format!("the file cannot be read: {error}")),
        }
    }
}

/// The rule files of a folder: id and file name. What has no place there is reported.
fn list(dir: &Path, diagnostics: &mut Vec<Diagnostic>) -> std::io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_suffix(".rhai").filter(|id| *id != "segments") else { continue };
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if id.starts_with(|c: char| c.is_ascii_lowercase()) && id.chars().all(is_word) {
            files.insert(id.to_owned(), name.clone());
        } else if !name.starts_with('.') {
            let help = "the name is the rule's id: lower-case letters, digits and `_`, such as win_back.rhai";
            let message = "the file's name cannot be a rule's id";
            diagnostics.push(Diagnostic::error(shown(&dir.join(&name)), message).help(help));
        }
    }
    if let Ok(shared) = fs::read_dir(dir.join("shared")) {
        for entry in shared.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(".rhai").is_some_and(|stem| stem != "common") && !name.starts_with('.') {
                let path = dir.join("shared").join(&name);
                let help = "move its functions to shared/common.rhai";
                diagnostics.push(Diagnostic::warning(shown(&path), "this file is never read").help(help));
            }
        }
    }
    Ok(files)
}

/// A path as people write it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
