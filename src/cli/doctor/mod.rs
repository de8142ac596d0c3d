//! `rekindle doctor`: what is wrong with an installation, and what to do about it. It changes nothing and sends nothing.
//!
//! `files` looks at the disk, `work` at what the daemon does, `written` at what people wrote, `outside` at what is beyond
//! this machine. A check that cannot be made is a finding and never the end of the others.

use std::fmt::Display;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::output::print_json;
use super::page::now;
use super::{Ended, Listing, environment};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::stores::sqlite::{Access, SqliteFiles};

mod files;
mod outside;
mod work;
mod written;

/// Look for everything that is wrong with this installation, and say what to do about it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle doctor --config config.toml\n\nExit code 1 when a check says FAIL.")]
pub(super) struct Doctor {
    #[command(flatten)]
    listing: Listing,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do; none where all is well.
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Check { verdict: Verdict::Fail, ..Check::warn(name, found, remedy) }
    }

    /// A check that could not be made.
    fn of<E: Display>(name: &'static str, made: Result<Check, E>) -> Self {
        made.unwrap_or_else(|error| {
            Check::fail(
                name,
                format!("could not be looked at: {error:#}"),
                "see `store` above; with it sound, this is a fault of rekindle's",
            )
        })
    }
}

/// An opened installation.
struct Patient<'a> {
    config: &'a Config,
    files: &'a SqliteFiles,
    now: Timestamp,
    /// Whether a daemon has the folder.
    is_running: bool,
}

impl Doctor {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let checks = self.checks().await;
        let n = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
        let (n_fail, n_warn) = (n(Verdict::Fail), n(Verdict::Warn));
        if self.listing.json {
            print_json(&json!({ "checks": checks, "fail": n_fail, "warn": n_warn }));
        } else {
            for check in &checks {
                let verdict = match check.verdict {
                    Verdict::Ok => "ok  ",
                    Verdict::Warn => "warn",
                    Verdict::Fail => "FAIL",
                };
                println!("{verdict}  {:<10} {}", check.name, check.found);
                if let Some(remedy) = &check.remedy {
                    println!("      {:<10} -> {remedy}", "");
                }
            }
            println!("{} checks: {n_fail} failed, {n_warn} warnings", checks.len());
        }
        Ok(if n_fail == 0 { Ended::Well } else { Ended::FoundWrong })
    }

    async fn checks(&self) -> Vec<Check> {
        let path = &self.listing.common.config;
        let config = match Config::load(path, &environment()) {
            Ok(config) => config,
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(|p| p.to_string().replace("\n  help: ", "; ")).collect();
                return vec![Check::fail(
                    "config",
                    lines.join("\n                 "),
                    "repair the file; nothing else can be looked at without it",
                )];
            }
        };
        let mut checks = vec![Check::ok("config", format!("{} is sound", path.display()))];
        checks.push(files::folder(&config));
        checks.push(files::disk(&config));
        let daemon = files::daemon(&config).await;
        let is_running = crate::stores::sqlite::holder(&config.store.path).is_some();
        if config.store.path.join("store.db").exists() {
            let sound = files::sound(&config).await;
            let can_be_read = sound.iter().all(|check| check.verdict != Verdict::Fail);
            checks.extend(sound);
            checks.push(daemon);
            if can_be_read {
                checks.extend(data(&config, is_running).await);
            }
        }
        checks.extend(written::checks(&config));
        checks.extend(outside::checks(&config).await);
        checks
    }
}

async fn data(config: &Config, is_running: bool) -> Vec<Check> {
    let opened = async {
        let files = SqliteFiles::open(&config.store.path, Access::Look).await?;
        let now = now(&files.store).await?;
        anyhow::Ok((files, now))
    };
    match opened.await {
        Ok((files, now)) => work::checks(&Patient { config, files: &files, now, is_running }).await,
        Err(error) => {
            vec![Check::fail("store", format!("{error:#}"), "restore the folder from a backup, or repair the files")]
        }
    }
}
