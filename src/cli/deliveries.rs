//! `rekindle deliveries`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::customers::find;
use super::output::{print_json, table, visible};
use super::{Ended, Listing, local, look};
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
    /// List deliveries, newest first.
    #[command(after_help = "Example:\n  rekindle deliveries list --state unknown --json")]
    List {
        /// Only in this state: due, held, leased, committing, sent, failed, unknown, expired, dropped.
        #[arg(long)]
        state: Option<DeliveryState>,
        /// Only of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Only for this customer: id, email or customer number.
        #[arg(long)]
        customer: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        listing: Listing,
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
            What::List { state, rule, customer, limit, listing } => {
                let (config, files) = look(&listing.common).await?;
                let customer = match customer {
                    Some(text) => Some(find(&files.store, &text).await?.customer),
                    None => None,
                };
                let deliveries = files.store.list_deliveries(&DeliveryFilter { state, rule, customer, limit }).await?;
                if listing.json {
                    print_json(&deliveries.iter().map(|d| in_json(d, &[])).collect());
                    return Ok(Ended::Well);
                }
                let rows: Vec<Vec<String>> = deliveries
                    .iter()
                    .map(|d| {
                        let what = format!("{} {}", d.action.channel(), d.action.subject());
                        let reason = d.reason.clone().unwrap_or_default();
                        vec![
                            d.id.to_string(),
                            local(d.decided_at, &config),
                            d.state.to_string(),
                            d.rule.clone(),
                            what,
                            reason,
                        ]
                    })
                    .collect();
                println!("{}", table(&["DELIVERY", "DECIDED", "STATE", "RULE", "WHAT", "REASON"], &rows));
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
