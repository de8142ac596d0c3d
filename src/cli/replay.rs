//! `rekindle quarantine replay`: page by page, what can be used now goes from quarantine into the log in one commit.

use std::collections::BTreeMap;
use std::path::Path;

use super::beside::{TakenUp, now, take_up};
use super::quarantine::Keyed;
use crate::config::Config;
use crate::connectors::replay::{Replay, Replayed};
use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::domain::quarantine::Quarantined;
use crate::stores::sqlite::{Access, SqliteFiles};
use crate::stores::{Append, Log, ProfileStore, QuarantineFilter, QuarantineStore};

/// Records of one source in one commit. The rows of a group that is not known yet belong into one page, so a page is large.
const PAGE: u32 = 20_000;

/// What a replay came to.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) n_replayed: usize,
    pub(super) n_events: usize,
    pub(super) n_left: usize,
    /// Reason → how many stay, and what one of them says.
    pub(super) left: BTreeMap<String, (usize, String)>,
    /// Who derives the new events; `None` without any.
    pub(super) taken: Option<TakenUp>,
}

impl Report {
    fn stays(&mut self, record: &Quarantined) {
        self.n_left += 1;
        self.left.entry(record.reason.clone()).or_insert_with(|| (0, record.message.clone())).0 += 1;
    }
}

/// Reads what `filter` names again.
pub(super) async fn replay(config: &Config, filter: QuarantineFilter, file: Option<&Path>) -> anyhow::Result<Report> {
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    let files = SqliteFiles::open(&config.store.path, Access::Beside).await?;
    let mut report = Report::default();
    let sources: Vec<String> = if let Some(source) = &filter.source {
        vec![source.clone()]
    } else {
        let mut all: Vec<String> = files.log.quarantine_counts().await?.into_iter().map(|(s, ..)| s).collect();
        all.dedup();
        all
    };
    for name in sources {
        let filter = QuarantineFilter { source: Some(name.clone()), max: PAGE, ..filter.clone() };
        let source = config.sources.iter().find(|source| source.name == name);
        let reader = match source.map(|source| source.replay(file, &business)) {
            Some(Ok(reader)) => Ok(reader),
            Some(Err(error)) => Err(("unreadable".to_owned(), error.to_string())),
            None => Err(("not_configured".to_owned(), not_configured(&name))),
        };
        replay_source(&files, config, filter, reader.as_ref(), &mut report).await?;
    }
    files.close().await;
    Ok(report)
}

fn not_configured(name: &str) -> String {
    format!("`{name}` is no [[sources]] of the configuration; what came over HTTP must be sent again by its sender")
}

async fn replay_source(
    files: &SqliteFiles,
    config: &Config,
    mut filter: QuarantineFilter,
    reader: Result<&Replay, &(String, String)>,
    report: &mut Report,
) -> anyhow::Result<()> {
    loop {
        let page = files.log.list_quarantined(&filter).await?;
        let Some((key, last)) = page.last() else { return Ok(()) };
        filter.after = Some((last.at, *key));
        match reader {
            Ok(reader) => replay_page(files, config, reader, &page, report).await?,
            Err((reason, message)) => {
                report.n_left += page.len();
                report.left.entry(reason.clone()).or_insert_with(|| (0, message.clone())).0 += page.len();
            }
        }
    }
}

async fn replay_page(
    files: &SqliteFiles,
    config: &Config,
    reader: &Replay,
    page: &[Keyed],
    report: &mut Report,
) -> anyhow::Result<()> {
    // What is known of a group is asked of the store, so nothing may wait in the log.
    let end = files.log.end().await?;
    if take_up(config, files, end).await? == TakenUp::Later {
        anyhow::bail!("the daemon is busy, and has not derived all that was acknowledged; try again in a while");
    }
    let (facts, replayed) = read(files, reader, page, now()).await?;
    let mut keys = Vec::new();
    let mut append = Append::default();
    for (i, outcome) in replayed {
        let (key, before) = &page[i];
        match outcome {
            Ok(()) => {
                report.n_replayed += 1;
                keys.push(*key);
            }
            Err(after) => {
                report.stays(&after);
                if (&after.reason, &after.message) != (&before.reason, &before.message) {
                    keys.push(*key);
                    append.quarantined.push(after);
                }
            }
        }
    }
    report.n_events += facts.len();
    let new = !facts.is_empty();
    append.facts = facts;
    if !keys.is_empty() || new {
        files.log.release(&keys, &append).await?;
    }
    if new {
        let end = files.log.end().await?;
        report.taken = Some(take_up(config, files, end).await?);
    }
    Ok(())
}

async fn read(
    files: &SqliteFiles,
    reader: &Replay,
    page: &[Keyed],
    now: Timestamp,
) -> anyhow::Result<(Vec<Fact>, Vec<Replayed>)> {
    let records: Vec<Quarantined> = page.iter().map(|(_, record)| record.clone()).collect();
    let (pending, mut replayed) = reader.read(&records);
    let mut facts = Vec::new();
    for one in &pending {
        let (mut made, mut told) = reader.whole(one, &records, now);
        let keys: Vec<[u8; 16]> = made.iter().map(Fact::dedupe_key).collect();
        if one.is_group() && !files.store.known_keys(&keys).await?.is_empty() {
            (made, told) = reader.added(one, &records, now);
        }
        facts.extend(made);
        replayed.extend(told);
    }
    Ok((facts, replayed))
}
