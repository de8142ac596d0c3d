//! The table: one row for each bar, kept from run to run until that bar is measured again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";
const HEAD: &str =
    "| bar | must | measured | limit, same run | ratio | holds | when |\n|---|---|---|---|---|---|---|\n";

/// Whether a bar holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Held,
    Missed,
    NotRun,
}

/// One bar, measured.
pub(crate) struct Bar {
    /// What is measured: the row's name.
    pub(crate) what: String,
    /// What is asked.
    pub(crate) must: String,
    pub(crate) measured: String,
    /// What it is held against.
    pub(crate) limit: String,
    pub(crate) ratio: String,
    pub(crate) outcome: Outcome,
}

impl Bar {
    /// `measured` ÷ `limit`, both per second, must be at least `must`.
    pub(crate) fn rate(what: &str, must: f64, measured: f64, limit: f64, limit_is: &str) -> Self {
        let ratio = measured / limit;
        Bar {
            what: what.to_owned(),
            must: format!("≥ {must}"),
            measured: format!("{}/s", grouped(measured)),
            limit: format!("{}/s {limit_is}", grouped(limit)),
            ratio: format!("{ratio:.2}"),
            outcome: held(ratio >= must),
        }
    }

    /// `measured` must be under `limit`.
    pub(crate) fn under(what: &str, measured: f64, limit: f64, unit: &str) -> Self {
        Bar {
            what: what.to_owned(),
            must: format!("< {limit} {unit}"),
            measured: format!("{measured:.2} {unit}"),
            limit: "—".to_owned(),
            ratio: format!("{:.2}", measured / limit),
            outcome: held(measured < limit),
        }
    }

    /// As [`Bar::under`], with a word on what else was seen.
    pub(crate) fn with(mut self, note: &str) -> Self {
        self.measured = format!("{} ({note})", self.measured);
        self
    }

    pub(crate) fn not_run(what: &str, why: &str) -> Self {
        let none = "—".to_owned();
        Bar {
            what: what.to_owned(),
            must: none.clone(),
            measured: format!("not run: {}", why.replace(['|', '\n'], " ")),
            limit: none.clone(),
            ratio: none,
            outcome: Outcome::NotRun,
        }
    }
}

pub(crate) fn held(holds: bool) -> Outcome {
    if holds { Outcome::Held } else { Outcome::Missed }
}

/// `1,234`
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[derive(Default)]
pub(crate) struct Report(Vec<Bar>);

impl Report {
    pub(crate) fn add(&mut self, bar: Bar) {
        let Bar { what, must, measured, limit, ratio, outcome } = &bar;
        println!("  {outcome:?}: {what}: {measured}; must {must}; limit {limit}; ratio {ratio}");
        self.0.push(bar);
    }

    pub(crate) fn any(&self, outcome: Outcome) -> bool {
        self.0.iter().any(|bar| bar.outcome == outcome)
    }

    /// Puts the rows into the page, in place of those of the same bars.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/measurements.md");
        let text = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let (before, rest) = text.split_once(BEGIN).context("the marker of the table's begin is gone")?;
        let (old, after) = rest.split_once(END).context("the marker of the table's end is gone")?;
        let today = command("date", &["-u", "+%Y-%m-%d %H:%M"]);
        let name = |row: &str| row.split('|').nth(1).map(|name| name.trim().to_owned()).unwrap_or_default();
        let mut order: Vec<String> = Vec::new();
        let mut rows: BTreeMap<String, String> = BTreeMap::new();
        let kept = old.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| bar ")).map(str::to_owned);
        let new = self.0.iter().filter(|bar| bar.outcome != Outcome::NotRun).map(|bar| {
            let holds = if bar.outcome == Outcome::Held { "yes" } else { "**no**" };
            let Bar { what, must, measured, limit, ratio, .. } = bar;
            format!("| {what} | {must} | {measured} | {limit} | {ratio} | {holds} | {today} |")
        });
        for row in kept.chain(new) {
            let name = name(&row);
            if !order.contains(&name) {
                order.push(name.clone());
            }
            rows.insert(name, row);
        }
        let mut table = format!("{BEGIN}\n{}\n\n{HEAD}", machine());
        for name in order {
            writeln!(table, "{}", rows[&name])?;
        }
        std::fs::write(&page, format!("{before}{table}{END}{after}"))?;
        Ok(page)
    }
}

/// What the figures were measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split(':').nth(1).unwrap_or_default().trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gib = memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1_048_576.0;
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let kernel = command("uname", &["-sr"]);
    format!("Last run on: {cores} cores ({cpu}), {gib:.0} GiB of memory, {kernel}.")
}

/// What a command prints; empty when there is no such command.
fn command(name: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(name).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
