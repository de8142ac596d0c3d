//! `rekindle deliveries`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{print_json, visible};
use super::page::{Paging, Span, Whose};
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::id::DeliveryId;
use crate::stores::{DeliveryFilter, ReadStore, Store};

/// Look at the ledger: what was sent, what waits, what was not and why.
#[derive(Debug, Args)]
pub(super) struct Deliveries {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List deliveries, newest first; `--since` and `--until` go by when they were decided.
    #[command(after_help = "Example:\n  rekindle deliveries list --state unknown --json")]
    List {
        /// Only in this state: due, held, leased, committing, sent, failed, unknown, expired, dropped.
        #[arg(long)]
        state: Option<DeliveryState>,
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        #[command(flatten)]
        whose: Whose,
        /// Only on this channel: email, webhook, task, trait.
        #[arg(long)]
        channel: Option<String>,
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one delivery with its attempts.
    #[command(after_help = "Example:\n  rekindle deliveries show dlv_01…")]
    Show {
        /// Its id.
        delivery: DeliveryId,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Deliveries {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { state, rule, whose, channel, span, paging } => {
                let (config, files) = paging.look().await?;
                let customer = whose.customer(&files.store).await?;
                let (since, until) = span.ends(&config)?;
                let (after, limit) = (paging.after()?, paging.fetch());
                let filter = DeliveryFilter { state, rule, customer, channel, since, until, after, limit };
                let page = paging.page(files.store.list_deliveries(&filter).await?, |d| d.id);
                let headers = ["DELIVERY", "DECIDED", "STATE", "RULE", "WHAT", "REASON"];
                paging.print(&page, &headers, |d| row(d, &config), |d| in_json(d, &[]));
            }
            What::Show { delivery, listing } => {
                let (config, files) = look(&listing.common).await?;
                let d = load(&files.store, delivery).await?;
                let attempts = files.store.attempts_of(delivery).await?;
                if listing.json {
                    print_json(&in_json(&d, &attempts));
                    return Ok(Ended::Well);
                }
                println!("{}  {}", d.id, d.state);
                println!("  what      {} {}", d.action.channel(), visible(d.action.subject()));
                println!("  rule      {}, action {}", d.rule, d.step);
                println!("  customer  {}", d.customer);
                println!("  decided   {}", local(d.decided_at, &config));
                println!("  due       {}, of use until {}", local(d.due_at, &config), local(d.expires_at, &config));
                if let Some(reason) = &d.reason {
                    println!("  reason    {reason}");
                }
                for a in &attempts {
                    println!("  attempt {} {}  {}  {}", a.n, local(a.at, &config), a.outcome, a.detail);
                }
                println!("  `rekindle why {}` says how it came to be", d.id);
            }
        }
        Ok(Ended::Well)
    }
}

fn row(d: &Delivery, config: &Config) -> Vec<String> {
    let what = format!("{} {}", d.action.channel(), d.action.subject());
    let (decided, reason) = (local(d.decided_at, config), d.reason.clone().unwrap_or_default());
    vec![d.id.to_string(), decided, d.state.to_string(), d.rule.clone(), what, reason]
}

pub(super) async fn load(store: &dyn Store, id: DeliveryId) -> anyhow::Result<Delivery> {
    let found = store.delivery(id).await?;
    found.ok_or_else(|| anyhow::anyhow!("there is no delivery {id}; `rekindle deliveries list` shows what there is"))
}

pub(super) fn in_json(d: &Delivery, attempts: &[crate::stores::Attempt]) -> Value {
    json!({
        "id": d.id, "state": d.state, "rule": d.rule, "step": d.step, "customer": d.customer, "firing": d.firing,
        "action": d.action, "class": d.class, "topic": d.topic, "decided_at": d.decided_at.to_string(),
        "due_at": d.due_at.to_string(), "expires_at": d.expires_at.to_string(), "n_attempts": d.n_attempts,
        "settled_at": d.settled_at.map(|t| t.to_string()), "reason": d.reason, "receipt": d.receipt,
        "attempts": attempts.iter().map(|a| json!({
            "n": a.n, "at": a.at.to_string(), "outcome": a.outcome, "detail": a.detail,
        })).collect::<Vec<_>>(),
    })
}
