//! `rekindle import`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::output::{bar, grouped, print_json};
use super::{Common, Ended, environment, load_config, start_logging};
use crate::config::Config;
use crate::connectors::{Counts, SourceConfig};
use crate::daemon::Engine;
use crate::domain::clock::SystemClock;
use crate::domain::diagnostic::did_you_mean;
use crate::domain::event::names;
use crate::pipeline::ingest::import;

/// Import a file through a source of the configuration. Importing the same data again changes nothing; an import that
/// was stopped goes on where it stopped.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rekindle import --config docs/guide/examples/online_retail.toml --file online_retail.csv.gz --json"
)]
pub(super) struct Import {
    #[command(flatten)]
    common: Common,
    /// The file to read (.gz is read directly); else the source's own `path`.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which of the configured sources; not needed when there is only one.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Read the file from its beginning, even if it was read before; what is known is not counted twice.
    #[arg(long)]
    from_start: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        start_logging(false, "warn");
        let config = load_config(&self.common.config)?;
        let source = self.choose(&config)?.clone();
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        let mut connector = source.open(self.file.as_deref(), &business)?;

        let started = Instant::now();
        let variables = environment();
        let engine = Engine::open(&config, Arc::new(SystemClock), &move |name| variables.get(name).cloned()).await?;
        let before = engine.pipeline.store.event_counts().await?;
        let reading = bar(0, &format!("reading {}", source.name));
        let place = source.place(self.file.as_deref());
        let log = engine.pipeline.log.clone();
        let show = |_: &Counts, progress| {
            if let Some((done, total)) = progress {
                reading.set_length(total);
                reading.set_position(done);
            }
        };
        let imported =
            import(&mut *connector, &place, self.from_start, &*log, &engine.inbox, &SystemClock, show).await?;
        reading.finish_and_clear();
        let waiting = engine.pipeline.log.end().await?.saturating_sub(engine.pipeline.store.position().await?);
        let deriving = bar(waiting.unsigned_abs(), "deriving profiles");
        engine.pipeline.derive_all(|n| deriving.set_position(n)).await?;
        deriving.finish_and_clear();
        let scoring = bar(1, "fitting models, scoring");
        engine.pipeline.settle_import().await?;
        scoring.finish_and_clear();

        let after = engine.pipeline.store.event_counts().await?;
        let new = |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
        let n_new: u64 = after.values().sum::<u64>() - before.values().sum::<u64>();
        let quarantined = engine.pipeline.log.quarantine_counts().await?;
        let quarantined: Vec<_> = quarantined.into_iter().filter(|(s, ..)| *s == source.name).collect();
        let counts = imported.counts;
        let seconds = started.elapsed().as_secs_f64();
        engine.close().await;

        if self.json {
            let reasons: serde_json::Map<_, _> = quarantined.iter().map(|(_, r, n)| (r.clone(), json!(n))).collect();
            print_json(&json!({
                "source": source.name,
                "rows": counts.n_records,
                "events": counts.n_facts,
                "new_events": n_new,
                "already_known": counts.n_facts.saturating_sub(n_new),
                "orders": new(names::ORDER_COMPLETED),
                "refunds": new(names::ORDER_REFUNDED),
                "duplicate_rows": counts.n_duplicate_records,
                "skipped": counts.n_skipped,
                "quarantined": counts.n_quarantined,
                "quarantined_by_reason": reasons,
                "seconds": (seconds * 1000.0).round() / 1000.0,
            }));
        } else {
            println!("{} rows read from {}, {seconds:.1} s", grouped(counts.n_records), source.name);
            println!("{} events, {} of them new", grouped(counts.n_facts), grouped(n_new));
            println!(
                "{} orders, {} refunds",
                grouped(new(names::ORDER_COMPLETED)),
                grouped(new(names::ORDER_REFUNDED))
            );
            println!("{} duplicate rows dropped", grouped(counts.n_duplicate_records));
            if counts.n_skipped > 0 {
                println!("{} rows left alone by the plugin", grouped(counts.n_skipped));
            }
            println!("{} rows put aside in this run; all of this source by reason:", grouped(counts.n_quarantined));
            for (_, reason, n) in &quarantined {
                println!("  {:>10}  {reason}", grouped(*n));
            }
        }
        Ok(Ended::Well)
    }

    fn choose<'a>(&self, config: &'a Config) -> anyhow::Result<&'a SourceConfig> {
        let names: Vec<&str> = config.sources.iter().map(|s| s.name.as_str()).collect();
        match (&self.source, &config.sources[..]) {
            (None, [only]) => Ok(only),
            (None, []) => {
                anyhow::bail!("{} has no [[sources]]; see docs/guide/import.md", self.common.config.display())
            }
            (None, _) => anyhow::bail!("say which source with --source: {}", names.join(", ")),
            (Some(name), sources) => sources.iter().find(|s| s.name == *name).with_context(|| {
                let meant = did_you_mean(name, names.iter().copied());
                let help = meant.map_or_else(|| names.join(", "), |m| format!("did you mean `{m}`?"));
                format!("there is no source `{name}`; {help}")
            }),
        }
    }
}
