//! `rekindle tasks` and `rekindle quarantine`

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{print_json, table};
use super::{Ended, Listing, local, look};
use crate::stores::{Log, ReadStore};

/// Look at the tasks that rules opened for people.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    #[command(subcommand)]
    what: TasksWhat,
}

#[derive(Debug, Subcommand)]
enum TasksWhat {
    /// List open tasks, newest first.
    #[command(after_help = "Example:\n  rekindle tasks list --json")]
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Tasks {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let TasksWhat::List { limit, listing } = self.what;
        let (config, files) = look(&listing.common).await?;
        let tasks = files.store.open_tasks(limit).await?;
        if listing.json {
            let tasks = tasks.iter().map(|t| {
                json!({ "delivery": t.delivery, "customer": t.customer, "rule": t.rule, "title": t.title,
                        "details": t.details, "created_at": t.created_at.to_string() })
            });
            print_json(&tasks.collect());
        } else {
            let row = |t: &crate::stores::Task| {
                vec![local(t.created_at, &config), t.rule.clone(), t.title.clone(), t.customer.to_string()]
            };
            println!("{}", table(&["OPENED", "RULE", "TASK", "CUSTOMER"], &tasks.iter().map(row).collect::<Vec<_>>()));
        }
        Ok(Ended::Well)
    }
}

/// Look at records that could not be used.
#[derive(Debug, Args)]
pub(super) struct Quarantine {
    #[command(subcommand)]
    what: QuarantineWhat,
}

#[derive(Debug, Subcommand)]
enum QuarantineWhat {
    /// Count them by source and reason.
    #[command(after_help = "Example:\n  rekindle quarantine list --json")]
    List {
        #[command(flatten)]
        listing: Listing,
    },
}

impl Quarantine {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let QuarantineWhat::List { listing } = self.what;
        let (_, files) = look(&listing.common).await?;
        let counts = files.log.quarantine_counts().await?;
        if listing.json {
            print_json(&counts.iter().map(|(s, r, n)| json!({ "source": s, "reason": r, "n": n })).collect());
        } else {
            let rows: Vec<_> = counts.into_iter().map(|(s, r, n)| vec![s, r, n.to_string()]).collect();
            println!("{}", table(&["SOURCE", "REASON", "N"], &rows));
        }
        Ok(Ended::Well)
    }
}
