//! Value tier: gold, silver, bronze, or as the company calls them, by net revenue so far. Either by amounts that somebody
//! decided on, or by shares of the customers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts::{CustomerFacts, Dataset};
use super::{Fitted, MIN_CUSTOMERS, Model, load, not_enough_data, reason, stored};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::score::{Score, ScoreKind};

/// The band of customers who have not ordered.
pub const NO_ORDER: &str = "none";

/// `[models.tier]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum TierConfig {
    /// `by = "thresholds"`: who has brought at least so much net revenue.
    Thresholds {
        /// Name and least net revenue in major units, highest first: `[["gold", 1000.0], ["silver", 300.0]]`.
        tiers: Vec<(String, f64)>,
        /// Everybody else who has ordered. Default `bronze`.
        #[serde(default = "bronze")]
        otherwise: String,
    },
    /// `by = "quantiles"`: the best customers, then the next ones. Who brought as much as the last of a tier is in it too.
    Quantiles {
        /// Name and share of the customers who have ordered, best first: `[["gold", 0.1], ["silver", 0.3]]`.
        tiers: Vec<(String, f64)>,
        /// Everybody else who has ordered. Default `bronze`.
        #[serde(default = "bronze")]
        otherwise: String,
    },
}

fn bronze() -> String {
    "bronze".to_owned()
}

impl Default for TierConfig {
    /// The best tenth are gold, the next three tenths silver: it fits any shop until somebody knows better.
    fn default() -> Self {
        TierConfig::Quantiles { tiers: vec![("gold".to_owned(), 0.1), ("silver".to_owned(), 0.3)], otherwise: bronze() }
    }
}

impl TierConfig {
    /// What is wrong with it, if anything, naming the key.
    pub fn check(&self) -> Result<(), String> {
        let (TierConfig::Thresholds { tiers, otherwise } | TierConfig::Quantiles { tiers, otherwise }) = self;
        let mut names: Vec<&str> = tiers.iter().map(|(name, _)| name.as_str()).chain([otherwise.as_str()]).collect();
        if let Some(name) = names.iter().find(|name| name.trim().is_empty() || **name == NO_ORDER) {
            return Err(format!("`{name}` cannot name a tier; `{NO_ORDER}` is the tier of customers without an order"));
        }
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(format!("`{name}` names two tiers"));
        }
        match self {
            TierConfig::Thresholds { tiers, .. } => {
                if let Some((name, edge)) = tiers.iter().find(|(_, edge)| !edge.is_finite()) {
                    return Err(format!("the threshold {edge} of `{name}` is not an amount"));
                }
                match tiers.windows(2).find(|pair| pair[0].1 <= pair[1].1) {
                    Some(pair) => Err(format!("`{}` must ask for more than `{}`: highest first", pair[0].0, pair[1].0)),
                    None => Ok(()),
                }
            }
            TierConfig::Quantiles { tiers, .. } => {
                if let Some((name, share)) = tiers.iter().find(|(_, share)| !(*share > 0.0 && *share < 1.0)) {
                    return Err(format!("the share {share} of `{name}` is not between 0 and 1; write 0.1 for a tenth"));
                }
                match tiers.iter().map(|(_, share)| share).sum::<f64>() {
                    sum if sum > 1.0 + 1e-9 => Err(format!("the shares add up to {sum}, more than all customers")),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct Tier(pub TierConfig);

impl Model for Tier {
    fn kind(&self) -> ScoreKind {
        ScoreKind::Tier
    }

    fn fit(&self, data: &Dataset<'_>) -> Box<dyn Fitted> {
        Box::new(Fit::new(&self.0, data))
    }

    fn load(&self, stored: &Value) -> Result<Box<dyn Fitted>, String> {
        load::<Fit>(self.kind(), stored).map(|fit| Box::new(fit) as Box<dyn Fitted>)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    version: String,
    as_of: Timestamp,
    currency: Currency,
    config: TierConfig,
    /// Customers who had ordered.
    n: u64,
    /// Least net revenue in minor units of each named tier, highest first; `None` when there are too few for quantiles.
    edges: Option<Vec<i64>>,
    /// Customers in each tier at the fit, the last one being `otherwise`.
    n_by_tier: Vec<u64>,
}

impl Fit {
    fn new(config: &TierConfig, data: &Dataset<'_>) -> Fit {
        let currency = data.business.currency;
        let with_order = data.customers.iter().filter(|facts| facts.orders_known_by(data.as_of).next().is_some());
        let mut nets: Vec<i64> = with_order.map(|facts| facts.net_minor_known_by(data.as_of)).collect();
        nets.sort_unstable_by(|a, b| b.cmp(a));
        let edges = match config {
            TierConfig::Thresholds { tiers, .. } => {
                Some(tiers.iter().map(|(_, edge)| least_minor(currency, *edge)).collect())
            }
            TierConfig::Quantiles { .. } if nets.len() < MIN_CUSTOMERS => None,
            TierConfig::Quantiles { tiers, .. } => {
                let mut share_so_far = 0.0;
                let last_of = |(_, share): &(String, f64)| {
                    share_so_far += share;
                    nets[position(nets.len(), share_so_far)]
                };
                Some(tiers.iter().map(last_of).collect())
            }
        };
        let mut fit = Fit {
            version: data.version(ScoreKind::Tier, config),
            as_of: data.as_of,
            currency,
            config: config.clone(),
            n: nets.len() as u64,
            edges,
            n_by_tier: Vec::new(),
        };
        if let Some(edges) = &fit.edges {
            let mut n_by_tier = vec![0; edges.len() + 1];
            for net in &nets {
                n_by_tier[tier_of(edges, *net)] += 1;
            }
            fit.n_by_tier = n_by_tier;
        }
        fit
    }

    fn name(&self, tier: usize) -> &str {
        let (TierConfig::Thresholds { tiers, otherwise } | TierConfig::Quantiles { tiers, otherwise }) = &self.config;
        tiers.get(tier).map_or(otherwise, |(name, _)| name)
    }

    fn money(&self, minor: i64) -> Money {
        Money { minor, currency: self.currency }
    }
}

/// The first tier whose edge is reached; one past the last when none is.
fn tier_of(edges: &[i64], net_minor: i64) -> usize {
    edges.iter().position(|edge| net_minor >= *edge).unwrap_or(edges.len())
}

/// The threshold in minor units; half a penny more or less does not decide anybody's tier.
#[expect(clippy::cast_possible_truncation, reason = "a float outside the range of i64 saturates")]
fn least_minor(currency: Currency, major: f64) -> i64 {
    (major * 10f64.powi(currency.exponent().cast_signed())).round() as i64
}

/// Where the last of the best `share` of `n` stands, counted from 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of customers, clamped"
)]
fn position(n: usize, share: f64) -> usize {
    // 0.1 + 0.2 is a little more than 0.3: that little must not take one customer more.
    ((n as f64 * share - 1e-6).ceil().max(1.0) as usize).min(n) - 1
}

impl Fitted for Fit {
    fn kind(&self) -> ScoreKind {
        ScoreKind::Tier
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, facts: &CustomerFacts, now: Timestamp, _business: &Business) -> Score {
        let net_minor = facts.net_minor_known_by(now);
        let net = self.money(net_minor);
        let (band, meaning, n) = if facts.orders_known_by(now).next().is_none() {
            (NO_ORDER, format!("{NO_ORDER}: no order known"), None)
        } else {
            let Some(edges) = &self.edges else {
                let seen = format!("{} customers with an order", self.n);
                let missing = format!("tiers by share need {MIN_CUSTOMERS} customers who have ordered");
                return not_enough_data(&self.version, "n_customers", seen, &missing);
            };
            let tier = tier_of(edges, net_minor);
            let name = self.name(tier);
            let meaning = match (edges.get(tier), tier.checked_sub(1)) {
                (Some(edge), _) => format!("{name}: {} or more", self.money(*edge)),
                (None, Some(above)) => {
                    format!("{name}: less than the {} of {}", self.money(edges[above]), self.name(above))
                }
                (None, None) => format!("{name}: everybody who has ordered"),
            };
            (name, meaning, Some(self.n))
        };
        Score {
            value: Some(self.currency.major(net_minor)),
            band: Some(band.to_owned()),
            interval: None,
            n,
            reasons: vec![reason("net_revenue", net.to_string(), meaning)],
            model: self.version.clone(),
        }
    }

    fn to_json(&self) -> Value {
        stored(ScoreKind::Tier, self)
    }

    fn card(&self) -> Value {
        let tiers = match &self.edges {
            None => json!(format!("not enough data: {} of {MIN_CUSTOMERS} customers with an order", self.n)),
            Some(edges) => (0..=edges.len())
                .map(|tier| {
                    let from = edges.get(tier).map(|edge| self.currency.major(*edge));
                    json!({ "tier": self.name(tier), "net_revenue_from": from, "n": self.n_by_tier.get(tier) })
                })
                .collect(),
        };
        json!({
            "score": "tier", "version": self.version, "as_of": self.as_of.to_string(), "currency": self.currency,
            "means": "class by net revenue so far; customers without an order are `none`",
            "config": self.config, "n": self.n, "tiers": tiers,
        })
    }
}
