//! Rules as data: the card, and what an evaluation of one came to. The language itself is `crate::rules`.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::Action;

/// When a rule is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Sweeps everybody (or the audience) at the ticks of a cron expression in the business's zone. `daily("09:00")` is
    /// `0 9 * * *`.
    Schedule {
        /// Five fields, as in crontab(5).
        cron: String,
    },
    /// Asked about the customer of each live event of this name.
    On {
        /// The event's name.
        event: String,
    },
    /// Asked about a customer who enters the segment.
    Entering {
        /// The segment's name.
        segment: String,
    },
    /// Asked about a customer who leaves the segment.
    Leaving {
        /// The segment's name.
        segment: String,
    },
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trigger::Schedule { cron } => write!(f, "cron(\"{cron}\")"),
            Trigger::On { event } => write!(f, "on(\"{event}\")"),
            Trigger::Entering { segment } => write!(f, "entering(\"{segment}\")"),
            Trigger::Leaving { segment } => write!(f, "leaving(\"{segment}\")"),
        }
    }
}

/// A rule's `RULE` map, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleCard {
    /// When it is asked.
    pub trigger: Trigger,
    /// Only members of this segment are asked about.
    pub audience: Option<String>,
    /// After a firing the customer is left alone by this rule for so long.
    pub cooldown: Option<SignedDuration>,
    /// Share of customers, 0-1, who are in the control group: their firings are recorded and nothing is sent.
    pub holdout: f64,
    /// An action that could not leave within this time of its decision is of no use any more.
    pub max_lateness: SignedDuration,
}

/// One value that a condition looked at, as it stood: the raw material of `why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// As written in the rule: `churn_risk`, `days_since("Order Completed")`.
    pub what: String,
    /// `null` is a missing value.
    pub value: Value,
}

/// What running one rule on one subject came to. The same rule version, subject and instant give the same evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Whether `when` said yes.
    pub matched: bool,
    /// What `then` wants done, in its order. Empty when it did not match.
    pub actions: Vec<Action>,
    /// What `when` and `then` looked at, in the order of reading.
    pub trace: Vec<Seen>,
    /// The script failed: file, line, column and cause. It neither matched nor did anything.
    pub error: Option<String>,
    /// Where it failed, as `rules/win_back.rhai:7:14`, without the cause, which may repeat what a customer typed: for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
}
