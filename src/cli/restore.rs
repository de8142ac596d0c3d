//! `rekindle backup restore`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::backup::{claim_empty, copy_folder, inspect};
use super::output::{grouped, print_json};
use super::{Ended, environment};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock};
use crate::stores::sqlite::doubt_what_was_due;

/// Folders in folders below `rules` and `templates`.
const MAX_DEPTH: usize = 8;

/// Make an installation of a backup, in a new folder. What may have been sent after the backup is `unknown` in it, and is
/// not sent again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle backup restore /backup/2026-06-01 --to /srv/rekindle")]
pub(super) struct Restore {
    /// The backup.
    folder: PathBuf,
    /// A folder that does not exist yet, or is empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The backup is of a daemon that was stopped and has not run since: what was due is still due.
    #[arg(long)]
    resume: bool,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let (manifest, problems) = inspect(&self.folder).await?;
        if !problems.is_empty() {
            anyhow::bail!("{} is not to be relied on: {}", self.folder.display(), problems.join("; "));
        }
        if self.resume && !manifest.stopped {
            anyhow::bail!(
                "{} was made while the daemon ran, so nobody knows what it sent afterwards; restore it without --resume",
                self.folder.display()
            );
        }
        claim_empty(&self.to)?;
        let data = self.to.join("data");
        fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
        for (from, to) in [
            ("config.toml", self.to.join("config.toml")),
            ("log.db", data.join("log.db")),
            ("store.db", data.join("store.db")),
        ] {
            fs::copy(self.folder.join(from), &to).with_context(|| format!("cannot write {}", to.display()))?;
            fs::File::open(&to)
                .and_then(|file| file.sync_all())
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
        for name in ["rules", "templates", "plugins"] {
            if self.folder.join(name).is_dir() {
                copy_folder(&self.folder.join(name), &self.to.join(name), MAX_DEPTH)?;
            }
        }
        let n_unknown = if self.resume {
            0
        } else {
            let reason = format!("restored from a backup of {}; it may have been sent since", manifest.made_at);
            doubt_what_was_due(&data, &reason, SystemClock.now()).await?
        };
        let elsewhere = elsewhere(&self.to, &data);
        if self.json {
            print_json(&json!({ "to": self.to, "made_at": manifest.made_at, "n_unknown": n_unknown,
                                "resumed": self.resume, "to_change": elsewhere }));
            return Ok(Ended::Well);
        }
        println!("the backup of {} is restored in {}", manifest.made_at, self.to.display());
        if self.resume {
            println!("what was due is due");
        } else {
            println!(
                "{} deliveries that may have been sent since are unknown now, and are not sent",
                grouped(n_unknown)
            );
            println!("what became due since is settled the same way at the first start");
        }
        for change in elsewhere {
            println!("before you start it: {change}");
        }
        Ok(Ended::Well)
    }
}

/// Where the restored configuration leads out of the restored folder.
fn elsewhere(to: &Path, data: &Path) -> Vec<String> {
    let path = to.join("config.toml");
    let config = match Config::load(&path, &environment()) {
        Ok(config) => config,
        Err(problems) => return problems.iter().map(ToString::to_string).collect(),
    };
    let places = [
        ("[store] path", config.store.path, data.to_owned()),
        ("[files] rules", config.files.rules, to.join("rules")),
        ("[files] templates", config.files.templates, to.join("templates")),
        ("[files] plugins", config.files.plugins, to.join("plugins")),
    ];
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let other = places.into_iter().filter(|(_, set, restored)| restored.exists() && real(set) != real(restored));
    let change = other.map(|(key, set, restored)| {
        format!("`{key}` in {} is {}; set it to {}", path.display(), set.display(), restored.display())
    });
    change.collect()
}
