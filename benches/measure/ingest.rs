//! Events in: how many a second are acknowledged, how many are through the whole pipeline, and how long one waits.

use std::time::{Duration, Instant};

use crate::daemon::House;
use crate::http::{Load, post_all};
use crate::limits::{append_log, indexed, millis, per_second, sync_time};
use crate::report::{Bar, grouped, held};
use crate::{events, rules, slow_disk};

const N_CLIENTS: usize = 64;
/// Webhooks become lines in a file, so that what is measured is not the receiver.
const JOURNAL: &str = "[webhook]\nkind = \"journal\"\npath = \"webhooks.jsonl\"\nendpoints = [\"crm\"]\n\
     [email]\nkind = \"folder\"\npath = \"mailbox\"\nfrom = \"Bench <bench@shop.example>\"\n";

/// Batches of 100 from 64 clients: acknowledged only after the sync.
pub(crate) fn batches() -> anyhow::Result<Vec<Bar>> {
    let made = events::shop(300_000, 100_000, 1);
    let limit = append_log(&made)?;
    let house = House::build(JOURNAL, true, &[])?;
    let (daemon, _) = house.start()?;
    let load = post_all(house.address, "/v1/batch", events::batches(&made, 100), N_CLIENTS)?;
    let backlog = daemon.metric("rekindle_log_backlog", "");
    let limit = f64::midpoint(limit, append_log(&made)?);
    let bar = Bar::rate(
        "acknowledged ingest over HTTP, batches of 100, 64 clients",
        0.5,
        per_second(made.len(), load.wall),
        limit,
        "appended to a table without index, 1,000 to a transaction",
    );
    let (p50, p99) = (millis(load.percentile(0.5)), millis(load.percentile(0.99)));
    Ok(vec![bar.with(&format!("p50 {p50:.0} ms, p99 {p99:.0} ms; {} still to derive at the end", grouped(backlog)))])
}

/// Events of existing customers through everything, with twenty rules, until the last decision is committed.
pub(crate) fn pipeline() -> anyhow::Result<Vec<Bar>> {
    let made = events::shop(200_000, 20_000, 2);
    let limit = indexed(&made)?;
    let house = House::build(JOURNAL, true, &rules::fifteen())?;
    let (mut daemon, _) = house.start()?;
    let started = Instant::now();
    let load = post_all(house.address, "/v1/batch", events::batches(&made, 100), N_CLIENTS)?;
    daemon.wait_for_events(made.len())?;
    let all = started.elapsed();
    let cpu = daemon.cpu_seconds();
    let firings = daemon.metric("rekindle_firings_total", "");
    let limit = f64::midpoint(limit, indexed(&made)?);
    let bar = Bar::rate(
        "whole pipeline with 20 rules, from the first request to the last commit",
        0.25,
        per_second(made.len(), all),
        limit,
        "into a table with UNIQUE(id) and (customer, ts), 10,000 to a transaction",
    );
    let note = format!(
        "{} firings, {} processor seconds of the daemon, all acknowledged after {:.1} s of {:.1} s",
        grouped(firings),
        grouped(cpu),
        load.wall.as_secs_f64(),
        all.as_secs_f64()
    );
    Ok(vec![bar.with(&note)])
}

/// One event at a time from each of 64 clients, nothing else going on: on the disk as it is, beside the same clients asking
/// for a page that stores nothing, and on one that syncs slower.
pub(crate) fn single_events() -> anyhow::Result<Vec<Bar>> {
    let mut house = House::build(JOURNAL, true, &[])?;
    let before = sync_time(300)?;
    let (acknowledged, nothing) = {
        let (_daemon, _) = house.start()?;
        (acknowledge(&house)?, post_all(house.address, "/livez", vec![Vec::new(); N_SINGLE], N_CLIENTS)?)
    };
    let sync = (before + sync_time(300)?) / 2;
    let floor = format!(
        "; `/livez` to the same clients {:.1} and {:.1} ms",
        millis(nothing.percentile(0.5)),
        millis(nothing.percentile(0.99))
    );
    let mut bars = both(&acknowledged, sync, "", &format!("the disk's fsync{floor}"));
    match slow_disk::library(house.dir.path()) {
        Err(why) => bars.push(Bar::not_run("acknowledgement on a slower disk", &format!("{why:#}"))),
        Ok(library) => {
            house.preload = Some(library);
            let (_daemon, _) = house.start()?;
            let acknowledged = acknowledge(&house)?;
            let limit = format!("the disk's fsync, lengthened by {:.0} ms", millis(slow_disk::LONGER));
            bars.extend(both(&acknowledged, sync + slow_disk::LONGER, " on a slower disk", &limit));
        }
    }
    Ok(bars)
}

const N_SINGLE: usize = 20_000;

fn acknowledge(house: &House) -> anyhow::Result<Load> {
    let made = events::shop(N_SINGLE, 10_000, 3);
    post_all(house.address, "/v1/track", made.into_iter().map(|e| e.json.into_bytes()).collect(), N_CLIENTS)
}

/// The two bars of acknowledging, held against a sync.
fn both(load: &Load, sync: Duration, place: &str, limit: &str) -> Vec<Bar> {
    let bar = |share: f64, name: &str, times: f64| {
        let (measured, sync) = (millis(load.percentile(share)), millis(sync));
        Bar {
            what: format!("acknowledgement of one event, 64 clients, {name}{place}"),
            must: format!("≤ {times} ×"),
            measured: format!("{measured:.1} ms (at {}/s)", grouped(per_second(N_SINGLE, load.wall))),
            limit: format!("{sync:.2} ms: {limit}"),
            ratio: format!("{:.1}", measured / sync),
            outcome: held(measured <= times * sync),
        }
    };
    vec![bar(0.5, "p50", 3.0), bar(0.99, "p99", 10.0)]
}
