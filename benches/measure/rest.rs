//! An import of real data, an idle daemon, and what the build makes of it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::daemon::{House, binary, scratch};
use crate::report::Bar;
use crate::rules;

const IDLE: Duration = Duration::from_secs(30);

/// `online_retail.csv.gz`, 541,909 rows, imported by the configuration that the guide shows.
pub(crate) fn import() -> anyhow::Result<Vec<Bar>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var("REKINDLE_DATA").map_or_else(|_| root.join("../shared/data"), PathBuf::from);
    let file = folder.join("online_retail.csv.gz");
    ensure!(file.exists(), "online_retail.csv.gz is not in the folder that REKINDLE_DATA names");
    let dir = tempfile::Builder::new().prefix("import").tempdir_in(scratch())?;
    let started = Instant::now();
    let status = Command::new(binary())
        .args(["import", "--json", "--config"])
        .arg(root.join("docs/guide/examples/online_retail.toml"))
        .arg("--file")
        .arg(&file)
        .env("REKINDLE__STORE__PATH", dir.path().join("data"))
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "the import failed ({status})");
    Ok(vec![Bar::under("import of Online Retail (541,909 rows), scored", started.elapsed().as_secs_f64(), 30.0, "s")])
}

/// Nothing to do: how much of one core that takes. And how large the binary is.
pub(crate) fn idle() -> anyhow::Result<Vec<Bar>> {
    let sections = "[webhook]\nkind = \"journal\"\npath = \"webhooks.jsonl\"\nendpoints = [\"crm\"]\n";
    let house = House::build(sections, true, &rules::fifteen())?;
    let (daemon, _) = house.start()?;
    std::thread::sleep(Duration::from_secs(3));
    let before = daemon.cpu_seconds();
    std::thread::sleep(IDLE);
    let percent = (daemon.cpu_seconds() - before) / IDLE.as_secs_f64() * 100.0;
    let resident = daemon.memory().resident;
    let bytes = u32::try_from(std::fs::metadata(binary())?.len())?;
    Ok(vec![
        Bar::under("idle daemon with 20 rules", percent, 0.5, "% of a core")
            .with(&format!("{resident:.0} MB resident")),
        Bar::under("release binary", f64::from(bytes) / 1e6, 30.0, "MB"),
    ])
}

/// A release build from nothing, dependencies included.
pub(crate) fn build() -> anyhow::Result<Vec<Bar>> {
    let dir = tempfile::Builder::new().prefix("build").tempdir_in(scratch())?;
    let started = Instant::now();
    let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["build", "--release", "--locked", "--quiet", "--bin", "rekindle", "--target-dir"])
        .arg(dir.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(vec![Bar::under("release build from nothing", started.elapsed().as_secs_f64() / 60.0, 10.0, "min")])
}
