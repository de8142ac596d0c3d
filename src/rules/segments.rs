//! Segments: every public function of `segments.rhai` names the set of customers for whom it is true.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rhai::{AST, Engine, FnAccess, Position, ScriptFuncDef};

use super::check::{Kind, check};
use super::findings::Findings;
use super::host::run::{Phase, Run};
use super::kernel::{Kernel, Sources};
use super::program::Program;
use super::rule::Source;
use super::{Known, parse};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::id::short_hash;
use crate::domain::segment::Memberships;
use crate::domain::subject::Subject;

/// The segments of one version of the file.
#[derive(Debug)]
pub(super) struct Segments {
    /// With their compiled conditions, where they can be compiled.
    kernels: BTreeMap<String, Option<Kernel>>,
    /// Name → what changes when the condition may mean something else than before.
    pub(super) versions: BTreeMap<String, String>,
    pub(super) path: String,
    pub(super) text: String,
    program: Program,
}

impl Segments {
    /// Reads and checks the file. The names are those found, whether or not the file is sound: a broken file must not make
    /// every rule that names a segment look broken.
    pub(super) fn load(
        mut engine: Engine,
        source: &Source<'_>,
        known: &Known<'_>,
        findings: &mut Findings,
    ) -> (Option<Self>, BTreeSet<String>) {
        let tree = parse::parse(&mut engine, source.text, findings);
        let names = names(&tree);
        check(Kind::Segments, &tree, source.text, known, findings);
        if findings.has_errors() {
            return (None, names);
        }
        let entries: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        match Program::new(engine, &tree, source.path, &entries) {
            Ok(program) => {
                let versions = versions(&tree, source.text, source.common_text);
                let sources = Sources::new(&tree, source.common_tree, Phase::Segment);
                let kernel = |name: &String| (name.clone(), Kernel::compile(&sources, name));
                let kernels = names.iter().map(kernel).collect();
                let (path, text) = (source.path.to_owned(), source.text.to_owned());
                (Some(Segments { kernels, versions, path, text, program }), names)
            }
            Err(failure) => {
                findings.add(failure.diagnostic());
                (None, names)
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }

    pub(super) fn is_compiled(&self, name: &str) -> bool {
        self.kernels.get(name).is_some_and(Option::is_some)
    }

    /// Of every segment, whether `subject` is in it. Where a condition fails, membership stays as it was and the failure is
    /// reported: an error must not look like a customer who left.
    pub(super) fn of(&self, subject: &Subject) -> (Arc<Memberships>, Vec<Diagnostic>) {
        let run = LazyCell::new(|| Arc::new(Run::new(subject, Phase::Segment, false)));
        let mut failures = Vec::new();
        let mut is_member = |name: &str, kernel: Option<&Kernel>| {
            let answer =
                kernel.and_then(|kernel| kernel.ask(subject)).map_or_else(|| self.program.ask(name, &run, false), Ok);
            answer.unwrap_or_else(|failure| {
                failures.push(failure.diagnostic());
                subject.is_in(name)
            })
        };
        let answers: Vec<bool> = self.kernels.iter().map(|(name, kernel)| is_member(name, kernel.as_ref())).collect();
        let answers = self.kernels.keys().zip(answers);
        if answers.clone().eq(subject.segments.iter().map(|(name, is)| (name, *is))) {
            return (Arc::clone(&subject.segments), failures);
        }
        (Arc::new(answers.map(|(name, is)| (name.clone(), is)).collect()), failures)
    }
}

/// The hash of each segment's own body and of everything that all of them share: constants, helpers, comments aside.
fn versions(tree: &AST, text: &str, common_text: &str) -> BTreeMap<String, String> {
    let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let offset = |at: Position| -> Option<usize> {
        let line = *lines.get(at.line()?.checked_sub(1)?)?;
        let column = at.position()?.checked_sub(1)?;
        text[line..].char_indices().nth(column).map(|(n, _)| line + n)
    };
    let public = tree.iter_fn_def().filter(|f| f.access == FnAccess::Public && !f.name.starts_with("anon$"));
    let body = |f: &Arc<ScriptFuncDef>| {
        // Where a place is not known the whole file stands for the body: rather too new a version than too old.
        let range = offset(f.body.start_position()).zip(offset(f.body.end_position())).filter(|(from, to)| from <= to);
        (f.name.to_string(), range.map_or(0..text.len(), |(from, to)| from..to))
    };
    let bodies: Vec<(String, Range<usize>)> = public.map(body).collect();
    let inside = |at: usize| bodies.iter().any(|(_, range)| range.contains(&at));
    let outside: String = text.char_indices().filter(|(at, _)| !inside(*at)).map(|(_, c)| c).collect();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let shared: Vec<&str> = outside.lines().filter(is_code).collect();
    let shared = shared.join("\n");
    let hash = |range: Range<usize>| short_hash(&[text[range].as_bytes(), shared.as_bytes(), common_text.as_bytes()]);
    bodies.into_iter().map(|(name, range)| (name, hash(range))).collect()
}

fn names(tree: &AST) -> BTreeSet<String> {
    let functions = tree.iter_functions();
    functions
        .filter(|f| f.access == FnAccess::Public && !f.name.starts_with("anon$"))
        .map(|f| f.name.to_owned())
        .collect()
}
