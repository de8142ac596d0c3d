//! `rekindle rebuild`

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::output::{bar, grouped, print_json};
use super::{Common, Ended, load_config};
use crate::daemon::context_of;
use crate::domain::clock::SystemClock;
use crate::pipeline::rebuild::derive_again;
use crate::stores::sqlite::{Access, Difference, SqliteFiles, compare, copy_store, is_owned, take_over};
use crate::stores::{ReadStore, Store};

/// Where everything is derived again, beside the store.
const FOLDER: &str = "rebuild";

/// Derive everything from the events again, prove that it is what is stored, and take it over where it is not. Sends
/// nothing and decides nothing; the ledger stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle rebuild --check\n  rekindle rebuild")]
pub(super) struct Rebuild {
    #[command(flatten)]
    common: Common,
    /// Only compare, also beside a running daemon; take nothing over.
    #[arg(long)]
    check: bool,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let config = load_config(&self.common.config)?;
        let dir = &config.store.path;
        let folder = dir.join(FOLDER);
        let owned = is_owned(dir);
        if owned && !self.check {
            anyhow::bail!(
                "{} is in use, and what was derived again cannot be taken over under a running daemon; stop it, or only \
                 compare with --check",
                dir.display()
            );
        }
        let files = SqliteFiles::open(dir, if self.check { Access::Look } else { Access::Own }).await?;
        // A rebuild that was killed leaves its folder behind.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        let done = self.rebuild(&config, files, &folder, owned).await;
        drop(std::fs::remove_dir_all(&folder));
        done
    }

    async fn rebuild(
        &self,
        config: &crate::config::Config,
        files: SqliteFiles,
        folder: &Path,
        owned: bool,
    ) -> anyhow::Result<Ended> {
        // Beside a daemon the store moves on: one instant of it is compared.
        let (stored, files) = if owned {
            let instant = folder.join("instant");
            copy_store(&config.store.path, &instant).await?;
            files.close().await;
            (instant.clone(), SqliteFiles::open(&instant, Access::Own).await?)
        } else {
            (config.store.path.clone(), files)
        };
        let fresh = SqliteFiles::open(&folder.join("fresh"), Access::Own).await?;
        let total: u64 = files.store.event_counts().await?.values().sum();
        let deriving = bar(total, "deriving everything again");
        let from: Arc<dyn Store> = Arc::new(files.store.clone());
        let into: Arc<dyn Store> = Arc::new(fresh.store.clone());
        let context = context_of(config)?;
        derive_again(from, into, Arc::new(SystemClock), context, |n| deriving.set_position(n)).await?;
        deriving.finish_and_clear();
        fresh.close().await;

        let fresh = folder.join("fresh").join("store.db");
        let mut differences: Vec<Difference> = Vec::new();
        let mut n = 0u64;
        compare(&stored.join("store.db"), &fresh, |difference| {
            n += 1;
            if self.json {
                differences.push(difference);
            } else {
                println!("{}", in_words(&difference));
            }
        })
        .await?;
        let take = n > 0 && !self.check;
        if take {
            take_over(&files, &fresh).await?;
        }
        files.close().await;
        if self.json {
            let rows = differences
                .iter()
                .map(|d| json!({ "of": d.of, "field": d.field, "stored": d.stored, "derived": d.derived }));
            print_json(&json!({ "n_events": total, "equal": n == 0, "taken_over": take,
                                "differences": rows.collect::<Vec<_>>() }));
        } else {
            let events = grouped(total);
            match (n, take) {
                (0, _) => println!("{events} events derived again: everything is as it is stored"),
                (n, true) => println!("{events} events derived again: {} differences, now as derived", grouped(n)),
                (n, false) => {
                    println!("{events} events derived again: {} differences; nothing was changed", grouped(n));
                }
            }
        }
        Ok(if n == 0 { Ended::Well } else { Ended::FoundWrong })
    }
}

fn in_words(d: &Difference) -> String {
    let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    let what = format!("{} {}", d.of, d.field);
    format!("{}: stored {}, derived {}", what.trim(), shown(&d.stored), shown(&d.derived))
}
