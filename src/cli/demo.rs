//! `rekindle demo`: the simulated shop, taken in by the ordinary connectors, lived through by the ordinary pipeline.
//!
//! The history is imported up to a fixed day. Then thirty days are lived hour by hour on the demo's own clock: the shop
//! exports what happened, the sources read it, schedules ring, rules decide, mails leave into a folder. What they do to the
//! customers comes back with the next day's events. Nothing here tells a rule to fire.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use include_dir::{Dir, include_dir};
use jiff::SignedDuration;
use tokio::net::TcpListener;

use super::output::{bar, grouped};
use super::run::stop_on_signal;
use super::{Ended, environment, load_config, start_logging, summary};
use crate::config::Config;
use crate::connectors::{Connector, Counts, SourceConfig};
use crate::daemon::{Engine, GRACE};
use crate::domain::action::Action;
use crate::domain::clock::{Business, Clock, ManualClock, Timestamp};
use crate::domain::consent::MessageClass;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::pipeline::ingest::import;
use crate::shop::{Contact, SEED, SOURCES, Shop};
use crate::stores::DeliveryFilter;

static RULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rules");
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
const CONFIG: &str = include_str!("demo.toml");

/// Where the demo's clock stands, kept so that a second run resumes there.
pub(super) const INSTANT: &str = "demo_instant";
/// Set when the history is in.
const HISTORY: &str = "demo_history";

/// Show everything on a simulated shop: two years of history, then thirty days lived on a clock of its own. Nothing leaves the
/// machine: mails are files, webhooks are lines in a journal.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rekindle demo --once --dir /tmp/demo\n\nAfterwards every command works on it: rekindle deliveries list --config demo-data/config.toml"
)]
pub(super) struct Demo {
    /// Where everything is kept; made if missing. A second run resumes there.
    #[arg(long, default_value = "demo-data", value_name = "DIR")]
    dir: PathBuf,
    /// Exit after the summary instead of staying up as the daemon.
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        start_logging(false, "error");
        let path = prepare(&self.dir).with_context(|| format!("{} cannot be written", self.dir.display()))?;
        let config = load_config(&path)?;
        let mut shop = Shop::new(SEED)?;
        let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
        let variables = environment();
        let lookup = move |name: &str| variables.get(name).cloned();
        let engine = Engine::open(&config, clock.clone(), &lookup).await?;

        let demo = Living { dir: &self.dir, config: &config, engine: &engine, clock: &clock };
        demo.history(&mut shop).await?;
        demo.thirty_days(&mut shop).await?;
        summary::print(&*engine.pipeline.store, &*engine.pipeline.log, &config, &self.dir, clock.now()).await?;
        if self.once {
            engine.close().await;
            return Ok(Ended::Well);
        }

        let listen = config.http.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; set http.listen in {}, or use --once", path.display())
        })?;
        println!(
            "\nThe daemon stays up on http://{listen} (write key `dev`), its clock going on from there. Ctrl-C stops it."
        );
        clock.release();
        let engine = Arc::new(engine);
        engine.clone().run(&config, listener, &lookup, stop_on_signal()?, GRACE).await?;
        engine.pipeline.store.set_meta(INSTANT, &clock.now().as_micros().to_string()).await?;
        if let Ok(engine) = Arc::try_unwrap(engine) {
            engine.close().await;
        }
        Ok(Ended::Well)
    }
}

/// Lays out the folder: configuration, rules and templates to play with. What is there already stays as it is.
fn prepare(dir: &Path) -> std::io::Result<PathBuf> {
    for (name, files) in [("rules", &RULES), ("templates", &TEMPLATES)] {
        let folder = dir.join(name);
        if !folder.exists() {
            std::fs::create_dir_all(&folder)?;
            files.extract(&folder)?;
        }
    }
    let path = dir.join("config.toml");
    if !path.exists() {
        std::fs::write(&path, format!("{CONFIG}\n{}", SOURCES.replace("path = \"", "path = \"shop/")))?;
    }
    Ok(path)
}

/// An open source, and under what it is kept how far it was read: the same that the daemon goes on from.
type Source = (String, Box<dyn Connector>);

struct Living<'a> {
    dir: &'a Path,
    config: &'a Config,
    engine: &'a Engine,
    clock: &'a ManualClock,
}

impl Living<'_> {
    /// Two years, written as files and imported. The shop has to live them again in every run, because what follows
    /// depends on everybody's state; they are imported once.
    async fn history(&self, shop: &mut Shop) -> anyhow::Result<()> {
        let store = &self.engine.pipeline.store;
        let done = store.meta(HISTORY).await?.is_some();
        let living = bar(1, "two years of a simulated shop");
        let mut progress = |position, length| {
            living.set_length(length);
            living.set_position(position);
        };
        let folder = self.dir.join("shop/history");
        if done {
            shop.live_history(&mut progress)?;
        } else {
            shop.write_history(&folder, &mut progress)?;
        }
        living.finish_and_clear();
        let (_, ends_at) = shop.history_bounds();
        if done {
            let instant = store.meta(INSTANT).await?.and_then(|text| text.parse().ok());
            self.clock.set(instant.map_or(ends_at, Timestamp::from_micros));
            return Ok(());
        }
        self.clock.set(ends_at);
        for mut source in self.open_sources(true)? {
            let reading = bar(0, &format!("reading {}", source.1.source()));
            let progress = |(position, length)| {
                reading.set_length(length);
                reading.set_position(position);
            };
            self.take_in(&mut source, progress).await?;
            reading.finish_and_clear();
        }
        let waiting = self.engine.pipeline.log.end().await? - store.position().await?;
        let deriving = bar(waiting.unsigned_abs(), "one profile for each customer");
        self.engine.pipeline.derive_all(|n| deriving.set_position(n)).await?;
        deriving.finish_and_clear();
        let scoring = bar(1, "fitting models, scoring everybody");
        self.engine.pipeline.settle_import().await?;
        scoring.finish_and_clear();
        // Schedules begin here.
        self.engine.step().await?;
        store.set_meta(HISTORY, "imported").await?;
        store.set_meta(INSTANT, &ends_at.as_micros().to_string()).await?;
        Ok(())
    }

    async fn thirty_days(&self, shop: &mut Shop) -> anyhow::Result<()> {
        let store = &self.engine.pipeline.store;
        // The shop appends to its files; the same calls give the same bytes, so a second run writes them anew and the
        // sources go on where they stopped.
        let folder = self.dir.join("shop/live");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let mut sources: Vec<Source> = Vec::new();
        let mut morning = shop.history_bounds().1;
        let living = bar(crate::shop::LIVE_DAYS as u64, "thirty days on the demo's clock");
        while let Some(day) = shop.next_day() {
            // What went out on the day before works on people from this morning on.
            let contacts = self.contacts(morning.minus(SignedDuration::from_hours(24)), morning).await?;
            let period = shop.live_day(day, &contacts)?;
            let (mut from, ends_at) = period.bounds();
            while from < ends_at {
                let until = from.plus(SignedDuration::from_hours(1)).min(ends_at);
                period.append_between(&folder, from, until)?;
                if self.clock.now() < until {
                    self.live_hour(&mut sources, until).await?;
                    // A run that is stopped lives its last hour again: what it did is in the ledger and is not done twice,
                    // and the files hold at least what was read of them.
                    store.set_meta(INSTANT, &until.as_micros().to_string()).await?;
                }
                from = until;
            }
            morning = ends_at;
            living.inc(1);
        }
        living.finish_and_clear();
        Ok(())
    }

    /// Time passes and schedules ring; then the shop's export of that hour is read, and what it brings is decided about.
    async fn live_hour(&self, sources: &mut Vec<Source>, until: Timestamp) -> anyhow::Result<()> {
        self.engine.live_until(self.clock, until).await?;
        if sources.is_empty() {
            *sources = self.open_sources(false)?;
        }
        // One after another: side by side, chance would say who comes first, and no two demos would be the same.
        for source in sources {
            self.take_in(source, |_| ()).await?;
        }
        self.engine.step().await?;
        Ok(())
    }

    /// The demo's sources of one sort: the history, or the files that the shop goes on writing.
    fn open_sources(&self, imported: bool) -> anyhow::Result<Vec<Source>> {
        let business: Business = self.config.business.business().map_err(anyhow::Error::msg)?;
        let sources = self.config.sources.iter().filter(|source| source.imported == imported);
        let open = |source: &SourceConfig| Ok((source.place(None), source.open(None, &business)?));
        sources.map(open).collect()
    }

    async fn take_in(&self, source: &mut Source, mut show: impl FnMut((u64, u64))) -> anyhow::Result<()> {
        let (place, source) = source;
        let (log, inbox) = (self.engine.pipeline.log.clone(), &self.engine.inbox);
        let progress = |_: &Counts, done: Option<(u64, u64)>| {
            if let Some(done) = done {
                show(done);
            }
        };
        import(&mut **source, place, false, &*log, inbox, self.clock, progress).await?;
        Ok(())
    }

    /// The messages and calls that reached customers in that time, for the shop to feel.
    async fn contacts(&self, from: Timestamp, until: Timestamp) -> anyhow::Result<Vec<Contact>> {
        let store = &self.engine.pipeline.store;
        let filter = DeliveryFilter { state: Some(DeliveryState::Sent), limit: u32::MAX, ..DeliveryFilter::default() };
        let mut sent: Vec<Delivery> = store.list_deliveries(&filter).await?;
        sent.retain(|d| d.settled_at.is_some_and(|at| from <= at && at < until));
        sent.sort_by_key(|d| (d.settled_at, d.id));
        let ids: Vec<_> = sent.iter().map(|d| d.customer).collect();
        let states = store.load_customers(&ids).await?;
        let contact = |d: &Delivery| {
            let email = states.get(&d.customer)?.profile.email()?;
            match &d.action {
                Action::Email { template, .. } => {
                    let marketing = d.class == Some(MessageClass::Marketing);
                    Some(Contact { email, template: template.clone(), marketing })
                }
                // Only the call to a VIP is felt; a note to look into a review is not.
                Action::Task { .. } if d.rule == "vip_at_risk" => {
                    Some(Contact { email, template: "vip_call".to_owned(), marketing: false })
                }
                _ => None,
            }
        };
        Ok(sent.iter().filter_map(contact).collect())
    }
}

/// How large the demo is, for the first line of its summary.
pub(super) fn size(customers: u64, events: u64) -> String {
    format!("{} customers, {} events", grouped(customers), grouped(events))
}
