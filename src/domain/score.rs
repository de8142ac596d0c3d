//! Scores: what a model says of a customer, with its reasons, or that it cannot say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is judged. The names are those of the literature and of rules: `customer.churn_risk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Quintiles of recency, frequency and monetary value; the value is their sum (3-15), the band reads `543`.
    Rfm,
    /// Probability of no purchase within the stated horizon, 0-1; bands `low`, `medium`, `high`.
    ChurnRisk,
    /// Expected net revenue of the next twelve months, in major units of the business's currency.
    LifetimeValue,
    /// Value tier by net revenue so far; the band is its name.
    Tier,
}

impl ScoreKind {
    /// All of them, in the order in which listings show them.
    pub const ALL: [ScoreKind; 4] = [ScoreKind::Tier, ScoreKind::ChurnRisk, ScoreKind::LifetimeValue, ScoreKind::Rfm];

    /// The word that rules, stores and listings use.
    pub fn as_str(self) -> &'static str {
        match self {
            ScoreKind::Rfm => "rfm",
            ScoreKind::ChurnRisk => "churn_risk",
            ScoreKind::LifetimeValue => "lifetime_value",
            ScoreKind::Tier => "tier",
        }
    }
}

/// One thing that made a score what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What was looked at: `recency_days`, `n_orders` ...
    pub what: String,
    /// What was seen there, for people.
    pub seen: String,
    /// What that means for the score, for people.
    pub meaning: String,
}

/// A model's word on one customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number; `None` is "not enough data", which rules see as `()`.
    pub value: Option<f64>,
    /// The named class that the number falls into; `None` with "not enough data".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<String>,
    /// 95 % interval of `value` where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// How many past cases the value rests on, where that is how the model works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// What a model gives is never empty: also "not enough data" says of what. Stored scores leave the reasons out, because
    /// they follow from the fit and the customer's events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Which fit said so.
    pub model: String,
}

/// All scores of one customer.
pub type Scores = BTreeMap<ScoreKind, Score>;
