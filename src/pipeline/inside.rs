//! The two ways that lead back inside: a task goes onto the built-in list, a trait becomes an event. Both are deliveries
//! like any other, so they are in the ledger and happen once.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::desk::Desk;
use super::ingest::Intake;
use crate::channels::{Channel, CommitPoint, Dispatch};
use crate::domain::action::Action;
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::delivery::{Doubt, Outcome};
use crate::domain::event::{Fact, names};
use crate::stores::Move;

/// The source of events that rekindle itself states.
pub const OWN_SOURCE: &str = "rekindle";

/// The built-in task list.
pub struct TaskList {
    /// Writes many tasks in one commit.
    pub desk: Desk,
}

#[async_trait]
impl Channel for TaskList {
    fn name(&self) -> &'static str {
        "task"
    }

    fn doubt(&self) -> Doubt {
        Doubt::Resend
    }

    fn concurrency(&self) -> usize {
        64
    }

    async fn deliver(&self, dispatch: &Dispatch, _: &dyn CommitPoint) -> Outcome {
        // The task and the settled delivery are one commit, so no intent has to be written before.
        let delivery = Box::new(dispatch.delivery.clone());
        match self.desk.apply(Move::OpenTask { delivery, at: dispatch.now }).await {
            Ok(_) => Outcome::Sent { receipt: "on the task list".to_owned() },
            Err(why) => Outcome::Retry { after: None, why },
        }
    }
}

/// `set_trait`: an event, because events are the ground state.
pub struct TraitSetter {
    /// The way into the log.
    pub intake: Arc<dyn Intake>,
}

#[async_trait]
impl Channel for TraitSetter {
    fn name(&self) -> &'static str {
        "trait"
    }

    fn doubt(&self) -> Doubt {
        // The message id is the delivery's key, so the log's reader drops a repetition.
        Doubt::Resend
    }

    fn concurrency(&self) -> usize {
        64
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let delivery = &dispatch.delivery;
        let Action::SetTrait { name, value } = &delivery.action else {
            return Outcome::Failed { why: format!("{} sets no trait", delivery.id) };
        };
        let customer = Identity::new(IdentityKind::CustomerId, &delivery.customer.to_string());
        let fact = Fact {
            source: OWN_SOURCE.to_owned(),
            message_id: delivery.idempotency_key(),
            name: names::TRAIT_SET.to_owned(),
            occurred_at: delivery.decided_at,
            received_at: dispatch.now,
            known_at: dispatch.now,
            imported: false,
            identities: customer.into_iter().collect(),
            traits: Map::from_iter([(name.clone(), value.clone())]),
            properties: Map::from_iter([("rule".to_owned(), Value::String(delivery.rule.clone()))]),
            context: Map::new(),
        };
        if let Err(why) = commit_point.commit().await {
            return Outcome::Retry { after: None, why };
        }
        match self.intake.submit(vec![fact], Vec::new()).await {
            Ok(()) => Outcome::Sent { receipt: "recorded as an event".to_owned() },
            Err(error) => Outcome::Retry { after: None, why: error.to_string() },
        }
    }
}
