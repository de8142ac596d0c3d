//! `rekindle why-not`: the first thing that stops a rule for a customer, with the value that stands against it and what
//! would have to change. `ask` goes the rule's way with the pipeline's own code; `words` says what it met.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::output::print_json;
use super::page::Moment;
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::id::CustomerId;
use crate::rules::SaidNo;

mod ask;
mod words;

/// Say why a rule does nothing for a customer: the first thing that stops it, and what would have to change.
///
/// A scheduled rule is asked as at its next run; a rule that waits for an event or a segment as at the last time when that
/// happened. `--at` asks as at another instant, with what was known then.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rekindle why-not ana@example.com win_back\n\nExit code 1 when there is no such rule or customer, or the rule is broken."
)]
pub(super) struct WhyNot {
    /// A customer id (`cus_…`), an email address or one of your own customer numbers.
    customer: String,
    /// A rule's name.
    rule: String,
    /// As at this instant: 2026-03-01T09:00 (the business's clock) or 2026-03-01T08:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    at: Option<Moment>,
    #[command(flatten)]
    listing: Listing,
}

impl WhyNot {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let (config, files) = look(&self.listing.common).await?;
        let at = self.at.as_ref().map(|moment| moment.at(&config)).transpose()?;
        let answer = ask::ask(&files.store, &config, &self.customer, &self.rule, at).await?;
        if self.listing.json {
            print_json(&answer.json());
        } else {
            println!("{}", answer.text(&config)?.trim_end());
        }
        Ok(if answer.stop.is_mistake() { Ended::FoundWrong } else { Ended::Well })
    }
}

/// What stands in the way, or that nothing does.
#[derive(Debug, Default)]
struct Stop {
    /// A word to count by; `nothing` where nothing does.
    by: &'static str,
    /// What it is, with its value.
    what: String,
    /// What would have to change.
    change: String,
    /// The part of a condition.
    part: Option<Box<SaidNo>>,
    /// What is wrong with a broken rule.
    diagnostics: Vec<Diagnostic>,
}

impl Stop {
    fn new(by: &'static str, what: impl Into<String>, change: impl Into<String>) -> Self {
        Stop { by, what: what.into(), change: change.into(), ..Stop::default() }
    }

    /// With the part of a condition that it comes down to.
    fn at(self, part: Option<SaidNo>) -> Self {
        Stop { part: part.map(Box::new), ..self }
    }

    /// The question itself was wrong.
    fn is_mistake(&self) -> bool {
        matches!(self.by, "no_such_rule" | "rule_broken" | "unknown_customer")
    }
}

/// The whole answer.
#[derive(Debug, Default)]
struct Answer {
    rule: String,
    version: Option<String>,
    customer: Option<CustomerId>,
    name: String,
    /// As at when it was asked.
    at: Option<Timestamp>,
    /// What that instant is.
    occasion: String,
    stop: Stop,
    /// When the rule is asked next.
    next: Option<Timestamp>,
    notes: Vec<String>,
}

impl Answer {
    fn json(&self) -> Value {
        json!({
            "rule": self.rule, "version": self.version, "customer": self.customer,
            "asked_at": self.at.map(|at| at.to_string()), "occasion": self.occasion,
            "stopped_by": self.stop.by, "what": self.stop.what, "change": self.stop.change,
            "condition": self.stop.part.as_deref().map(part_json), "diagnostics": self.stop.diagnostics,
            "next_run": self.next.map(|at| at.to_string()), "notes": self.notes,
        })
    }

    fn text(&self, config: &Config) -> Result<String, std::fmt::Error> {
        let mut out = self.rule.clone();
        if let Some(customer) = self.customer {
            write!(out, " for {}", format!("{} ({customer})", self.name).trim_start())?;
        }
        if let Some(at) = self.at {
            write!(out, ", asked as at {}", local(at, config))?;
        }
        writeln!(out)?;
        if !self.occasion.is_empty() {
            writeln!(out, "  {}", self.occasion)?;
        }
        writeln!(out)?;
        match self.stop.by {
            "nothing" => writeln!(out, "Nothing stops it")?,
            by => writeln!(out, "Stopped by: {}", by.replace('_', " "))?,
        }
        writeln!(out, "  {}", self.stop.what)?;
        for diagnostic in &self.stop.diagnostics {
            writeln!(out, "{diagnostic}")?;
        }
        let mut part = self.stop.part.as_deref();
        while let Some(no) = part {
            write_part(&mut out, no)?;
            part = no.inside.as_deref();
        }
        if !self.stop.change.is_empty() {
            writeln!(out, "\nWhat would have to change\n  {}", self.stop.change)?;
        }
        if let Some(next) = self.next {
            writeln!(out, "\nNext asked at {} ({})", local(next, config), config.business.time_zone)?;
        }
        for note in &self.notes {
            writeln!(out, "Note: {note}")?;
        }
        Ok(out)
    }
}

fn write_part(out: &mut String, no: &SaidNo) -> std::fmt::Result {
    writeln!(out, "\n  {}:{}:{}: {}", super::rules::file_name(&no.file), no.line, no.column, no.text)?;
    if let Some(error) = &no.error {
        writeln!(out, "    it failed: {error}")?;
    }
    for seen in &no.seen {
        writeln!(out, "    {:<36} {}", seen.what, super::why::shown(&seen.value))?;
    }
    if no.inside.is_none() && !no.missing.is_empty() {
        writeln!(out, "    {}", no.missing)?;
    }
    Ok(())
}

fn part_json(no: &SaidNo) -> Value {
    json!({
        "file": no.file, "line": no.line, "column": no.column, "text": no.text, "saw": no.seen,
        "missing": no.missing, "error": no.error, "inside": no.inside.as_deref().map(part_json),
    })
}
