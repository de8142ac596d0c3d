//! Pages of a listing, and the instants that narrow one.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use serde_json::{Value, json};

use super::output::{print_json, table};
use super::{Listing, look_with};
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::stores::ModelStore;
use crate::stores::sqlite::SqliteFiles;

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
    listing: Listing,
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

/// Both ends of a stretch of time.
pub(super) fn span(
    since: Option<&Moment>,
    until: Option<&Moment>,
    config: &Config,
) -> anyhow::Result<(Option<Timestamp>, Option<Timestamp>)> {
    let at = |moment: Option<&Moment>| moment.map(|moment| moment.at(config)).transpose();
    Ok((at(since)?, at(until)?))
}

/// What time it is for this installation: a demo has a clock of its own, which stands where its thirty days ended.
pub(super) async fn now(store: &dyn ModelStore) -> anyhow::Result<Timestamp> {
    let demo = store.meta(super::demo::INSTANT).await?.and_then(|text| text.parse().ok());
    Ok(demo.map_or_else(|| SystemClock.now(), Timestamp::from_micros))
}
