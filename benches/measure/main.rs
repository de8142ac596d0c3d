//! Measures what the issue of speed and memory asks for, each bar beside its limit in the same run, and writes the table in
//! `docs/reference/measurements.md`.
//!
//! ```text
//! cargo bench --bench measure                    the bars that take less than a minute each
//! cargo bench --bench measure -- --all           and those that take long (a million customers)
//! cargo bench --bench measure -- ingest mails    only these
//! ```
//!
//! Everything is driven from outside: the real binary, `rekindle run`, over its sockets, with the load generator beside it
//! on the same cores. Nothing here is compiled into it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to the terminal")]
#![expect(clippy::disallowed_methods, reason = "a bench measures real time and reads its own environment")]

mod daemon;
mod events;
mod http;
mod ingest;
mod limits;
mod mails;
mod million;
mod report;
mod rest;
mod rules;
mod slow_disk;
mod webhooks;

use std::process::ExitCode;

use report::{Bar, Outcome, Report};

/// What can be measured: its name, whether only `--all` does it, and how.
type Measurement = (&'static str, bool, fn() -> anyhow::Result<Vec<Bar>>);

const MEASUREMENTS: [Measurement; 9] = [
    ("ingest", false, ingest::batches),
    ("pipeline", false, ingest::pipeline),
    ("acks", false, ingest::single_events),
    ("webhooks", false, webhooks::latency),
    ("mails", false, mails::rate),
    ("import", false, rest::import),
    ("idle", false, rest::idle),
    ("build", true, rest::build),
    ("million", true, million::customers),
];

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let all = arguments.iter().any(|a| a == "--all");
    let names: Vec<&String> = arguments.iter().filter(|a| *a != "--all").collect();
    if let Some(unknown) = names.iter().find(|name| !MEASUREMENTS.iter().any(|(known, ..)| known == **name)) {
        let known: Vec<&str> = MEASUREMENTS.iter().map(|(name, ..)| *name).collect();
        eprintln!("there is no bar `{unknown}`; give `--all`, nothing, or some of: {}", known.join(" "));
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for (name, long, measure) in MEASUREMENTS {
        let asked = names.iter().any(|n| *n == name);
        if !asked && (!names.is_empty() || long && !all) {
            println!("{name}: not run");
            continue;
        }
        println!("{name}: measuring");
        match measure() {
            Ok(bars) => bars.into_iter().for_each(|bar| report.add(bar)),
            Err(why) => report.add(Bar::not_run(name, &format!("{why:#}"))),
        }
    }
    match report.write() {
        Ok(path) => println!("\nwritten into {}", path.display()),
        Err(error) => eprintln!("\nthe table could not be written: {error:#}"),
    }
    if report.any(Outcome::Missed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
