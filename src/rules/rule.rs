//! One rule: what its card states, and the pure functions that decide.

use std::sync::Arc;

use rhai::{AST, Engine};

use super::check::{Kind, check};
use super::findings::Findings;
use super::host::run::{Phase, Run};
use super::kernel::{Kernel, Sources};
use super::program::Program;
use super::{Known, card, parse};
use crate::domain::id::short_hash;
use crate::domain::rule::{Evaluation, RuleCard, Trigger};
use crate::domain::subject::Subject;
use crate::script::Failure;

/// A rule that passed every check. Immutable; may be asked from any number of threads.
#[derive(Debug)]
pub struct Rule {
    /// The file's name without its ending.
    pub id: String,
    /// Hash of its source and of the shared helpers. Recorded with every firing, part of no key.
    pub version: String,
    /// Its `//!` lines.
    pub description: String,
    /// The file, as diagnostics name it.
    pub path: String,
    /// What `RULE` states.
    pub card: RuleCard,
    pub(super) text: String,
    program: Program,
    kernel: Option<Kernel>,
    when_takes_event: bool,
    then_takes_event: bool,
}

/// A source file to make a rule of.
pub(super) struct Source<'a> {
    pub(super) id: &'a str,
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) common_text: &'a str,
    pub(super) common_tree: Option<&'a AST>,
}

impl Rule {
    /// Reads and checks `source`. Problems go to `findings`; with an error among them there is no rule.
    pub(super) fn load(
        mut engine: Engine,
        source: &Source<'_>,
        known: &Known<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let tree = parse::parse(&mut engine, source.text, findings);
        let found = card::find(tree.statements(), findings);
        // A card that could not be parsed has been reported as such; one in a comment has not.
        if found.is_none() && !(source.text.contains("const RULE") && findings.has_errors()) {
            let help = "write `const RULE = #{ trigger: daily(\"09:00\"), cooldown: days(30) };`".to_owned();
            findings.error(rhai::Position::NONE, "the file has no card", Some(help));
        }
        let card = found.and_then(|(value, at)| card::read(value, at, known, findings));
        // With a broken card the event's presence is unknown; then it is better not to complain of it.
        let has_event = card.as_ref().is_none_or(|card| matches!(card.trigger, Trigger::On { .. }));
        check(Kind::Rule { has_event }, &tree, source.text, known, findings);
        if findings.has_errors() {
            return None;
        }
        let (when, then) = (arity(&tree, "when"), arity(&tree, "then"));
        match Program::new(engine, &tree, source.path, &[("when", when), ("then", then)]) {
            Ok(program) => Some(Rule {
                id: source.id.to_owned(),
                version: short_hash(&[source.text.as_bytes(), source.common_text.as_bytes()]),
                description: description(&tree),
                path: source.path.to_owned(),
                card: card?,
                text: source.text.to_owned(),
                program,
                kernel: Kernel::compile(&Sources::new(&tree, source.common_tree, Phase::When), "when"),
                when_takes_event: when == 2,
                then_takes_event: then == 2,
            }),
            Err(failure) => {
                findings.add(failure.diagnostic());
                None
            }
        }
    }

    /// Whether `subject` belongs to those whom this rule is asked about.
    pub fn addresses(&self, subject: &Subject) -> bool {
        self.card.audience.as_ref().is_none_or(|audience| subject.is_in(audience))
    }

    /// Runs `when`, and `then` where that said yes. Pure: nothing is done, everything is noted. Audience, cooldown and
    /// consent are not its business.
    pub fn evaluate(&self, subject: &Subject) -> Evaluation {
        let run = Arc::new(Run::new(subject, Phase::When, true));
        let outcome = self.program.ask("when", &run, self.when_takes_event).and_then(|matched| {
            if matched {
                run.enter(Phase::Then);
                self.program.call("then", &run, self.then_takes_event).map(drop)?;
            }
            Ok(matched)
        });
        let (matched, failure) = match outcome {
            Ok(matched) => (matched, None),
            Err(failure) => (false, Some(failure)),
        };
        let (error, failed_at) = failure.map(|failure| (failure.to_string(), failure.place())).unzip();
        let actions = if matched { run.take_actions() } else { Vec::new() };
        Evaluation { matched, actions, trace: run.take_seen(), error, failed_at }
    }

    /// Whether `when` is compiled: then Rhai is asked only about those who match.
    pub fn is_compiled(&self) -> bool {
        self.kernel.is_some()
    }

    /// Whether the compiled `when` says no; `false` also where only Rhai can tell. [`Rule::evaluate`] then says, and explains.
    pub fn surely_not(&self, subject: &Subject) -> bool {
        self.kernel.as_ref().and_then(|kernel| kernel.ask(subject)) == Some(false)
    }

    /// Only `when`, without a trace: for sweeps, most of whose subjects do not match. [`Rule::evaluate`] then explains the
    /// ones that do.
    pub fn matches(&self, subject: &Subject) -> Result<bool, Failure> {
        if let Some(answer) = self.kernel.as_ref().and_then(|kernel| kernel.ask(subject)) {
            return Ok(answer);
        }
        self.program.ask("when", &Arc::new(Run::new(subject, Phase::When, false)), self.when_takes_event)
    }
}

fn arity(tree: &AST, name: &str) -> usize {
    tree.iter_functions().find(|function| function.name == name).map_or(1, |function| function.params.len())
}

/// The `//!` lines, without their marks.
fn description(tree: &AST) -> String {
    let lines = tree.doc().lines().map(|line| line.trim_start_matches("//!").trim());
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
