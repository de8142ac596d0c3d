//! Segments: every public function of `segments.rhai` names the set of customers for whom it is true.

use std::collections::BTreeSet;
use std::sync::Arc;

use rhai::{AST, Engine, FnAccess};

use super::check::{Kind, check};
use super::findings::Findings;
use super::host::run::{Phase, Run};
use super::program::Program;
use super::{Known, parse};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::subject::Subject;

/// The segments of one version of the file.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) names: BTreeSet<String>,
    program: Program,
}

impl Segments {
    /// Reads and checks the file. The names are those found, whether or not the file is sound: a broken file must not make
    /// every rule that names a segment look broken.
    pub(super) fn load(
        mut engine: Engine,
        path: &str,
        text: &str,
        known: &Known<'_>,
        findings: &mut Findings,
    ) -> (Option<Self>, BTreeSet<String>) {
        let tree = parse::parse(&mut engine, text, findings);
        let names = names(&tree);
        check(Kind::Segments, &tree, text, known, findings);
        if findings.has_errors() {
            return (None, names);
        }
        let entries: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        match Program::new(engine, &tree, path, &entries) {
            Ok(program) => (Some(Segments { names: names.clone(), program }), names),
            Err(failure) => {
                findings.add(failure.diagnostic());
                (None, names)
            }
        }
    }

    /// The segments that `subject` is in. Where a condition fails, membership stays as it was and the failure is reported:
    /// an error must not look like a customer who left.
    pub(super) fn of(&self, subject: &Subject) -> (BTreeSet<String>, Vec<Diagnostic>) {
        let run = Arc::new(Run::new(subject, Phase::Segment, false));
        let mut failures = Vec::new();
        let is_member = |name: &&String| {
            self.program.ask(name, &run, false).unwrap_or_else(|failure| {
                failures.push(failure.diagnostic());
                subject.segments.contains(*name)
            })
        };
        let members = self.names.iter().filter(is_member).cloned().collect();
        (members, failures)
    }
}

fn names(tree: &AST) -> BTreeSet<String> {
    let functions = tree.iter_functions();
    functions
        .filter(|f| f.access == FnAccess::Public && !f.name.starts_with("anon$"))
        .map(|f| f.name.to_owned())
        .collect()
}
