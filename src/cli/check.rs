//! `rekindle check`

use clap::Args;
use serde_json::json;

use super::output::print_json;
use super::{Ended, Listing, load_config};
use crate::connectors::plugin::load_all;
use crate::daemon::read_written;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::diagnostic::Severity;
use crate::domain::rule::Trigger;
use crate::schedule::Schedule;

/// Check configuration, rules, segments, templates and plugins: everything that is wrong, with file, line, column and help.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle check --config config.toml\n\nExit code 1 when there are errors.")]
pub(super) struct Check {
    #[command(flatten)]
    listing: Listing,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<Ended> {
        let config = load_config(&self.listing.common.config)?;
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        let mut written = read_written(&config, None);
        written.diagnostics.extend(load_all(&config.files.plugins).into_iter().flat_map(|one| one.diagnostics));
        let n_errors = written.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let n_warnings = written.diagnostics.len() - n_errors;
        let rules: Vec<_> = written.book.rules().collect();
        let now = SystemClock.now();
        let runs = |trigger: &Trigger| match trigger {
            Trigger::Schedule { cron } => Schedule::parse(cron, business.zone.clone())
                .map(|s| s.upcoming(now, 3).iter().map(|t| super::local(*t, &config)).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        if self.listing.json {
            let rules: Vec<_> = rules
                .iter()
                .map(|r| json!({ "id": r.id, "version": r.version, "trigger": r.card.trigger, "next_runs": runs(&r.card.trigger) }))
                .collect();
            print_json(&json!({
                "errors": n_errors, "warnings": n_warnings, "diagnostics": written.diagnostics, "rules": rules,
                "segments": written.book.segment_names().collect::<Vec<_>>(),
            }));
        } else {
            for diagnostic in &written.diagnostics {
                println!("{diagnostic}\n");
            }
            for rule in &rules {
                println!("{:<22} {}", rule.id, rule.card.trigger);
                let runs = runs(&rule.card.trigger);
                if !runs.is_empty() {
                    println!("{:<22} next {} ({})", "", runs.join(", "), config.business.time_zone);
                }
            }
            let n_segments = written.book.segment_names().count();
            let n_templates = written.templates.cards().len();
            println!(
                "{} rules, {n_segments} segments, {n_templates} templates: {n_errors} errors, {n_warnings} warnings",
                rules.len()
            );
        }
        Ok(if n_errors == 0 { Ended::Well } else { Ended::FoundWrong })
    }
}
