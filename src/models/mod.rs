//! The kinds of judgement. A model is fitted on a point-in-time data set, scores one customer at one instant with reasons,
//! and is kept with its version, so a decision can be explained by the fit that it was made with. Pure and synchronous.
//!
//! A new model is one new file and one line in the registry.
#![warn(missing_docs)]

use serde_json::Value;

use crate::domain::clock::{Business, Timestamp};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::domain::score::{Score, ScoreKind};

/// One order as the models see it. Amounts are minor units of the business's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFact {
    /// When it was placed.
    pub at: Timestamp,
    /// When it could have been known.
    pub known_at: Timestamp,
    /// What was paid.
    pub gross_minor: i64,
    /// What went back: when that could have been known, and how much.
    pub refunds: Vec<(Timestamp, i64)>,
}

/// One customer as the models see it: orders in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerFacts {
    /// Who.
    pub customer: CustomerId,
    /// Placed orders, oldest first.
    pub orders: Vec<OrderFact>,
}

impl CustomerFacts {
    /// Reads the facts out of a profile.
    pub fn of(customer: CustomerId, profile: &Profile, business: &Business) -> Self {
        let currency = business.currency;
        let mut orders: Vec<OrderFact> = profile
            .orders
            .placed()
            .map(|(at, order)| {
                let gross_minor = order.gross_minor(currency);
                let amount = |a: Option<crate::domain::money::Money>| match a {
                    None => gross_minor,
                    Some(money) if money.currency == currency => money.minor,
                    Some(_) => 0,
                };
                let refunds = order.refunds.values().map(|r| (r.known_at, amount(r.amount))).collect();
                OrderFact { at, known_at: order.known_at.unwrap_or(at), gross_minor, refunds }
            })
            .collect();
        orders.sort_by_key(|order| order.at);
        CustomerFacts { customer, orders }
    }
}

/// What a model is fitted on: everything known by `as_of`, and nothing else may be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Dataset<'a> {
    /// All customers, in the order of their ids.
    pub customers: &'a [CustomerFacts],
    /// The instant of the fit.
    pub as_of: Timestamp,
    /// Whose days and whose money.
    pub business: &'a Business,
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
