//! The kinds of judgement. A model is fitted on a point-in-time data set, scores one customer at one instant with reasons,
//! and is kept with its version, so a decision can be explained by the fit that it was made with. Pure and synchronous.
//!
//! A new model is one new file and one line in [`all`]. What they share: [`facts`] (what was known of a customer, and when),
//! [`windows`] (which cut-offs can be learnt from), [`cells`] (recency × frequency, with pooling), [`metrics`].
#![warn(missing_docs)]

pub mod cells;
pub mod churn;
pub mod facts;
pub mod lifetime_value;
pub mod metrics;
pub mod packed;
pub mod rfm;
pub mod tier;
pub mod windows;

#[cfg(test)]
mod tests;

use jiff::civil::Time;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::clock::{Business, Timestamp};
use crate::domain::score::{Reason, Score, ScoreKind};

pub use churn::ChurnRiskConfig;
pub use facts::{CustomerFacts, Customers, Dataset, OrderFact};
pub use lifetime_value::LifetimeValueConfig;
pub use packed::PackedFacts;
pub use tier::TierConfig;

/// What `[models]` says about the kinds themselves. Every section may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsConfig {
    /// When everybody is scored anew and segments follow the passing of days, in the business's zone. Default `03:00`:
    /// after midnight's imports and before the first campaign of the morning.
    pub rescore: Time,
    /// `[models.tier]`: gold, silver, bronze by thresholds or by shares of the customers.
    pub tier: TierConfig,
    /// `[models.churn_risk]`: the horizon and the bands.
    pub churn_risk: ChurnRiskConfig,
    /// `[models.lifetime_value]`: the horizon.
    pub lifetime_value: LifetimeValueConfig,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        ModelsConfig {
            rescore: Time::constant(3, 0, 0, 0),
            tier: TierConfig::default(),
            churn_risk: ChurnRiskConfig::default(),
            lifetime_value: LifetimeValueConfig::default(),
        }
    }
}

impl ModelsConfig {
    /// Everything that is wrong with it, naming section and key; empty when nothing is.
    pub fn check(&self) -> Vec<String> {
        let sections = [
            ("tier", self.tier.check()),
            ("churn_risk", self.churn_risk.check()),
            ("lifetime_value", self.lifetime_value.check()),
        ];
        let wrong =
            |(section, checked): (&str, Result<(), String>)| Some(format!("models.{section}: {}", checked.err()?));
        sections.into_iter().filter_map(wrong).collect()
    }
}

/// The registry: every model that this version has, in the order of [`ScoreKind::ALL`].
pub fn all(config: &ModelsConfig) -> Vec<Box<dyn Model>> {
    vec![
        Box::new(tier::Tier(config.tier.clone())),
        Box::new(churn::ChurnRisk(config.churn_risk)),
        Box::new(lifetime_value::LifetimeValue(config.lifetime_value)),
        Box::new(rfm::Rfm),
    ]
}

/// A way to judge.
pub trait Model: Send + Sync {
    /// What it judges.
    fn kind(&self) -> ScoreKind;

    /// Learns from `data`. Never fails: too little data is a fit that says so.
    fn fit(&self, data: &Dataset<'_>) -> Box<dyn Fitted>;

    /// Back from what [`Fitted::to_json`] gave; an error when an older or newer program wrote it.
    fn load(&self, stored: &Value) -> Result<Box<dyn Fitted>, String>;
}

/// What was learnt.
pub trait Fitted: Send + Sync {
    /// What it judges.
    fn kind(&self) -> ScoreKind;

    /// Names the fit: kind, instant and a hash of the data, such as `churn_risk@2026-03-01#1f2e…`.
    fn version(&self) -> &str;

    /// Judges one customer at `now` from what is known by then. The score carries its reasons.
    fn score(&self, facts: &CustomerFacts, now: Timestamp, business: &Business) -> Score;

    /// Everything that [`Model::load`] needs.
    fn to_json(&self) -> Value;

    /// The model card for people: cut-offs, sizes, base rate, what was pooled.
    fn card(&self) -> Value;
}

/// The shape of stored fits. Raise it when a fit of before would be misread.
const FORMAT: u64 = 1;

/// How every fit is stored: its shape and kind in front, so that a reader can refuse before it misreads.
fn stored(kind: ScoreKind, fit: &impl Serialize) -> Value {
    json!({ "format": FORMAT, "kind": kind, "fit": fit })
}

fn load<T: DeserializeOwned>(kind: ScoreKind, stored: &Value) -> Result<T, String> {
    let again = "fit the models again";
    match stored.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(other) => {
            return Err(format!("this fit is stored in format {other}, this program reads format {FORMAT}; {again}"));
        }
        None => return Err(format!("this is not a stored fit; {again}")),
    }
    let found = stored.get("kind").and_then(Value::as_str).unwrap_or("nothing");
    if found != kind.as_str() {
        return Err(format!("this is a fit of {found}, not of {}; {again}", kind.as_str()));
    }
    let fit = stored.get("fit").unwrap_or(&Value::Null);
    T::deserialize(fit).map_err(|error| format!("this fit of {found} cannot be read: {error}; {again}"))
}

/// Quantiles of fewer ordering customers than this are an accident of who happens to be there.
const MIN_CUSTOMERS: usize = 50;

/// "Not enough data" is a value: it says of what.
fn not_enough_data(model: &str, what: &str, seen: String, missing: &str) -> Score {
    let reason = reason(what, seen, format!("not enough data: {missing}"));
    Score { value: None, band: None, interval: None, n: None, reasons: vec![reason], model: model.to_owned() }
}

fn no_order(model: &str) -> Score {
    not_enough_data(model, "n_orders", "no order known".to_owned(), "this score needs at least one order")
}

fn reason(what: &str, seen: String, meaning: String) -> Reason {
    Reason { what: what.to_owned(), seen, meaning }
}
