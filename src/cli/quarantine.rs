//! `rekindle quarantine`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{print_json, table};
use super::page::Paging;
use super::replay::{Report, replay};
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::quarantine::Quarantined;
use crate::stores::sqlite::{Access, SqliteFiles};
use crate::stores::{Append, Log, QuarantineFilter, QuarantineStore};

/// Records dropped in one commit.
const PAGE: u32 = 1_000;
/// Letters of a message in a listing.
const SHOWN: usize = 60;

/// A record's key and the record.
pub(super) type Keyed = ([u8; 16], Quarantined);

/// Look at records that could not be used, read them again after a change, or drop them.
#[derive(Debug, Args)]
pub(super) struct Quarantine {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, newest first, or count them by source and reason.
    #[command(
        after_help = "Example:\n  rekindle quarantine list --count\n  rekindle quarantine list --reason bad_time --json"
    )]
    List {
        #[command(flatten)]
        which: Which,
        /// Only count them by source and reason.
        #[arg(long)]
        count: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one whole: the record as it came, what is wrong with it, where it stood, and what can be done.
    #[command(after_help = "Example:\n  rekindle quarantine show 3f9a12")]
    Show {
        /// Its key, or the beginning of it.
        key: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// Read them again by today's configuration. What can be used becomes events, once; the rest stays, with its reason.
    #[command(after_help = "Example:\n  rekindle quarantine replay --source orders --reason bad_time")]
    Replay {
        #[command(flatten)]
        which: Which,
        /// A CSV file whose header names the columns; else the source's own `path`.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Only these keys.
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Drop them for good.
    #[command(after_help = "Example:\n  rekindle quarantine drop --source orders --reason zero_price --yes")]
    Drop {
        #[command(flatten)]
        which: Which,
        /// Really do it; without it, only say how many there are.
        #[arg(long)]
        yes: bool,
        /// Only these keys.
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        listing: Listing,
    },
}

/// Narrows what is meant.
#[derive(Debug, Args)]
struct Which {
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only for this reason, such as `bad_time`.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
}

impl Which {
    fn filter(self, keys: Vec<String>) -> anyhow::Result<QuarantineFilter> {
        if let Some(wrong) = keys.iter().find(|key| key.len() < 4 || !key.chars().all(|c| c.is_ascii_hexdigit())) {
            anyhow::bail!(
                "`{wrong}` is no key; `rekindle quarantine list` shows them, and four letters of one are enough"
            );
        }
        Ok(QuarantineFilter { source: self.source, reason: self.reason, keys, after: None, max: PAGE })
    }
}

impl Quarantine {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { count: true, paging, .. } => count(&paging.listing).await,
            What::List { which, paging, .. } => list(which, &paging).await,
            What::Show { key, listing } => show(key, &listing).await,
            What::Replay { which, file, keys, listing } => {
                let (config, files) = look(&listing.common).await?;
                files.close().await;
                let report = replay(&config, which.filter(keys)?, file.as_deref()).await?;
                said(&report, listing.json);
                Ok(if report.n_left == 0 { Ended::Well } else { Ended::FoundWrong })
            }
            What::Drop { which, yes, keys, listing } => {
                if which.source.is_none() && which.reason.is_none() && keys.is_empty() {
                    anyhow::bail!(
                        "say which with --source, --reason or keys; `rekindle quarantine list --count` counts them"
                    );
                }
                discard(which.filter(keys)?, yes, &listing).await
            }
        }
    }
}

async fn count(listing: &Listing) -> anyhow::Result<Ended> {
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

async fn list(which: Which, paging: &Paging) -> anyhow::Result<Ended> {
    let (config, files) = paging.look().await?;
    let (after, max) = (paging.after_row(cursor)?, paging.fetch());
    let found = files.log.list_quarantined(&QuarantineFilter { after, max, ..which.filter(Vec::new())? }).await?;
    let page = paging.page(found, |(key, q)| format!("{}:{}", q.at.as_micros(), hex(key)));
    let row = |(key, q): &Keyed| {
        let message: String = q.message.chars().take(SHOWN).collect();
        let (key, at) = (hex(key)[..12].to_owned(), local(q.at, &config));
        vec![key, at, q.source.clone(), q.reason.clone(), q.locator.clone(), message]
    };
    paging.print(&page, &["KEY", "PUT ASIDE", "SOURCE", "REASON", "WHERE", "WHAT"], row, in_json);
    Ok(Ended::Well)
}

async fn show(key: String, listing: &Listing) -> anyhow::Result<Ended> {
    let (config, files) = look(&listing.common).await?;
    let filter = QuarantineFilter { max: 2, ..Which { source: None, reason: None }.filter(vec![key.clone()])? };
    let found = files.log.list_quarantined(&filter).await?;
    let record = match &found[..] {
        [only] => only,
        [] => anyhow::bail!("nothing is put aside under `{key}`; `rekindle quarantine list` shows what is"),
        _ => anyhow::bail!("several records have a key that begins with `{key}`; give more of it"),
    };
    let (hint, q) = (what_to_do(&record.1, &config), &record.1);
    if listing.json {
        let mut value = in_json(record);
        value["what_to_do"] = json!(hint);
        print_json(&value);
        return Ok(Ended::Well);
    }
    println!("{}", hex(&record.0));
    println!("  source     {}", q.source);
    println!("  where      {}", q.locator);
    println!("  put aside  {}", local(q.at, &config));
    println!("  reason     {}", q.reason);
    println!("  what       {}", q.message);
    println!("  to do      {hint}");
    println!("\n{}", q.record);
    Ok(Ended::Well)
}

fn what_to_do(q: &Quarantined, config: &Config) -> String {
    if !config.sources.iter().any(|source| source.name == q.source) {
        return "it came over HTTP, or its source is configured no more: nothing here can read it again. Correct the \
                sender and let it send again under a new message id; then drop this"
            .to_owned();
    }
    if q.reason == "same_id_other_body" {
        return "an event under this id is known with other content; what is known stays. Drop this, or give the event an \
                id of its own in the source"
            .to_owned();
    }
    "change `[sources.mapping]` so that it can be read, then `rekindle quarantine replay`; or correct the file and import \
     it again, and drop this"
        .to_owned()
}

async fn discard(filter: QuarantineFilter, yes: bool, listing: &Listing) -> anyhow::Result<Ended> {
    let (config, looked) = look(&listing.common).await?;
    looked.close().await;
    let files = SqliteFiles::open(&config.store.path, Access::Beside).await?;
    let (mut n, mut after) = (0, None);
    loop {
        let page = files.log.list_quarantined(&QuarantineFilter { after, ..filter.clone() }).await?;
        let Some((key, last)) = page.last() else { break };
        after = Some((last.at, *key));
        n += page.len();
        if yes {
            let keys: Vec<[u8; 16]> = page.iter().map(|(key, _)| *key).collect();
            files.log.release(&keys, &Append::default()).await?;
        }
    }
    files.close().await;
    if listing.json {
        print_json(&json!({ "n": n, "dropped": yes }));
    } else if yes {
        println!("{n} records dropped");
    } else {
        println!("{n} records would be dropped for good; add --yes to do it");
    }
    Ok(if yes || n == 0 { Ended::Well } else { Ended::FoundWrong })
}

fn said(report: &Report, json: bool) {
    if json {
        print_json(&json!({
            "n_replayed": report.n_replayed, "n_events": report.n_events, "n_left": report.n_left,
            "left_by_reason": report.left, "carried_out": report.taken.map(super::beside::TakenUp::is_done),
        }));
        return;
    }
    println!("{} records became {} events", report.n_replayed, report.n_events);
    if let Some(taken) = report.taken {
        println!("{}", taken.in_words());
    }
    if report.n_left > 0 {
        println!("{} records stay aside", report.n_left);
    }
    for (reason, (n, message)) in &report.left {
        println!("  {n:>6}  {reason}: {message}");
    }
}

fn cursor(text: &str) -> Option<(Timestamp, [u8; 16])> {
    let (at, key) = text.split_once(':')?;
    let byte = |i: usize| key.get(i * 2..i * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let key: Option<Vec<u8>> = (0..16).map(byte).collect();
    Some((Timestamp::from_micros(at.parse().ok()?), key?.try_into().ok()?))
}

fn hex(key: &[u8; 16]) -> String {
    use std::fmt::Write;
    key.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

fn in_json((key, q): &Keyed) -> Value {
    json!({ "key": hex(key), "source": q.source, "where": q.locator, "reason": q.reason, "message": q.message,
            "record": q.record, "at": q.at.to_string() })
}
