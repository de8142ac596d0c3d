//! `rekindle why`: from a delivery back to what decided it.
//!
//! Deciding is pure, so the past can be asked again: the profile is folded from the events that were known then, and
//! scored by the fits that were in use then.

use std::fmt::Write;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::customers::plain;
use super::deliveries::{in_json, load};
use super::output::print_json;
use super::{Ended, Listing, local, look};
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::delivery::{Delivery, Firing};
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, SignalId};
use crate::domain::profile::Profile;
use crate::domain::score::{Score, ScoreKind, Scores};
use crate::models::{CustomerFacts, Fitted, all};
use crate::stores::{Attempt, Store};

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
            print!("{}", answer.text(&config)?);
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
        Ok(Answer { attempts: store.attempts_of(id).await?, delivery, firing, occasion, profile, scores, events })
    }

    fn json(&self) -> Value {
        json!({
            "delivery": in_json(&self.delivery, &self.attempts),
            "rule": { "id": self.firing.rule, "version": self.firing.rule_version },
            "occasion": { "id": self.firing.occasion, "means": self.occasion },
            "decided_at": self.firing.at.to_string(),
            "condition_saw": self.firing.trace,
            "scores": self.scores,
            "consent": self.profile.consent,
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
        writeln!(out, "  the rule saw")?;
        for seen in &self.firing.trace {
            writeln!(out, "    {:<36} {}", seen.what, shown(&seen.value))?;
        }

        writeln!(out, "\nWhat the models said then")?;
        for (kind, score) in &self.scores {
            writeln!(out, "{}", score_lines(*kind, score))?;
        }

        writeln!(out, "\nWhy it might go")?;
        self.admission(&mut out, config)?;

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

    fn admission(&self, out: &mut String, config: &Config) -> std::fmt::Result {
        let d = &self.delivery;
        match d.class {
            None => writeln!(out, "  a {} reaches nobody outside; it needs no consent", d.action.channel())?,
            Some(class) => {
                let topic = d.topic.as_deref().map_or(String::new(), |t| format!(", topic {t}"));
                writeln!(out, "  class      {}{topic}", class.as_str())?;
                if class == MessageClass::Marketing {
                    for (key, word) in &self.profile.consent {
                        let said = if word.given { "given" } else { "withdrawn" };
                        writeln!(
                            out,
                            "  consent    {key}: {said} {} by {}",
                            local(word.stamp.0, config),
                            word.stamp.1
                        )?;
                    }
                } else {
                    writeln!(out, "  consent    not needed for this class")?;
                }
                let active = self.profile.suppression.as_ref().filter(|s| s.active);
                writeln!(out, "  suppressed {}", active.map_or("no", |s| s.reason.as_str()))?;
            }
        }
        writeln!(out, "  of use     until {}", local(d.expires_at, config))
    }
}

pub(super) async fn fits_at(store: &dyn Store, config: &Config, at: Timestamp) -> anyhow::Result<Vec<Arc<dyn Fitted>>> {
    let models = all(&config.models);
    let mut fits: Vec<Arc<dyn Fitted>> = Vec::new();
    for stored in store.models_at(at).await? {
        if let Some(model) = models.iter().find(|m| m.kind().as_str() == stored.kind) {
            fits.push(Arc::from(model.load(&stored.fitted).map_err(anyhow::Error::msg)?));
        }
    }
    Ok(fits)
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

fn shown(value: &Value) -> String {
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
