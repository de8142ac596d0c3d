//! `rekindle events`

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::customers::plain;
use super::output::{print_json, visible};
use super::page::{Paging, Span, Whose};
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::delivery::Firing;
use crate::domain::event::Fact;
use crate::domain::id::{DeliveryId, EventId};
use crate::domain::segment::Signal;
use crate::stores::listing::{EventFilter, FiledEvent, FiringFilter, ListStore, SignalFilter};
use crate::stores::sqlite::SqliteStore;

/// Look at events: what came in, whose it is, and what it caused.
#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List events, the last that arrived first; `--since` and `--until` go by when they happened.
    #[command(after_help = "Example:\n  rekindle events list --name \"Order Completed\" --since 2026-03-01 --json")]
    List {
        #[command(flatten)]
        whose: Whose,
        /// Only of this name.
        #[arg(long)]
        name: Option<String>,
        /// Only from this source.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one event whole: whose it is, what it said, and which segments and rules it moved.
    #[command(after_help = "Example:\n  rekindle events show evt_01…")]
    Show {
        /// Its id.
        event: EventId,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Events {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { whose, name, source, span, paging } => {
                let (config, files) = paging.look().await?;
                let customer = whose.customer(&files.store).await?;
                let (since, until) = span.ends(&config)?;
                let (after, limit) = (paging.after()?, paging.fetch());
                let filter = EventFilter { customer, name, source, since, until, after, limit };
                let page = paging.page(files.store.list_events(&filter).await?, |e| e.event.id);
                let headers = ["EVENT", "HAPPENED", "NAME", "SOURCE", "CUSTOMER"];
                paging.print(&page, &headers, |e| row(e, &config), in_json);
            }
            What::Show { event, listing } => {
                let (config, files) = look(&listing.common).await?;
                let found = files.store.event(event).await?;
                let found = found.ok_or_else(|| {
                    anyhow::anyhow!("there is no event {event}; `rekindle events list` shows what there is")
                })?;
                let caused = Caused::by(&found, &files.store).await?;
                if listing.json {
                    print_json(&caused.json(in_json(&found)));
                } else {
                    println!("{}", caused.text(&found, &config)?.trim_end());
                }
            }
        }
        Ok(Ended::Well)
    }
}

/// What an event gave rise to.
struct Caused {
    signals: Vec<Signal>,
    /// With what each firing wanted done.
    firings: Vec<(Firing, Vec<DeliveryId>)>,
}

impl Caused {
    async fn by(found: &FiledEvent, store: &SqliteStore) -> anyhow::Result<Self> {
        let id = found.event.id;
        let mut caused = Caused { signals: Vec::new(), firings: Vec::new() };
        let Some(customer) = found.event.customer else { return Ok(caused) };
        let filter =
            SignalFilter { customer: Some(customer), cause: Some(id), limit: 1_000, ..SignalFilter::default() };
        caused.signals = store.list_signals(&filter).await?;
        let of_signals = caused.signals.iter().map(|signal| format!("signal:{}", signal.id));
        for occasion in std::iter::once(format!("event:{id}")).chain(of_signals) {
            let filter = FiringFilter {
                customer: Some(customer),
                occasion: Some(occasion),
                limit: 1_000,
                ..FiringFilter::default()
            };
            for firing in store.list_firings(&filter).await? {
                let deliveries = store.deliveries_of(firing.id).await?;
                caused.firings.push((firing, deliveries));
            }
        }
        Ok(caused)
    }

    fn json(&self, mut event: Value) -> Value {
        event["signals"] = self.signals.iter().map(signal_json).collect();
        let firings = self.firings.iter().map(|(firing, deliveries)| {
            let mut one = firing_json(firing);
            one["deliveries"] = json!(deliveries);
            one
        });
        event["firings"] = firings.collect();
        event
    }

    fn text(&self, found: &FiledEvent, config: &Config) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        let fact = &found.event.fact;
        writeln!(out, "{}  {}", found.event.id, visible(&fact.name))?;
        writeln!(out, "  happened    {}", local(fact.occurred_at, config))?;
        writeln!(out, "  arrived     {}", local(fact.received_at, config))?;
        if fact.known_at != fact.received_at {
            writeln!(out, "  known       {}", local(fact.known_at, config))?;
        }
        let imported = if fact.imported { ", imported: it woke no rule" } else { "" };
        writeln!(out, "  source      {}, message {}{imported}", visible(&fact.source), visible(&fact.message_id))?;
        match (found.event.customer, found.arrived_as) {
            (None, _) => writeln!(out, "  customer    nobody's: it names no one, and is only counted")?,
            (Some(now), Some(then)) if now != then => writeln!(out, "  customer    {now}, arrived as {then}")?,
            (Some(now), _) => writeln!(out, "  customer    {now}")?,
        }
        for identity in &fact.identities {
            writeln!(out, "  {:<11} {}", identity.kind.as_str(), visible(&identity.value))?;
        }
        for (title, fields) in [("Properties", &fact.properties), ("Traits", &fact.traits), ("Context", &fact.context)]
        {
            if !fields.is_empty() {
                writeln!(out, "\n{title}")?;
            }
            for (key, value) in fields {
                writeln!(out, "  {:<20} {}", visible(key), plain(value))?;
            }
        }
        writeln!(out, "\nWhat it caused")?;
        if self.signals.is_empty() && self.firings.is_empty() {
            writeln!(out, "  no change of segments and no firing")?;
        }
        for signal in &self.signals {
            writeln!(out, "  {} {} ({})", signal.transition.as_str(), signal.segment, signal.id)?;
        }
        for (firing, deliveries) in &self.firings {
            let ids: Vec<String> = deliveries.iter().map(ToString::to_string).collect();
            let came = if firing.held_out { "in the control group, nothing sent".to_owned() } else { ids.join(", ") };
            writeln!(out, "  {} fired {}: {came}", firing.rule, local(firing.at, config))?;
        }
        Ok(out)
    }
}

fn row(filed: &FiledEvent, config: &Config) -> Vec<String> {
    let fact = &filed.event.fact;
    let customer = filed.event.customer.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let happened = local(fact.occurred_at, config);
    vec![filed.event.id.to_string(), happened, fact.name.clone(), fact.source.clone(), customer]
}

fn in_json(filed: &FiledEvent) -> Value {
    let mut event = fact_json(&filed.event.fact);
    event["id"] = json!(filed.event.id);
    event["customer"] = json!(filed.event.customer);
    event["arrived_as"] = json!(filed.arrived_as);
    event
}

/// A fact with its instants as people and programs read them.
fn fact_json(fact: &Fact) -> Value {
    json!({
        "name": fact.name, "source": fact.source, "message_id": fact.message_id, "imported": fact.imported,
        "occurred_at": fact.occurred_at.to_string(), "received_at": fact.received_at.to_string(),
        "known_at": fact.known_at.to_string(), "identities": fact.identities, "traits": fact.traits,
        "properties": fact.properties, "context": fact.context,
    })
}

pub(super) fn signal_json(signal: &Signal) -> Value {
    json!({
        "id": signal.id, "segment": signal.segment, "transition": signal.transition, "customer": signal.customer,
        "at": signal.at.to_string(), "cause": signal.cause,
    })
}

pub(super) fn firing_json(firing: &Firing) -> Value {
    json!({
        "id": firing.id, "rule": firing.rule, "rule_version": firing.rule_version, "customer": firing.customer,
        "occasion": firing.occasion, "at": firing.at.to_string(), "held_out": firing.held_out,
    })
}
