//! `rekindle segments`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::customers::{brief, name};
use super::events::signal_json;
use super::output::{grouped, print_json};
use super::page::Paging;
use super::{Ended, Listing, local, look};
use crate::daemon::read_written;
use crate::domain::diagnostic::did_you_mean;
use crate::domain::segment::Signal;
use crate::rules::RuleBook;
use crate::stores::listing::{ListStore, SignalFilter};
use crate::stores::{Columns, ProfileStore};

/// Members that `show` names.
const SAMPLE: usize = 5;
/// Changes that `show` names.
const CHANGES: u32 = 10;

/// Look at segments: what they mean, how many are in them, who came and went.
#[derive(Debug, Args)]
pub(super) struct Segments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List segments with their sizes, by name.
    #[command(after_help = "Example:\n  rekindle segments list --json")]
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one segment: its condition, some members, who entered and left it last.
    #[command(after_help = "Example:\n  rekindle segments show at_risk")]
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Segments {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { paging } => {
                let (config, files) = paging.look().await?;
                let book = read_written(&config, None).book;
                let sizes: BTreeMap<String, u64> = files.store.segment_sizes().await?.into_iter().collect();
                let all = names(&book, &sizes).into_iter().map(|name| Brief::of(name, &book, &sizes)).collect();
                let page = paging.page_by_name(all, |segment: &Brief| segment.name.clone());
                paging.print(&page, &["SEGMENT", "SIZE", "WHO"], Brief::row, Brief::json);
            }
            What::Show { name, listing } => show(&name, &listing).await?,
        }
        Ok(Ended::Well)
    }
}

async fn show(name: &str, listing: &Listing) -> anyhow::Result<()> {
    let (config, files) = look(&listing.common).await?;
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let book = read_written(&config, None).book;
    let sizes: BTreeMap<String, u64> = files.store.segment_sizes().await?.into_iter().collect();
    let names = names(&book, &sizes);
    if !names.iter().any(|known| known == name) {
        let meant = did_you_mean(name, names.iter().map(String::as_str));
        let help = meant.map_or_else(|| format!("there is {}", names.join(", ")), |m| format!("did you mean `{m}`?"));
        anyhow::bail!("there is no segment `{name}`; {help}");
    }
    let segment = Brief::of(name.to_owned(), &book, &sizes);
    let condition = book.segment_condition(name);
    let sample = files.store.scan_customers(Columns::All, Some(name), None, SAMPLE).await?;
    let filter = SignalFilter { segment: Some(name.to_owned()), limit: CHANGES, ..SignalFilter::default() };
    let changes = files.store.list_signals(&filter).await?;
    if listing.json {
        let mut whole = segment.json();
        whole["condition"] = json!(condition.as_ref().map(|c| &c.text));
        whole["compiled"] = json!(book.is_segment_compiled(name));
        whole["line"] = json!(condition.as_ref().map(|c| c.line));
        whole["sample"] = sample.iter().map(|state| brief(state, &business)).collect();
        whole["changes"] = changes.iter().map(signal_json).collect();
        print_json(&whole);
        return Ok(());
    }
    println!("{name}: {} customers", grouped(segment.n));
    if !segment.description.is_empty() {
        println!("  {}", segment.description);
    }
    match &condition {
        Some(condition) => {
            let asked = if book.is_segment_compiled(name) { "compiled" } else { "asked of Rhai" };
            println!("\nCondition (segments.rhai, from line {} on; {asked})", condition.line);
            condition.text.lines().for_each(|line| println!("  {line}"));
        }
        None => println!("\nIts function is gone from segments.rhai, or the file is broken: `rekindle check`"),
    }
    println!("\nMembers (the first {} of {})", sample.len(), grouped(segment.n));
    for state in &sample {
        println!("  {}  {}", state.customer, self::name(state));
    }
    println!("\nWho came and went last");
    if changes.is_empty() {
        println!("  nobody since it is being watched");
    }
    for Signal { transition, customer, at, cause, .. } in &changes {
        let cause = cause.map_or_else(|| "as days passed".to_owned(), |cause| format!("by {cause}"));
        println!("  {}  {:<8} {customer}  {cause}", local(*at, &config), transition.as_str());
    }
    Ok(())
}

/// What there is, and what is left of segments that are gone from the file.
fn names(book: &RuleBook, sizes: &BTreeMap<String, u64>) -> Vec<String> {
    let mut names: Vec<String> = book.segment_names().map(str::to_owned).chain(sizes.keys().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

struct Brief {
    name: String,
    n: u64,
    description: String,
    is_written: bool,
}

impl Brief {
    fn of(name: String, book: &RuleBook, sizes: &BTreeMap<String, u64>) -> Self {
        Brief {
            n: sizes.get(&name).copied().unwrap_or(0),
            description: book.segment_description(&name).unwrap_or_default(),
            is_written: book.segment_names().any(|known| known == name),
            name,
        }
    }

    fn row(&self) -> Vec<String> {
        let gone = if self.is_written { "" } else { "(not in segments.rhai any more)" };
        vec![self.name.clone(), grouped(self.n), format!("{}{gone}", self.description)]
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "n": self.n, "description": self.description, "written": self.is_written })
    }
}
