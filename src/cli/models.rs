//! `rekindle models`: the model cards. What each fit learned, from how many cases, and how a fit without the newest window
//! did on that window: the answer to "can I believe this score?".

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::output::{print_json, table};
use super::{Ended, Listing, local, look};
use crate::domain::clock::Timestamp;
use crate::domain::diagnostic::did_you_mean;
use crate::domain::score::ScoreKind;
use crate::stores::{ModelStore, StoredModel};

/// Look at the models: what they learned, and how well they did on customers they had not seen.
#[derive(Debug, Args)]
pub(super) struct Models {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the fits that are in use: one of each of the four models, so there are no pages.
    #[command(after_help = "Example:\n  rekindle models list --json")]
    List {
        /// The fits that were in use then (RFC 3339) instead of now.
        #[arg(long, value_name = "INSTANT")]
        at: Option<Timestamp>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show the card of one model: its cells, cut-offs and holdout.
    #[command(after_help = "Example:\n  rekindle models show churn_risk")]
    Show {
        /// `tier`, `churn_risk`, `lifetime_value` or `rfm`.
        model: String,
        /// The fit that was in use then (RFC 3339) instead of now.
        #[arg(long, value_name = "INSTANT")]
        at: Option<Timestamp>,
        #[command(flatten)]
        listing: Listing,
    },
}

impl Models {
    pub(super) async fn run(self) -> anyhow::Result<Ended> {
        match self.what {
            What::List { at, listing } => {
                let (config, files) = look(&listing.common).await?;
                let models = files.store.models_at(at.unwrap_or(Timestamp::MAX)).await?;
                if listing.json {
                    let item = |m: &StoredModel| json!({ "model": m.kind, "version": m.version, "fitted_at": m.fitted_at.to_string(), "card": m.card });
                    print_json(&json!({ "items": models.iter().map(item).collect::<Vec<_>>(), "next": null }));
                    return Ok(Ended::Well);
                }
                let row = |m: &StoredModel| {
                    let n = m.card.get("n").map_or_else(String::new, cell);
                    vec![m.kind.clone(), local(m.fitted_at, &config), n, holdout(&m.card), m.version.clone()]
                };
                let rows: Vec<_> = models.iter().map(row).collect();
                println!("{}", table(&["MODEL", "FITTED", "CASES", "ON CUSTOMERS IT HAD NOT SEEN", "VERSION"], &rows));
            }
            What::Show { model, at, listing } => {
                let (config, files) = look(&listing.common).await?;
                let models = files.store.models_at(at.unwrap_or(Timestamp::MAX)).await?;
                let Some(found) = models.into_iter().find(|m| m.kind == model) else { return Err(none_such(&model)) };
                if listing.json {
                    print_json(&found.card);
                } else {
                    println!("{}, fitted {}", found.kind, local(found.fitted_at, &config));
                    print!("{}", card(&found.card));
                }
            }
        }
        Ok(Ended::Well)
    }
}

fn none_such(model: &str) -> anyhow::Error {
    let known = ScoreKind::ALL.map(ScoreKind::as_str);
    if known.contains(&model) {
        return anyhow::anyhow!(
            "`{model}` has not been fitted yet; the daily rescoring and every import fit the models"
        );
    }
    match did_you_mean(model, known) {
        Some(meant) => anyhow::anyhow!("there is no model `{model}`; did you mean `{meant}`?"),
        None => anyhow::anyhow!("there is no model `{model}`; there are {}", known.join(", ")),
    }
}

/// How the fit without the newest window did on it, in a few words.
fn holdout(card: &Value) -> String {
    match card.get("holdout") {
        None => String::new(),
        Some(Value::Object(holdout)) => {
            let said = ["auc", "brier", "ece10", "bias", "mean_absolute_error"];
            let said = said.iter().filter_map(|key| Some(format!("{key} {}", cell(holdout.get(*key)?))));
            said.collect::<Vec<_>>().join(", ")
        }
        Some(other) => cell(other),
    }
}

/// A card as text: what is one value first, then what has parts, then tables.
fn card(card: &Value) -> String {
    let empty = Map::new();
    let card = card.as_object().unwrap_or(&empty);
    let parts = card.iter().filter_map(|(key, value)| match value {
        Value::Object(parts) => Some(format!("\n{}\n{}", heading(key), fields(parts))),
        Value::Array(rows) if rows.iter().all(Value::is_object) => {
            Some(format!("\n{}\n{}\n", heading(key), rows_of(rows)))
        }
        _ => None,
    });
    std::iter::once(fields(card)).chain(parts).collect()
}

fn fields(map: &Map<String, Value>) -> String {
    let one_value = |value: &Value| match value {
        Value::Object(_) => false,
        Value::Array(items) => !items.iter().all(Value::is_object),
        _ => true,
    };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    let lines = map.iter().filter(|(_, value)| one_value(value));
    lines.fold(String::new(), |text, (key, value)| format!("{text}  {key:width$}  {}\n", cell(value)))
}

/// What a row is about stands first, then what it says.
const FIRST: [&str; 7] = ["recency_days", "order_days", "cut_off", "until", "tier", "value", "interval"];

fn rows_of(rows: &[Value]) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys.sort_by_key(|key| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| keys.iter().map(|key| row.get(key).map_or_else(String::new, cell)).collect()).collect();
    table(&keys, &cells)
}

fn heading(key: &str) -> String {
    let words = key.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => match items.as_slice() {
            [low, high] if low.is_number() && high.is_number() => format!("{} to {}", cell(low), cell(high)),
            items => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        },
        other => other.to_string(),
    }
}
