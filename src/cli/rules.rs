//! `rekindle rules`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::events::firing_json;
use super::output::{grouped, print_json};
use super::page::{Paging, now};
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::daemon::{Written, read_written};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Firing;
use crate::domain::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::domain::rule::Trigger;
use crate::rules::Rule;
use crate::schedule::Schedule;
use crate::stores::listing::{FiringFilter, ListStore};
use crate::stores::sqlite::SqliteStore;
use crate::stores::{LedgerCount, ReadStore};

/// Look at rules: when they are asked, what they did, what was refused, which are broken.
#[derive(Debug, Args)]
pub(super) struct Rules {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List rules, by name.
    #[command(after_help = "Example:\n  rekindle rules list --json")]
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one rule: its card, its condition, its next runs, and what came of it.
    #[command(after_help = "Example:\n  rekindle rules show win_back")]
    Show {
        /// Its name: that of its file without `.rhai`.
        rule: String,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Rules {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { paging } => {
                let (config, files) = paging.look().await?;
                let all = View::all(&files.store, &config).await?;
                let page = paging.page_by_name(all, |view| view.id.clone());
                let headers = ["RULE", "TRIGGER", "NEXT RUN", "ACTIONS", "LAST FIRING", "STATE"];
                paging.print(&page, &headers, |view| view.row(&config), View::json);
            }
            What::Show { rule, listing } => {
                let (config, files) = look(&listing.common).await?;
                let all = View::all(&files.store, &config).await?;
                let names: Vec<&str> = all.iter().map(|view| view.id.as_str()).collect();
                let view = all.iter().find(|view| view.id == rule).ok_or_else(|| unknown(&rule, &names))?;
                if listing.json {
                    print_json(&view.json());
                } else {
                    println!("{}", view.text(&config)?.trim_end());
                }
            }
        }
        Ok(Ended::Well)
    }
}

pub(super) fn unknown(rule: &str, names: &[&str]) -> anyhow::Error {
    let meant = did_you_mean(rule, names.iter().copied());
    let help = meant.map_or_else(|| format!("there is {}", names.join(", ")), |m| format!("did you mean `{m}`?"));
    anyhow::anyhow!("there is no rule `{rule}`; {help}")
}

/// Everything about one rule file.
struct View {
    id: String,
    /// `None` when the file is broken.
    rule: Option<Arc<Rule>>,
    diagnostics: Vec<Diagnostic>,
    next_runs: Vec<Timestamp>,
    counts: Vec<LedgerCount>,
    last: Option<Firing>,
}

impl View {
    async fn all(store: &SqliteStore, config: &Config) -> anyhow::Result<Vec<Self>> {
        let written = read_written(config, None);
        let counts = store.ledger_counts().await?;
        let now = now(store).await?;
        let mut ids: Vec<String> = written.book.rules().map(|rule| rule.id.clone()).collect();
        ids.extend(broken(&written, &config.files.rules).into_keys());
        ids.sort();
        ids.dedup();
        let mut all = Vec::new();
        for id in ids {
            let rule = written.book.rule(&id).cloned();
            let filter = FiringFilter { rule: Some(id.clone()), limit: 1, ..FiringFilter::default() };
            let next_runs = rule.as_ref().map(|rule| next_runs(&rule.card.trigger, config, now)).unwrap_or_default();
            all.push(View {
                rule,
                diagnostics: of_rule(&written.diagnostics, &id),
                next_runs,
                counts: counts.iter().filter(|count| count.0 == id).cloned().collect(),
                last: store.list_firings(&filter).await?.pop(),
                id,
            });
        }
        Ok(all)
    }

    fn n_actions(&self) -> u64 {
        let is_action = |count: &&LedgerCount| count.1 != "refused" && count.1 != "held out";
        self.counts.iter().filter(is_action).map(|count| count.3).sum()
    }

    fn row(&self, config: &Config) -> Vec<String> {
        let trigger = self.rule.as_ref().map_or_else(|| "-".to_owned(), |rule| rule.card.trigger.to_string());
        let at = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| local(at, config));
        let state = match (&self.rule, self.diagnostics.len()) {
            (None, _) => "BROKEN: see `rekindle check`".to_owned(),
            (Some(_), 0) => "ok".to_owned(),
            (Some(_), n) => format!("ok, {n} warnings"),
        };
        let last = self.last.as_ref().map(|firing| firing.at);
        let next = self.next_runs.first().copied();
        vec![self.id.clone(), trigger, at(next), grouped(self.n_actions()), at(last), state]
    }

    fn json(&self) -> Value {
        let instants = |at: &[Timestamp]| at.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut view = json!({
            "id": self.id, "broken": self.rule.is_none(), "diagnostics": self.diagnostics,
            "next_runs": instants(&self.next_runs), "last_firing": self.last.as_ref().map(firing_json),
            "counts": self.counts.iter()
                .map(|(_, channel, what, n)| json!({ "channel": channel, "state": what, "n": n })).collect::<Vec<_>>(),
        });
        if let Some(rule) = &self.rule {
            let seconds = |span: SignedDuration| span.as_secs();
            view["version"] = json!(rule.version);
            view["description"] = json!(rule.description);
            view["trigger"] = json!(rule.card.trigger);
            view["audience"] = json!(rule.card.audience);
            view["cooldown_seconds"] = json!(rule.card.cooldown.map(seconds));
            view["holdout"] = json!(rule.card.holdout);
            view["max_lateness_seconds"] = json!(seconds(rule.card.max_lateness));
            view["compiled"] = json!(rule.is_compiled());
            view["condition"] = json!(rule.condition().map(|condition| condition.text));
        }
        view
    }

    fn text(&self, config: &Config) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        match &self.rule {
            Some(rule) => card(&mut out, rule, &self.next_runs, config)?,
            None => self.broken(&mut out)?,
        }
        for diagnostic in &self.diagnostics {
            writeln!(out, "\n{diagnostic}")?;
        }
        writeln!(out, "\nWhat came of it")?;
        if self.counts.is_empty() {
            writeln!(out, "  nothing yet: neither fired nor refused")?;
        }
        for (_, channel, what, n) in &self.counts {
            writeln!(out, "  {:>8}  {channel} {what}", grouped(*n))?;
        }
        if let Some(firing) = &self.last {
            let version = &firing.rule_version;
            writeln!(out, "  last {} for {}, version {version}", local(firing.at, config), firing.customer)?;
        }
        Ok(out)
    }

    fn broken(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}: broken", self.id)?;
        writeln!(
            out,
            "  a daemon that has been running since the file was sound keeps its last good version in force;"
        )?;
        writeln!(out, "  one that starts now runs without this rule")?;
        if let Some(firing) = &self.last {
            writeln!(out, "  version {} fired last", firing.rule_version)?;
        }
        Ok(())
    }
}

fn card(out: &mut String, rule: &Rule, next_runs: &[Timestamp], config: &Config) -> std::fmt::Result {
    writeln!(out, "{}, version {}", rule.id, rule.version)?;
    for line in rule.description.lines() {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "\n  trigger    {}", rule.card.trigger)?;
    let runs: Vec<String> = next_runs.iter().map(|at| local(*at, config)).collect();
    if !runs.is_empty() {
        writeln!(out, "  next runs  {} ({})", runs.join(", "), config.business.time_zone)?;
    }
    writeln!(out, "  audience   {}", rule.card.audience.as_deref().unwrap_or("everybody"))?;
    let cooldown = rule.card.cooldown.map_or_else(|| "none".to_owned(), length);
    writeln!(out, "  cooldown   {cooldown}")?;
    writeln!(out, "  holdout    {:.0} %", rule.card.holdout * 100.0)?;
    writeln!(out, "  of use for {}", length(rule.card.max_lateness))?;
    writeln!(out, "  condition  {}", if rule.is_compiled() { "compiled" } else { "asked of Rhai" })?;
    if let Some(condition) = rule.condition() {
        writeln!(out, "\nCondition ({}, from line {} on)", file_name(&rule.path), condition.line)?;
        for line in condition.text.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

pub(super) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// `45 days`, `1 day`, `36 hours`, `30 minutes`.
pub(super) fn length(span: SignedDuration) -> String {
    let (n, unit) = match span.as_secs() {
        seconds if seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        seconds if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        seconds => (seconds / 60, "minute"),
    };
    if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") }
}

pub(super) fn next_runs(trigger: &Trigger, config: &Config, now: Timestamp) -> Vec<Timestamp> {
    let (Trigger::Schedule { cron }, Ok(business)) = (trigger, config.business.business()) else { return Vec::new() };
    Schedule::parse(cron, business.zone).map(|schedule| schedule.upcoming(now, 3)).unwrap_or_default()
}

/// The rules that could not be taken over, with what is wrong.
pub(super) fn broken(written: &Written, folder: &Path) -> BTreeMap<String, Vec<Diagnostic>> {
    let mut broken: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for diagnostic in written.diagnostics.iter().filter(|d| d.severity == Severity::Error) {
        let path = Path::new(&diagnostic.file);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_rule = path.extension().is_some_and(|e| e == "rhai") && path.parent() == Some(folder);
        if is_rule && stem != "segments" && written.book.rule(stem).is_none() {
            broken.entry(stem.to_owned()).or_default().push(diagnostic.clone());
        }
    }
    broken
}

fn of_rule(diagnostics: &[Diagnostic], id: &str) -> Vec<Diagnostic> {
    let name = format!("{id}.rhai");
    diagnostics.iter().filter(|d| file_name(&d.file) == name).cloned().collect()
}
