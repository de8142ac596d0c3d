//! `rekindle why`: from a delivery back to what decided it.
//!
//! Deciding is pure, so the past can be asked again: the profile is folded from the events that were known then, and
//! scored by the fits that were in use then.

use std::fmt::Write;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::admission::{Contact, permission};
use super::customers::plain;
use super::deliveries::{in_json, load};
use super::output::print_json;
use super::past::fits_at;
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::daemon::read_written;
use crate::domain::delivery::{Delivery, Firing};
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, SignalId};
use crate::domain::profile::Profile;
use crate::domain::score::{Score, ScoreKind, Scores};
use crate::models::CustomerFacts;
use crate::pipeline::texts::rule_text;
use crate::rules::{Condition, Rule, condition};
use crate::stores::{Attempt, Store};

mod admission;

/// Explain a delivery: the rule and what its condition saw, the scores and their reasons, consent, what became of it, and
/// the events behind it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rekindle why dlv_01…   (ids are in `rekindle deliveries list`)")]
pub(super) struct Why {
    /// A delivery's id.
    delivery: DeliveryId,
    #[command(flatten)]
    listing: Listing,
}

impl Why {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        let (config, files) = look(&self.listing.common).await?;
        let answer = Answer::find(&files.store, &config, self.delivery).await?;
        if self.listing.json {
            print_json(&answer.json());
        } else {
            println!("{}", answer.text(&config)?.trim_end());
        }
        Ok(Ended::Well)
    }
}

/// Everything behind one delivery.
pub(super) struct Answer {
    delivery: Delivery,
    firing: Firing,
    attempts: Vec<Attempt>,
    occasion: String,
    profile: Profile,
    scores: Scores,
    events: Vec<Event>,
    /// What the rule asked; `None` when that version's text was never kept.
    condition: Option<Condition>,
    /// The rule as it is written now.
    rule_now: Option<Arc<Rule>>,
    contact: Contact,
}

impl Answer {
    pub(super) async fn find(store: &dyn Store, config: &Config, id: DeliveryId) -> anyhow::Result<Self> {
        let business = config.business.business().map_err(anyhow::Error::msg)?;
        let delivery = load(store, id).await?;
        let firing = store.firing(delivery.firing).await?;
        let firing = firing.ok_or_else(|| anyhow::anyhow!("the ledger holds {id} but not its firing"))?;
        let events = store.events_of(delivery.customer, firing.at, u32::MAX).await?;
        let profile = Profile::fold(&events, &business);
        let fits = fits_at(store, config, firing.at).await?;
        let facts = CustomerFacts::of(delivery.customer, &profile, &business);
        let scores = fits.iter().map(|fit| (fit.kind(), fit.score(&facts, firing.at, &business))).collect();
        let occasion = occasion(store, &firing, &events, config).await?;
        let rule_now = read_written(config, None).book.rule(&firing.rule).cloned();
        let unchanged = rule_now.as_ref().filter(|rule| rule.version == firing.rule_version);
        let condition = match rule_text(store, &firing.rule, &firing.rule_version).await? {
            Some(text) => condition(&text, "when"),
            None => unchanged.and_then(|rule| rule.condition()),
        };
        let contact = Contact::of(&delivery, &profile, store, config).await?;
        let attempts = store.attempts_of(id).await?;
        Ok(Answer { delivery, firing, attempts, occasion, profile, scores, events, condition, rule_now, contact })
    }

    /// Whether the file says today what it said then.
    fn is_unchanged(&self) -> bool {
        self.rule_now.as_ref().is_some_and(|rule| rule.version == self.firing.rule_version)
    }

    fn json(&self) -> Value {
        json!({
            "delivery": in_json(&self.delivery, &self.attempts),
            "rule": {
                "id": self.firing.rule, "version": self.firing.rule_version,
                "condition": self.condition.as_ref().map(|c| &c.text),
                "version_now": self.rule_now.as_ref().map(|rule| &rule.version), "unchanged": self.is_unchanged(),
            },
            "occasion": { "id": self.firing.occasion, "means": self.occasion },
            "decided_at": self.firing.at.to_string(),
            "condition_saw": self.firing.trace,
            "scores": self.scores,
            "consent": self.profile.consent,
            "suppressed": self.profile.suppression.as_ref().is_some_and(|s| s.active),
            "contact": self.contact.json(),
            "held_out": self.firing.held_out,
            "events": self.events.iter().take(10).collect::<Vec<_>>(),
            "n_events": self.events.len(),
        })
    }

    pub(super) fn text(&self, config: &Config) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        let d = &self.delivery;
        let name = |key| self.profile.trait_text(key).unwrap_or_default();
        let who = format!("{} {}", name("first_name"), name("last_name"));
        writeln!(
            out,
            "{} {} for {} ({}): {}",
            d.action.channel(),
            d.action.subject(),
            who.trim(),
            d.customer,
            d.state
        )?;

        writeln!(out, "\nWhy it was decided")?;
        writeln!(out, "  rule       {}, version {}", self.firing.rule, self.firing.rule_version)?;
        writeln!(out, "  at         {}", local(self.firing.at, config))?;
        writeln!(out, "  occasion   {}", self.occasion)?;
        self.rule(&mut out)?;
        writeln!(out, "  the rule saw")?;
        for seen in &self.firing.trace {
            writeln!(out, "    {:<36} {}", seen.what, shown(&seen.value))?;
        }

        writeln!(out, "\nWhat the models said then")?;
        for (kind, score) in &self.scores {
            writeln!(out, "{}", score_lines(*kind, score))?;
        }

        writeln!(out, "\nWhy it might go")?;
        if let Some(class) = permission(&mut out, d, &self.profile, config)? {
            self.contact.text(&mut out, class, config)?;
        }
        let share = self.rule_now.as_ref().filter(|_| self.is_unchanged()).map(|rule| rule.card.holdout * 100.0);
        let share = share.map_or_else(String::new, |share| format!(" ({share:.0} % of all)"));
        writeln!(out, "  holdout    not in the rule's control group{share}")?;
        writeln!(out, "  of use     until {}", local(d.expires_at, config))?;

        writeln!(out, "\nWhat became of it")?;
        for a in &self.attempts {
            writeln!(out, "  {}  attempt {}: {}  {}", local(a.at, config), a.n, a.outcome, a.detail)?;
        }
        let due = local(d.due_at, config);
        match (&d.reason, d.state.settled()) {
            (Some(reason), true) => writeln!(out, "  {}: {reason}", d.state)?,
            (Some(reason), false) => writeln!(out, "  {} until {due}: {reason}", d.state)?,
            (None, false) => writeln!(out, "  {} from {due}", d.state)?,
            (None, true) => {}
        }

        let n = self.events.len();
        writeln!(out, "\nThe events behind it (the last {} of {n} known then)", n.min(5))?;
        for e in self.events.iter().take(5) {
            writeln!(out, "  {}  {:<22} {}", local(e.fact.occurred_at, config), e.fact.name, e.id)?;
        }
        Ok(out)
    }
}

impl Answer {
    /// What the rule asked, in the words that it was asked in.
    fn rule(&self, out: &mut String) -> std::fmt::Result {
        if let Some(condition) = &self.condition {
            writeln!(out, "  the rule asked, from line {} on", condition.line)?;
            for line in condition.text.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        match (&self.rule_now, &self.condition) {
            (Some(_), _) if self.is_unchanged() => Ok(()),
            (now, kept) => {
                let now = now
                    .as_ref()
                    .map_or_else(|| "is gone or broken".to_owned(), |rule| format!("is version {} now", rule.version));
                let then = if kept.is_some() { "" } else { ", and the text of then was not kept" };
                writeln!(out, "  the file has changed since: it {now}{then}")
            }
        }
    }
}

/// What an occasion means, for people.
async fn occasion(store: &dyn Store, firing: &Firing, events: &[Event], config: &Config) -> anyhow::Result<String> {
    let Some((kind, id)) = firing.occasion.split_once(':') else { return Ok(firing.occasion.clone()) };
    Ok(match kind {
        "tick" => format!("the run of {}", id.parse().map_or_else(|_| id.to_owned(), |at| local(at, config))),
        "event" => {
            let event = id.parse::<EventId>().ok().and_then(|id| events.iter().find(|e| e.id == id));
            event.map_or_else(
                || format!("event {id}"),
                |e| format!("{} of {} ({id})", e.fact.name, local(e.fact.occurred_at, config)),
            )
        }
        "signal" => {
            let id = id.parse::<SignalId>()?;
            let signals = store.signals_of(firing.customer).await?;
            signals.iter().find(|s| s.id == id).map_or_else(
                || format!("signal {id}"),
                |s| {
                    let cause = s.cause.map_or("as days passed".to_owned(), |c| format!("by {c}"));
                    format!("{} segment {} {}, {cause}", s.transition.as_str(), s.segment, local(s.at, config))
                },
            )
        }
        _ => firing.occasion.clone(),
    })
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Number(n) if n.is_f64() => format!("{:.4}", n.as_f64().unwrap_or_default()),
        value => plain(value),
    }
}

/// A score with its reasons, indented for a listing.
pub(super) fn score_lines(kind: ScoreKind, score: &Score) -> String {
    let value = match (score.value, &score.band) {
        (None, _) => "not enough data".to_owned(),
        (Some(value), Some(band)) => format!("{value:.2} ({band})"),
        (Some(value), None) => format!("{value:.2}"),
    };
    let interval = score.interval.map_or(String::new(), |(low, high)| format!(", 95 % interval {low:.2} to {high:.2}"));
    let mut text = format!("  {:<16} {value}{interval}", kind.as_str());
    for reason in &score.reasons {
        text.extend(["\n    ", &reason.what, ": ", &reason.seen, "; ", &reason.meaning]);
    }
    text
}
