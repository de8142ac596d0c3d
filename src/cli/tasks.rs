//! `rekindle tasks`

use clap::{Args, Subcommand};
use serde_json::json;

use super::beside::now;
use super::output::print_json;
use super::page::{Paging, Whose};
use super::{Ended, Listing, local, look};
use crate::domain::id::DeliveryId;
use crate::stores::listing::{ListStore, TaskFilter};
use crate::stores::sqlite::{Access, SqliteFiles};
use crate::stores::{OperatorStore, Task};

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
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        paging: Paging,
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
        let (rule, whose, paging) = match self.what {
            TasksWhat::List { rule, whose, paging } => (rule, whose, paging),
            TasksWhat::Done { task, listing } => return settle(task, true, &listing).await,
            TasksWhat::Reopen { task, listing } => return settle(task, false, &listing).await,
        };
        let (config, files) = paging.look().await?;
        let customer = whose.customer(&files.store).await?;
        let filter = TaskFilter { rule, customer, after: paging.after()?, limit: paging.fetch() };
        let page = paging.page(files.store.list_tasks(&filter).await?, |t| t.delivery);
        let row = |t: &Task| {
            let (customer, id) = (t.customer.to_string(), t.delivery.to_string());
            vec![local(t.created_at, &config), t.rule.clone(), t.title.clone(), customer, id]
        };
        let item = |t: &Task| {
            json!({ "delivery": t.delivery, "customer": t.customer, "rule": t.rule, "title": t.title,
                    "details": t.details, "created_at": t.created_at.to_string() })
        };
        paging.print(&page, &["OPENED", "RULE", "TASK", "CUSTOMER", "ID"], row, item);
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
