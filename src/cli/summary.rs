//! What the demo ends with: the state of the customer base, what was done about it, what was not and why, and three
//! examples from start to end.

use std::collections::BTreeMap;
use std::path::Path;

use super::demo::size;
use super::output::{grouped, table};
use super::why::Answer;
use crate::config::Config;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::event::names;
use crate::domain::id::CustomerId;
use crate::domain::score::ScoreKind;
use crate::stores::{Columns, DeliveryFilter, Log, Store};

/// Days of revenue that "at risk" looks back on.
const YEAR_DAYS: i32 = 365;

pub(super) async fn print(
    store: &dyn Store,
    log: &dyn Log,
    config: &Config,
    dir: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let base = Base::read(store, &business, now).await?;
    let n_events = store.event_counts().await?.values().sum();
    println!("\n{}, up to {} ({})\n", size(base.n, n_events), super::local(now, config), config.business.time_zone);
    base.print(&business);
    println!();
    print_ledger(store).await?;
    print_quarantine(log).await?;
    print_examples(store, config).await?;
    let dir = dir.display();
    println!("Look around:");
    println!("  {dir}/mailbox            the mails, one file each");
    println!("  {dir}/webhooks.jsonl     what went to the CRM's webhook");
    println!(
        "  {dir}/rules              the rules that did it: change one, then `rekindle check --config {dir}/config.toml`"
    );
    for command in ["tasks list", "deliveries list --state held", "customers list --segment at_risk", "quarantine list"]
    {
        println!("  rekindle {command} --config {dir}/config.toml");
    }
    Ok(())
}

/// The customer base by tier and churn band.
struct Base {
    n: u64,
    /// (tier, band) → customers.
    cells: BTreeMap<(String, String), u64>,
    /// Churn band → net revenue of the last year, minor units.
    revenue: BTreeMap<String, i64>,
}

impl Base {
    async fn read(store: &dyn Store, business: &Business, now: Timestamp) -> anyhow::Result<Self> {
        let first_day = now.day(&business.zone) - YEAR_DAYS;
        let mut base = Base { n: 0, cells: BTreeMap::new(), revenue: BTreeMap::new() };
        let mut after: Option<CustomerId> = None;
        loop {
            let states = store.scan_customers(Columns::All, None, after, 1_000).await?;
            let Some(last) = states.last() else { return Ok(base) };
            after = Some(last.customer);
            for state in &states {
                let band = |kind| state.scores.get(&kind).and_then(|s| s.band.clone());
                let tier = band(ScoreKind::Tier).unwrap_or_else(|| "not scored".to_owned());
                let risk = band(ScoreKind::ChurnRisk).unwrap_or_else(|| "unknown".to_owned());
                let revenue = state.profile.sum_since(names::ORDER_COMPLETED, first_day, business);
                base.n += 1;
                *base.cells.entry((tier, risk.clone())).or_default() += 1;
                *base.revenue.entry(risk).or_default() += revenue;
            }
        }
    }

    fn print(&self, business: &Business) {
        const BANDS: [&str; 4] = ["low", "medium", "high", "unknown"];
        let money = |minor: i64| {
            let whole = minor.max(0).unsigned_abs() / 10u64.pow(business.currency.exponent());
            format!("{} {}", grouped(whole), business.currency)
        };
        let n = |tier: &str, band: &str| self.cells.get(&(tier.to_owned(), band.to_owned())).copied().unwrap_or(0);
        let tiers = ["gold", "silver", "bronze", "none", "not scored"];
        let rows = tiers.iter().filter(|tier| self.cells.keys().any(|(t, _)| t == *tier));
        let rows: Vec<Vec<String>> = rows
            .map(|tier| {
                let counts = BANDS.iter().map(|band| grouped(n(tier, band)));
                std::iter::once((*tier).to_owned()).chain(counts).collect()
            })
            .collect();
        println!("{}", table(&["TIER", "CHURN LOW", "MEDIUM", "HIGH", "NOT ENOUGH DATA"], &rows));
        let at_risk = self.revenue.get("high").copied().unwrap_or(0);
        let all: i64 = self.revenue.values().sum();
        println!(
            "\nRevenue at risk: customers with high churn risk bought for {} net in the last year, of {} in all.",
            money(at_risk),
            money(all)
        );
    }
}

async fn print_ledger(store: &dyn Store) -> anyhow::Result<()> {
    let counts = store.ledger_counts().await?;
    let line = |(rule, channel, what, n): &crate::stores::LedgerCount| {
        vec![rule.clone(), channel.clone(), what.clone(), grouped(*n)]
    };
    let (refused, done): (Vec<_>, Vec<_>) = counts.iter().partition(|(_, channel, ..)| channel == "refused");
    println!("What the rules did");
    println!("{}\n", table(&["RULE", "BY", "STATE", "N"], &done.into_iter().map(line).collect::<Vec<_>>()));
    println!("What was not let through (occasions)");
    let rows: Vec<_> =
        refused.into_iter().map(|(rule, _, why, n)| vec![rule.clone(), why.clone(), grouped(*n)]).collect();
    println!("{}\n", table(&["RULE", "BECAUSE", "N"], &rows));
    Ok(())
}

async fn print_quarantine(log: &dyn Log) -> anyhow::Result<()> {
    let counts = log.quarantine_counts().await?;
    if !counts.is_empty() {
        println!("Rows that could not be used, put aside");
        let rows: Vec<_> = counts.into_iter().map(|(s, r, n)| vec![s, r, grouped(n)]).collect();
        println!("{}\n", table(&["SOURCE", "BECAUSE", "N"], &rows));
    }
    Ok(())
}

/// One sent mail, one task, and one thing that waits or was stopped: each from three different rules where there are so
/// many.
async fn print_examples(store: &dyn Store, config: &Config) -> anyhow::Result<()> {
    let all = store.list_deliveries(&DeliveryFilter { limit: 100_000, ..DeliveryFilter::default() }).await?;
    let mut chosen: Vec<&Delivery> = Vec::new();
    let wanted: [fn(&Delivery) -> bool; 3] = [
        |d| d.state == DeliveryState::Sent && d.action.channel() == "email",
        |d| d.state == DeliveryState::Sent && d.action.channel() == "task",
        |d| matches!(d.state, DeliveryState::Held | DeliveryState::Dropped | DeliveryState::Expired),
    ];
    for wanted in wanted {
        let new_rule = |d: &&Delivery| chosen.iter().all(|c| c.rule != d.rule);
        chosen.extend(all.iter().filter(|d| wanted(d)).find(new_rule).or_else(|| all.iter().find(|d| wanted(d))));
    }
    for delivery in &all {
        if chosen.len() < 3 && chosen.iter().all(|c| c.rule != delivery.rule) {
            chosen.push(delivery);
        }
    }
    for delivery in chosen {
        println!("--- rekindle why {}", delivery.id);
        println!("{}", Answer::find(store, config, delivery.id).await?.text(config)?);
    }
    Ok(())
}
