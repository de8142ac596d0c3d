//! `rekindle backup`: both files at one consistent point, what people wrote, and a manifest that says what is in it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::output::{grouped, print_json};
use super::restore::Restore;
use super::{Common, Ended, Listing, load_config};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock};
use crate::stores::sqlite::{Copied, copy_log, copy_store, examine, hold};

/// The manifest's file; written last, so a folder without it is no backup.
pub(super) const MANIFEST: &str = "manifest.json";
/// The form of the manifest. Another number is another version's.
const FORMAT: u32 = 1;
/// Folders in folders below `rules` and `templates`.
const MAX_DEPTH: usize = 8;

/// Copy an installation while it runs, look whether a copy is sound, and make an installation of a copy.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  rekindle backup --to /backup/2026-06-01")]
pub(super) struct Backup {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    common: Common,
    /// A folder that does not exist yet, or is empty.
    #[arg(long, value_name = "FOLDER", required = true)]
    to: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Look whether a backup is whole and sound; changes nothing.
    #[command(after_help = "Example:\n  rekindle backup verify /backup/2026-06-01")]
    Verify {
        /// The backup.
        folder: PathBuf,
        #[command(flatten)]
        listing: Listing,
    },
    Restore(Restore),
}

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The version that made it.
    rekindle: String,
    pub(super) made_at: String,
    /// Nobody ran on the folder, and nothing was under way: what is in the backup is all there was.
    pub(super) stopped: bool,
    position: i64,
    log_end: i64,
    log_migration: i64,
    store_migration: i64,
    n_open_deliveries: i64,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: String,
    n_bytes: u64,
    sha256: String,
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match (self.what, self.to) {
            (Some(What::Verify { folder, listing }), _) => verify(&folder, listing.json).await,
            (Some(What::Restore(restore)), _) => restore.run().await,
            (None, Some(to)) => make(&self.common, &to, self.json).await,
            (None, None) => anyhow::bail!("say where to with --to FOLDER"),
        }
    }
}

async fn make(common: &Common, to: &Path, json: bool) -> anyhow::Result<Ended> {
    let config = load_config(&common.config)?;
    let dir = &config.store.path;
    if !dir.join("store.db").exists() {
        anyhow::bail!("there is no rekindle data in {}; check `[store] path`", dir.display());
    }
    claim_empty(to)?;
    // Nobody may start while a stopped installation is copied.
    let held = hold(dir);
    copy_store(dir, to).await?;
    copy_log(dir, to).await?;
    copy_written(&config, &common.config, to)?;
    let copied = examine(to).await?;
    let manifest = Manifest {
        format: FORMAT,
        rekindle: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: SystemClock.now().to_string(),
        stopped: held.is_some() && copied.n_under_way == 0,
        position: copied.position,
        log_end: copied.log_end,
        log_migration: copied.versions.0,
        store_migration: copied.versions.1,
        n_open_deliveries: copied.n_open_deliveries,
        files: entries(to)?,
    };
    drop(held);
    let problems = problems_of(&copied);
    if !problems.is_empty() {
        anyhow::bail!("what was copied to {} is not sound: {}", to.display(), problems.join("; "));
    }
    let file = fs::File::create(to.join(MANIFEST)).context("the manifest cannot be written")?;
    serde_json::to_writer_pretty(&file, &manifest).context("the manifest cannot be written")?;
    file.sync_all().context("the manifest cannot be written")?;
    if json {
        print_json(&json!({ "folder": to, "manifest": manifest }));
    } else {
        let n_bytes: u64 = manifest.files.iter().map(|f| f.n_bytes).sum();
        println!("{} files, {} bytes in {}", manifest.files.len(), grouped(n_bytes), to.display());
        println!("derived up to {} of {} in the log", manifest.position, manifest.log_end);
        println!("{} deliveries had not come to an end", grouped(manifest.n_open_deliveries.unsigned_abs()));
        let state = if manifest.stopped { "the daemon was stopped" } else { "the daemon was running" };
        println!("{state}; `rekindle backup verify {}` looks whether it is whole", to.display());
    }
    Ok(Ended::Well)
}

/// Makes sure that nothing is overwritten.
pub(super) fn claim_empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() && fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.count() > 0
    {
        anyhow::bail!("{} is not empty, and nothing is overwritten; name a new folder", folder.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Customers are in it, and perhaps secrets in the configuration.
    let only_us = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(folder, only_us).with_context(|| format!("cannot keep others out of {}", folder.display()))
}

fn copy_written(config: &Config, config_file: &Path, to: &Path) -> anyhow::Result<()> {
    let kept = to.join("config.toml");
    fs::copy(config_file, &kept).with_context(|| format!("cannot copy {}", config_file.display()))?;
    let folders =
        [(&config.files.rules, "rules"), (&config.files.templates, "templates"), (&config.files.plugins, "plugins")];
    for (from, name) in folders {
        if from.is_dir() {
            copy_folder(from, &to.join(name), MAX_DEPTH)?;
        }
    }
    Ok(())
}

/// Files and folders; links and whatever else there may be are left out.
pub(super) fn copy_folder(from: &Path, to: &Path, depth: usize) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            copy_folder(&path, &to.join(entry.file_name()), depth - 1)?;
        } else if kind.is_file() {
            fs::copy(&path, to.join(entry.file_name())).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    list(folder, folder, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn list(base: &Path, folder: &Path, found: &mut Vec<Entry>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list(base, &path, found)?;
        } else if path != base.join(MANIFEST) {
            let (n_bytes, sha256) = hash(&path)?;
            let name = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Entry { path: name, n_bytes, sha256 });
        }
    }
    Ok(())
}

fn hash(path: &Path) -> anyhow::Result<(u64, String)> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = fs::File::open(path).with_context(cannot)?;
    let (mut hasher, mut buffer, mut n_bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let n = file.read(&mut buffer).with_context(cannot)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        n_bytes += n as u64;
    }
    let digits = hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write;
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    });
    Ok((n_bytes, digits))
}

/// What the copies themselves say against them.
fn problems_of(copied: &Copied) -> Vec<String> {
    let mut problems = copied.damage.clone();
    if copied.position > copied.log_end {
        let (position, end) = (copied.position, copied.log_end);
        problems.push(format!(
            "the store is derived up to {position}, but the log ends at {end}: they do not belong together"
        ));
    }
    if copied.n_lost > 0 {
        problems.push(format!("{} records that the store has not derived are no longer in the log", copied.n_lost));
    }
    problems
}

/// The manifest, and everything that is wrong with the backup.
pub(super) async fn inspect(folder: &Path) -> anyhow::Result<(Manifest, Vec<String>)> {
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{} has no {MANIFEST}, so it is no backup that was finished", folder.display()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| format!("{} cannot be read", path.display()))?;
    if manifest.format != FORMAT {
        anyhow::bail!(
            "{} was made by rekindle {}, in a form that this version does not know",
            folder.display(),
            manifest.rekindle
        );
    }
    let mut problems = Vec::new();
    let found = entries(folder)?;
    for entry in &manifest.files {
        match found.iter().find(|f| f.path == entry.path) {
            None => problems.push(format!("{} is missing", entry.path)),
            Some(f) if f.sha256 != entry.sha256 => problems.push(format!("{} is not what was backed up", entry.path)),
            Some(_) => {}
        }
    }
    let foreign = found.iter().filter(|f| !manifest.files.iter().any(|entry| entry.path == f.path));
    problems.extend(foreign.map(|f| format!("{} is no part of the backup", f.path)));
    if problems.is_empty() {
        let copied = examine(folder).await?;
        problems.extend(problems_of(&copied));
        if (copied.position, copied.log_end) != (manifest.position, manifest.log_end) {
            problems.push("the positions are not those of the manifest".to_owned());
        }
    }
    Ok((manifest, problems))
}

async fn verify(folder: &Path, json: bool) -> anyhow::Result<Ended> {
    let (manifest, problems) = inspect(folder).await?;
    if json {
        print_json(&json!({ "sound": problems.is_empty(), "problems": problems, "manifest": manifest }));
    } else {
        for problem in &problems {
            println!("{problem}");
        }
        let word = if problems.is_empty() { "whole and sound" } else { "not to be relied on" };
        println!("{}: made {} by rekindle {}, {word}", folder.display(), manifest.made_at, manifest.rekindle);
    }
    Ok(if problems.is_empty() { Ended::Well } else { Ended::FoundWrong })
}
