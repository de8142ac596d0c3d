//! The subject: everything that a rule, a segment or a template may see of one customer at one instant. Deciding is pure
//! because this is all there is to decide from.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::clock::{Business, Timestamp};
use super::event::Fact;
use super::id::CustomerId;
use super::profile::Profile;
use super::score::{ScoreKind, Scores};
use super::segment::Memberships;

/// One customer at one instant.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Who.
    pub customer: CustomerId,
    /// What is known.
    pub profile: Arc<Profile>,
    /// What the models say.
    pub scores: Arc<Scores>,
    /// The segments that the customer is in, and those that it is not.
    pub segments: Arc<Memberships>,
    /// The event that woke the rule, where one did.
    pub event: Option<Arc<Fact>>,
    /// "Now" for this decision.
    pub now: Timestamp,
    /// Whose days and whose money.
    pub business: Arc<Business>,
}

impl Subject {
    /// Whether the customer is in `segment`.
    pub fn is_in(&self, segment: &str) -> bool {
        self.segments.get(segment) == Some(&true)
    }

    /// The number of a score; `None` is "not enough data" or never scored.
    pub fn score(&self, kind: ScoreKind) -> Option<f64> {
        self.scores.get(&kind)?.value
    }

    /// The band of a score.
    pub fn band(&self, kind: ScoreKind) -> Option<&str> {
        self.scores.get(&kind)?.band.as_deref()
    }

    /// What templates see as `customer`: traits, then the names that scores and derived values own.
    pub fn template_view(&self) -> Map<String, Value> {
        let profile = &self.profile;
        let mut view: Map<String, Value> = profile
            .traits
            .iter()
            .filter(|(_, t)| !t.value.is_null())
            .map(|(k, t)| (k.clone(), t.value.clone()))
            .collect();
        let currency = self.business.currency;
        view.insert("id".into(), json!(self.customer.to_string()));
        if let Some(email) = profile.email() {
            view.insert("email".into(), json!(email));
        }
        if let Some(tier) = self.band(ScoreKind::Tier) {
            view.insert("tier".into(), json!(tier));
        }
        for kind in [ScoreKind::ChurnRisk, ScoreKind::LifetimeValue] {
            if let Some(value) = self.score(kind) {
                view.insert(kind.as_str().into(), json!(value));
            }
        }
        view.insert("n_orders".into(), json!(profile.orders.placed().count()));
        view.insert("net_revenue".into(), json!(currency.major(profile.orders.net_minor(currency))));
        view
    }
}
