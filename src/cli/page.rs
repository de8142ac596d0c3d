//! Pages of a listing, and what narrows one: whose, and when.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use serde_json::{Value, json};

use super::customers::find;
use super::output::{print_json, table};
use super::{Listing, look_with};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::id::CustomerId;
use crate::stores::sqlite::SqliteFiles;
use crate::stores::{ModelStore, Store};

/// What every listing takes besides its filters.
#[derive(Debug, Args)]
pub(super) struct Paging {
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on behind this row: the `next` of the page before.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// One page.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// What `--after` takes for the next one; `None` on the last.
    pub(super) next: Option<String>,
}

impl Paging {
    /// The last row of the page before, by its id.
    pub(super) fn after<I: FromStr<Err: Display>>(&self) -> anyhow::Result<Option<I>> {
        let parse = |text: &String| text.parse().map_err(|e| anyhow::anyhow!("--after: {e}"));
        self.after.as_ref().map(parse).transpose()
    }

    /// The same where it takes more than an id to name a row.
    pub(super) fn after_row<I>(&self, read: impl Fn(&str) -> Option<I>) -> anyhow::Result<Option<I>> {
        let read = |text: &str| {
            read(text)
                .ok_or_else(|| anyhow::anyhow!("--after: `{text}` is no cursor; use the `next` of the page before"))
        };
        self.after.as_deref().map(read).transpose()
    }

    /// One row more than the page has, to see whether there is another page.
    pub(super) fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// The page out of what [`Paging::fetch`] brought.
    pub(super) fn page<T, I: Display>(&self, mut items: Vec<T>, id: impl Fn(&T) -> I) -> Page<T> {
        let more = items.len() > self.limit as usize;
        items.truncate(self.limit as usize);
        let next = items.last().filter(|_| more).map(|last| id(last).to_string());
        Page { items, next }
    }

    /// The page of a list that is held whole, in the order of its names.
    pub(super) fn page_by_name<T>(&self, items: Vec<T>, name: impl Fn(&T) -> String) -> Page<T> {
        let is_later = |item: &T| self.after.as_ref().is_none_or(|after| name(item) > *after);
        let later = items.into_iter().filter(is_later).take(self.fetch() as usize).collect();
        self.page(later, name)
    }

    pub(super) async fn look(&self) -> anyhow::Result<(Config, SqliteFiles)> {
        look_with(&self.listing).await
    }

    /// Prints a page as it was asked for.
    pub(super) fn print<T>(
        &self,
        page: &Page<T>,
        headers: &[&str],
        row: impl Fn(&T) -> Vec<String>,
        item: impl Fn(&T) -> Value,
    ) {
        if self.listing.json {
            let items: Vec<Value> = page.items.iter().map(item).collect();
            print_json(&json!({ "items": items, "next": page.next }));
            return;
        }
        println!("{}", table(headers, &page.items.iter().map(row).collect::<Vec<_>>()));
        if let Some(next) = &page.next {
            println!("more with --after {next}");
        }
    }
}

/// Whose rows a listing shows.
#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Only of this customer: id, email or customer number.
    #[arg(long)]
    customer: Option<String>,
}

impl Whose {
    pub(super) async fn customer(&self, store: &dyn Store) -> anyhow::Result<Option<CustomerId>> {
        Ok(match &self.customer {
            Some(text) => Some(find(store, text).await?.customer),
            None => None,
        })
    }
}

/// A stretch of time.
#[derive(Debug, Args)]
pub(super) struct Span {
    /// Only from then on: 2026-03-01, 2026-03-01T09:00 or 2026-03-01T09:00:00Z.
    #[arg(long, value_name = "INSTANT")]
    since: Option<Moment>,
    /// Only before then.
    #[arg(long, value_name = "INSTANT")]
    until: Option<Moment>,
}

impl Span {
    /// Both its ends.
    pub(super) fn ends(&self, config: &Config) -> anyhow::Result<(Option<Timestamp>, Option<Timestamp>)> {
        let at = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.at(config)).transpose();
        Ok((at(&self.since)?, at(&self.until)?))
    }
}

/// An instant as people type it: `2026-03-01T09:00:00Z`, or `2026-03-01` or `2026-03-01T09:00` on the business's clock.
#[derive(Clone, Debug)]
pub(super) enum Moment {
    Instant(Timestamp),
    Local(DateTime),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What has a zone is an instant; the civil reading would ignore none of it.
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(Moment::Instant(instant));
        }
        let help = "use 2026-03-01, 2026-03-01T09:00 (the business's clock) or 2026-03-01T09:00:00Z";
        text.parse().map(Moment::Local).map_err(|_| format!("`{text}` is no instant; {help}"))
    }
}

impl Moment {
    pub(super) fn at(&self, config: &Config) -> anyhow::Result<Timestamp> {
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        Ok(match self {
            Moment::Instant(at) => *at,
            Moment::Local(civil) => civil.to_zoned(business.zone)?.timestamp().into(),
        })
    }
}

/// What time it is for this installation: a demo has a clock of its own, which stands where its thirty days ended.
pub(super) async fn now(store: &dyn ModelStore) -> anyhow::Result<Timestamp> {
    let demo = store.meta(super::demo::INSTANT).await?.and_then(|text| text.parse().ok());
    Ok(demo.map_or_else(|| SystemClock.now(), Timestamp::from_micros))
}
