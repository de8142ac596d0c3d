//! `rekindle tasks` and `rekindle quarantine`

use clap::{Args, Subcommand};
use serde_json::json;

use super::customers::find;
use super::output::{print_json, table};
use super::page::Paging;
use super::{Ended, Listing, local, look};
use crate::stores::listing::{ListStore, TaskFilter};
use crate::stores::{Log, Task};

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
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Only about this customer: id, email or customer number.
        #[arg(long)]
        customer: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
}

impl Tasks {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let TasksWhat::List { rule, customer, paging } = self.what;
        let (config, files) = paging.look().await?;
        let customer = match customer {
            Some(text) => Some(find(&files.store, &text).await?.customer),
            None => None,
        };
        let filter = TaskFilter { rule, customer, after: paging.after()?, limit: paging.fetch() };
        let page = paging.page(files.store.list_tasks(&filter).await?, |t| t.delivery);
        let row =
            |t: &Task| vec![local(t.created_at, &config), t.rule.clone(), t.title.clone(), t.customer.to_string()];
        let item = |t: &Task| {
            json!({ "delivery": t.delivery, "customer": t.customer, "rule": t.rule, "title": t.title,
                    "details": t.details, "created_at": t.created_at.to_string() })
        };
        paging.print(&page, &["OPENED", "RULE", "TASK", "CUSTOMER"], row, item);
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
