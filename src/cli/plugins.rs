//! `rekindle plugins`

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{print_json, table};
use super::{Ended, Listing, load_config};
use crate::connectors::plugin::testing::{FixtureReport, run_fixtures};
use crate::connectors::plugin::{Loaded, load, load_all};
use crate::domain::diagnostic::Severity;

/// List, check and test plugins: folders that teach rekindle the records of one system.
#[derive(Debug, Args)]
pub(super) struct Plugins {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the plugins that there are, and which of them can be used.
    #[command(after_help = "Example:\n  rekindle plugins list")]
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Check plugin.toml and map.rhai: everything that is wrong, with file, line, column and help.
    #[command(after_help = "Example:\n  rekindle plugins check shopify\n\nExit code 1 when there are errors.")]
    Check {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Run the fixtures: records, and all that must come of them.
    #[command(after_help = "Example:\n  rekindle plugins test shopify\n\nExit code 1 when a fixture fails.")]
    Test {
        #[command(flatten)]
        chosen: Chosen,
        /// Write down what came out as what is expected; read the difference before you commit it.
        #[arg(long)]
        update: bool,
    },
}

#[derive(Debug, Args)]
struct Chosen {
    /// Only this plugin.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

impl Chosen {
    fn load(&self, folder: &Path) -> Vec<Loaded> {
        self.name.as_ref().map_or_else(|| load_all(folder), |name| vec![load(folder, name)])
    }
}

impl Plugins {
    pub(super) fn run(self) -> anyhow::Result<Ended> {
        let listing = match &self.action {
            Action::List { listing } => listing,
            Action::Check { chosen } | Action::Test { chosen, .. } => &chosen.listing,
        };
        let folder = load_config(&listing.common.config)?.files.plugins;
        match &self.action {
            Action::List { listing } => Ok(list(&load_all(&folder), listing.json)),
            Action::Check { chosen } => Ok(check(&chosen.load(&folder), chosen.listing.json)),
            Action::Test { chosen, update } => test(&chosen.load(&folder), &folder, *update, chosen.listing.json),
        }
    }
}

fn list(all: &[Loaded], as_json: bool) -> Ended {
    if as_json {
        let plugins = all.iter().map(|one| {
            let manifest = one.plugin.as_ref().map(|plugin| &plugin.manifest);
            json!({ "name": one.name, "usable": one.plugin.is_some(), "manifest": manifest })
        });
        print_json(&plugins.collect());
        return Ended::Well;
    }
    let row = |one: &Loaded| match &one.plugin {
        Some(plugin) => {
            let manifest = &plugin.manifest;
            vec![one.name.clone(), manifest.version.clone(), manifest.format.as_str().into(), manifest.record.clone()]
        }
        None => vec![one.name.clone(), "-".into(), "-".into(), "cannot be used; `rekindle plugins check`".into()],
    };
    println!("{}", table(&["NAME", "VERSION", "READS", "A RECORD IS"], &all.iter().map(row).collect::<Vec<_>>()));
    Ended::Well
}

fn check(all: &[Loaded], as_json: bool) -> Ended {
    let diagnostics: Vec<_> = all.iter().flat_map(|one| &one.diagnostics).collect();
    let n_errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let n_warnings = diagnostics.len() - n_errors;
    if as_json {
        print_json(&json!({ "errors": n_errors, "warnings": n_warnings, "diagnostics": diagnostics }));
    } else {
        for diagnostic in &diagnostics {
            println!("{diagnostic}\n");
        }
        println!("{} plugins: {n_errors} errors, {n_warnings} warnings", all.len());
    }
    if n_errors == 0 { Ended::Well } else { Ended::FoundWrong }
}

fn test(all: &[Loaded], folder: &Path, update: bool, as_json: bool) -> anyhow::Result<Ended> {
    let mut reports = Vec::new();
    let mut broken = Vec::new();
    for one in all {
        match &one.plugin {
            Some(plugin) => reports.extend(run_fixtures(plugin, &folder.join(&one.name), update)),
            None => broken.push(one),
        }
    }
    let n_failed = reports.iter().filter(|report| !report.passed()).count();
    let diagnostics: Vec<_> = broken.iter().flat_map(|one| &one.diagnostics).collect();
    if as_json {
        print_json(
            &json!({ "failed": n_failed, "fixtures": serde_json::to_value(&reports)?, "diagnostics": diagnostics }),
        );
    } else {
        for report in &reports {
            println!("{report}");
        }
        for diagnostic in &diagnostics {
            println!("{diagnostic}\n");
        }
        let n_passed = reports.iter().filter(|report| FixtureReport::passed(report)).count();
        println!("{n_passed} fixtures passed, {n_failed} failed, {} plugins cannot be used", broken.len());
    }
    Ok(if n_failed == 0 && broken.is_empty() { Ended::Well } else { Ended::FoundWrong })
}
