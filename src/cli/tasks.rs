//! `rekindle tasks`

use clap::{Args, Subcommand};
use serde_json::json;

use super::beside::now;
use super::output::{print_json, table};
use super::{Ended, Listing, local, look};
use crate::domain::id::DeliveryId;
use crate::stores::sqlite::{Access, SqliteFiles};
use crate::stores::{OperatorStore, ReadStore};

/// Look at the tasks that rules opened for people, and say which are done.
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
    /// Take a task off the list.
    #[command(after_help = "Example:\n  rekindle tasks done dlv_01…")]
    Done {
        /// The delivery that opened it, as `tasks list --json` shows it.
        task: DeliveryId,
        #[command(flatten)]
        listing: Listing,
    },
    /// Put a task back on the list.
    #[command(after_help = "Example:\n  rekindle tasks reopen dlv_01…")]
    Reopen {
        /// The delivery that opened it.
        task: DeliveryId,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Tasks {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let (limit, listing) = match self.what {
            TasksWhat::List { limit, listing } => (limit, listing),
            TasksWhat::Done { task, listing } => return settle(task, true, &listing).await,
            TasksWhat::Reopen { task, listing } => return settle(task, false, &listing).await,
        };
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
                vec![
                    local(t.created_at, &config),
                    t.rule.clone(),
                    t.title.clone(),
                    t.customer.to_string(),
                    t.delivery.to_string(),
                ]
            };
            println!(
                "{}",
                table(&["OPENED", "RULE", "TASK", "CUSTOMER", "ID"], &tasks.iter().map(row).collect::<Vec<_>>())
            );
        }
        Ok(Ended::Well)
    }
}

async fn settle(task: DeliveryId, done: bool, listing: &Listing) -> anyhow::Result<Ended> {
    let (config, looked) = look(&listing.common).await?;
    looked.close().await;
    let files = SqliteFiles::open(&config.store.path, Access::Beside).await?;
    let changed = files.store.settle_task(task, done.then(now)).await?;
    files.close().await;
    if !changed {
        let state = if done { "open" } else { "done" };
        anyhow::bail!("there is no {state} task {task}; `rekindle tasks list` shows the open ones");
    }
    if listing.json {
        print_json(&json!({ "task": task, "done": done }));
    } else {
        println!("{task} is {}", if done { "done" } else { "open again" });
    }
    Ok(Ended::Well)
}
