//! Delivering in memory.

use async_trait::async_trait;
use rekindle::domain::action::Action;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::delivery::{Delivery, DeliveryState};
use rekindle::domain::id::DeliveryId;
use rekindle::stores::{Attempt, LedgerStore, Move, StoreError, StoreResult, Task};

use super::{MemoryStore, Tables, under_way, waits};

#[async_trait]
impl LedgerStore for MemoryStore {
    async fn claim_deliveries(
        &self,
        channel: &str,
        now: Timestamp,
        lease_until: Timestamp,
        max: usize,
    ) -> StoreResult<Vec<Delivery>> {
        let mut tables = self.tables();
        let ripe = |d: &Delivery| d.action.channel() == channel && waits(d.state) && d.due_at <= now;
        let ripe = tables.deliveries.values().map(|leased| &leased.delivery).filter(|d| ripe(d));
        let mut ripe: Vec<(Timestamp, DeliveryId)> = ripe.map(|d| (d.due_at, d.id)).collect();
        ripe.sort_unstable();
        let mut claimed = Vec::new();
        for (_, id) in ripe.into_iter().take(max) {
            let leased = tables.deliveries.get_mut(&id).unwrap();
            leased.delivery.state = DeliveryState::Leased;
            leased.until = Some(lease_until);
            claimed.push(leased.delivery.clone());
        }
        Ok(claimed)
    }

    async fn apply_moves(&self, moves: &[Move]) -> StoreResult<Vec<bool>> {
        let mut tables = self.tables();
        if let Some(id) = moves.iter().find_map(no_task) {
            return Err(StoreError::Corrupt(format!("{id} is not a task")));
        }
        Ok(moves.iter().map(|one| tables.apply(one)).collect())
    }

    async fn abandoned_deliveries(&self, now: Option<Timestamp>) -> StoreResult<Vec<Delivery>> {
        let tables = self.tables();
        let all = tables.deliveries.values().filter(|leased| under_way(leased.delivery.state));
        let over = all.filter(|leased| now.is_none_or(|now| leased.until.is_some_and(|until| until <= now)));
        Ok(over.map(|leased| leased.delivery.clone()).collect())
    }

    async fn next_due(&self, channel: Option<&str>) -> StoreResult<Option<Timestamp>> {
        let tables = self.tables();
        let waiting = tables.deliveries.values().map(|leased| &leased.delivery).filter(|d| waits(d.state));
        let asked = waiting.filter(|d| channel.is_none_or(|channel| d.action.channel() == channel));
        Ok(asked.map(|d| d.due_at).min())
    }
}

fn no_task(one: &Move) -> Option<DeliveryId> {
    match one {
        Move::OpenTask { delivery, .. } if !matches!(delivery.action, Action::Task { .. }) => Some(delivery.id),
        _ => None,
    }
}

impl Tables {
    fn apply(&mut self, one: &Move) -> bool {
        match one {
            Move::Commit { delivery, .. } => {
                let leased = self.deliveries.get_mut(delivery).filter(|l| l.delivery.state == DeliveryState::Leased);
                leased.map(|leased| leased.delivery.state = DeliveryState::Committing).is_some()
            }
            Move::Settle { delivery, state, due_at, reason, receipt, attempt, at } => {
                self.settle(*delivery, *state, *due_at, reason.as_deref(), receipt.as_deref(), *attempt, *at)
            }
            Move::OpenTask { delivery, at } => {
                let sent = DeliveryState::Sent;
                if !self.settle(delivery.id, sent, None, None, Some("on the task list"), true, *at) {
                    return false;
                }
                let Action::Task { title, details } = &delivery.action else { return false };
                let task = Task {
                    delivery: delivery.id,
                    customer: delivery.customer,
                    rule: delivery.rule.clone(),
                    title: title.clone(),
                    details: details.clone().into(),
                    created_at: *at,
                };
                self.tasks.insert(delivery.id, task);
                true
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one move")]
    fn settle(
        &mut self,
        id: DeliveryId,
        state: DeliveryState,
        due_at: Option<Timestamp>,
        reason: Option<&str>,
        receipt: Option<&str>,
        attempt: bool,
        at: Timestamp,
    ) -> bool {
        let Some(leased) = self.deliveries.get_mut(&id).filter(|l| under_way(l.delivery.state)) else { return false };
        leased.until = None;
        let delivery = &mut leased.delivery;
        delivery.state = state;
        delivery.due_at = due_at.unwrap_or(delivery.due_at);
        delivery.reason = reason.map(str::to_owned);
        delivery.receipt = receipt.map(str::to_owned).or_else(|| delivery.receipt.take());
        delivery.settled_at = (!waits(state)).then_some(at);
        if attempt {
            delivery.n_attempts += 1;
            let detail = receipt.or(reason).unwrap_or_default().to_owned();
            let attempt = Attempt { n: delivery.n_attempts, at, outcome: state.to_string(), detail };
            self.attempts.entry(id).or_default().push(attempt);
        }
        true
    }
}
