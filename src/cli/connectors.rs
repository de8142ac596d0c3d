//! `rekindle connectors`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::grouped;
use super::page::Paging;
use super::{Ended, local};
use crate::channels::{EmailConfig, WebhookConfig};
use crate::config::Config;
use crate::connectors::SourceKind;
use crate::domain::clock::Timestamp;
use crate::domain::event::OPERATOR;
use crate::pipeline::inside::OWN_SOURCE;
use crate::stores::listing::{CursorMoved, ListLog, ListStore, SourceCount};
use crate::stores::sqlite::SqliteFiles;
use crate::stores::{LedgerCount, Log, ReadStore};

/// Look at the ways in and out: what came from each source, what waits for each channel.
#[derive(Debug, Args)]
pub(super) struct Connectors {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List sources and channels, by name.
    #[command(after_help = "Example:\n  rekindle connectors list --json")]
    List {
        #[command(flatten)]
        paging: Paging,
    },
}

impl Connectors {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let What::List { paging } = self.what;
        let (config, files) = paging.look().await?;
        let mut ways = sources(&files, &config).await?;
        ways.extend(channels(&files.store.ledger_counts().await?, &config));
        ways.sort_by_key(Way::key);
        let page = paging.page_by_name(ways, Way::key);
        let headers = ["NAME", "KIND", "EVENTS / WAITING", "LAST", "PUT ASIDE / IN DOUBT"];
        paging.print(&page, &headers, |way| way.row(&config), Way::json);
        Ok(Ended::Well)
    }
}

/// One way in or out.
enum Way {
    In(Source),
    Out(Channel),
}

struct Source {
    name: String,
    /// `csv`, `jsonl`, `http` (a write key), `rekindle` (ourselves), or `gone` (in the books, not in the configuration).
    kind: &'static str,
    count: Option<SourceCount>,
    cursors: Vec<CursorMoved>,
    quarantined: BTreeMap<String, u64>,
}

struct Channel {
    name: &'static str,
    kind: &'static str,
    /// State → deliveries.
    states: BTreeMap<String, u64>,
}

async fn sources(files: &SqliteFiles, config: &Config) -> anyhow::Result<Vec<Way>> {
    let (counts, cursors) = (files.store.source_counts().await?, files.log.cursors().await?);
    let quarantined = files.log.quarantine_counts().await?;
    let mut kinds: BTreeMap<String, &'static str> = BTreeMap::new();
    let known = counts.iter().map(|c| &c.source).chain(quarantined.iter().map(|(source, ..)| source));
    let is_own = |source: &String| source == OWN_SOURCE || source == OPERATOR;
    kinds.extend(known.map(|source| (source.clone(), if is_own(source) { "rekindle" } else { "gone" })));
    kinds.extend(config.http.write_keys.iter().map(|key| (key.source.clone(), "http")));
    kinds.extend(config.sources.iter().map(|source| (source.name.clone(), kind(source.kind))));
    let one = |(name, kind): (String, &'static str)| {
        let reasons = quarantined.iter().filter(|(source, ..)| *source == name);
        Way::In(Source {
            kind,
            count: counts.iter().find(|count| count.source == name).cloned(),
            cursors: cursors.iter().filter(|c| c.place.split('@').next() == Some(&name)).cloned().collect(),
            quarantined: reasons.map(|(_, reason, n)| (reason.clone(), *n)).collect(),
            name,
        })
    };
    Ok(kinds.into_iter().map(one).collect())
}

fn kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Csv => "csv",
        SourceKind::Jsonl => "jsonl",
        SourceKind::Plugin => "plugin",
    }
}

fn channels(counts: &[LedgerCount], config: &Config) -> Vec<Way> {
    let email = match config.email() {
        EmailConfig::Folder(_) => "folder",
        EmailConfig::Smtp(_) => "smtp",
    };
    let webhook = match config.webhook() {
        WebhookConfig::Journal(_) => "journal",
        WebhookConfig::Http(_) => "http",
    };
    let kinds = [("email", email), ("webhook", webhook), ("task", "task list"), ("trait", "events")];
    let one = |(name, kind)| {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for (_, _, state, n) in counts.iter().filter(|(_, channel, ..)| channel == name) {
            *states.entry(state.clone()).or_default() += n;
        }
        Way::Out(Channel { name, kind, states })
    };
    kinds.into_iter().map(one).collect()
}

impl Way {
    /// What it is sorted and paged by: `in/orders`, `out/email`.
    fn key(&self) -> String {
        match self {
            Way::In(source) => format!("in/{}", source.name),
            Way::Out(channel) => format!("out/{}", channel.name),
        }
    }

    fn row(&self, config: &Config) -> Vec<String> {
        let counted = |counts: &mut dyn Iterator<Item = (&String, &u64)>| {
            let each: Vec<String> = counts.map(|(what, n)| format!("{} {what}", grouped(*n))).collect();
            if each.is_empty() { "-".to_owned() } else { each.join(", ") }
        };
        match self {
            Way::In(source) => {
                let events = format!("{} events", grouped(source.count.as_ref().map_or(0, |count| count.n_events)));
                let last = source.last_at().map_or_else(|| "-".to_owned(), |at| local(at, config));
                let aside = counted(&mut source.quarantined.iter());
                vec![self.key(), source.kind.to_owned(), events, last, aside]
            }
            Way::Out(channel) => {
                let is_doubt = |state: &str| matches!(state, "unknown" | "failed");
                let waiting = counted(&mut channel.states.iter().filter(|(state, _)| !is_doubt(state)));
                let doubt = counted(&mut channel.states.iter().filter(|(state, _)| is_doubt(state)));
                vec![self.key(), channel.kind.to_owned(), waiting, "-".to_owned(), doubt]
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Way::In(source) => json!({
                "name": source.name, "direction": "in", "kind": source.kind,
                "n_events": source.count.as_ref().map_or(0, |count| count.n_events),
                "last_received_at": source.count.as_ref().map(|count| count.last_received_at.to_string()),
                "cursors": source.cursors.iter().map(|c| json!({
                    "place": c.place, "cursor": c.cursor, "moved_at": c.moved_at.to_string(),
                })).collect::<Vec<_>>(),
                "quarantined": source.quarantined,
            }),
            Way::Out(channel) => json!({
                "name": channel.name, "direction": "out", "kind": channel.kind, "states": channel.states,
            }),
        }
    }
}

impl Source {
    /// When something came last, or the cursor moved.
    fn last_at(&self) -> Option<Timestamp> {
        let moved = self.cursors.iter().map(|cursor| cursor.moved_at).max();
        self.count.as_ref().map(|count| count.last_received_at).max(moved)
    }
}
