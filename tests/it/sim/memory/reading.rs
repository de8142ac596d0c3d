//! Looking, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::event::Event;
use rekindle::domain::id::{CustomerId, DeliveryId, FiringId};
use rekindle::domain::segment::Signal;
use rekindle::stores::{Attempt, DeliveryFilter, LedgerCount, ReadStore, StoreResult, Task};

use super::{MemoryStore, under_way, waits};

#[async_trait]
impl ReadStore for MemoryStore {
    async fn delivery(&self, id: DeliveryId) -> StoreResult<Option<Delivery>> {
        Ok(self.tables().deliveries.get(&id).map(|leased| leased.delivery.clone()))
    }

    async fn attempts_of(&self, id: DeliveryId) -> StoreResult<Vec<Attempt>> {
        Ok(self.tables().attempts.get(&id).cloned().unwrap_or_default())
    }

    async fn firing(&self, id: FiringId) -> StoreResult<Option<Firing>> {
        Ok(self.tables().firings.get(&id).cloned())
    }

    async fn list_deliveries(&self, filter: &DeliveryFilter) -> StoreResult<Vec<Delivery>> {
        let tables = self.tables();
        let place = |d: &Delivery| (d.decided_at, d.id);
        let after = filter.after.map(|id| tables.deliveries.get(&id).map(|leased| place(&leased.delivery)));
        let wanted = |d: &&Delivery| {
            filter.state.is_none_or(|state| d.state == state)
                && filter.rule.as_ref().is_none_or(|rule| d.rule == *rule)
                && filter.customer.is_none_or(|customer| d.customer == customer)
                && filter.channel.as_ref().is_none_or(|channel| d.action.channel() == channel)
                && filter.since.is_none_or(|since| d.decided_at >= since)
                && filter.until.is_none_or(|until| d.decided_at < until)
                && after.is_none_or(|after| after.is_some_and(|after| place(d) < after))
        };
        let found = tables.deliveries.values().map(|leased| &leased.delivery).filter(wanted);
        let mut found: Vec<Delivery> = found.cloned().collect();
        found.sort_by_key(|d| std::cmp::Reverse(place(d)));
        found.truncate(filter.limit as usize);
        Ok(found)
    }

    async fn refusals_of(&self, customer: CustomerId) -> StoreResult<Vec<(String, u32, String, u64, Timestamp)>> {
        let tables = self.tables();
        let mut sums: BTreeMap<(String, u32, String), (u64, Timestamp)> = BTreeMap::new();
        for ((rule, _, step, reason), counted) in &tables.refusals {
            if counted.customer == customer {
                let (n, last_at) = sums.entry((rule.clone(), *step, reason.clone())).or_insert((0, counted.last_at));
                *n += counted.n;
                *last_at = counted.last_at.max(*last_at);
            }
        }
        Ok(sums.into_iter().map(|((rule, step, reason), (n, at))| (rule, step, reason, n, at)).collect())
    }

    async fn signals_of(&self, customer: CustomerId) -> StoreResult<Vec<Signal>> {
        let tables = self.tables();
        let mut own: Vec<Signal> = tables.signals.values().filter(|s| s.customer == customer).cloned().collect();
        own.sort_by_key(|signal| std::cmp::Reverse((signal.at, signal.id)));
        own.truncate(100);
        Ok(own)
    }

    async fn events_of(&self, customer: CustomerId, until: Timestamp, max: u32) -> StoreResult<Vec<Event>> {
        let tables = self.tables();
        let own = tables.events.values().rev();
        let own = own.filter(|event| event.customer == Some(customer) && event.fact.known_at <= until);
        Ok(own.take(max as usize).cloned().collect())
    }

    async fn scan_events(&self, after: i64, max: usize) -> StoreResult<Vec<(i64, Event)>> {
        let tables = self.tables();
        Ok(tables.events.range(after + 1..).take(max).map(|(at, event)| (*at, event.clone())).collect())
    }

    async fn ledger_counts(&self) -> StoreResult<Vec<LedgerCount>> {
        let tables = self.tables();
        let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for d in tables.deliveries.values().map(|leased| &leased.delivery) {
            let key = (d.rule.clone(), d.action.channel().to_owned(), d.state.to_string());
            *counts.entry(key).or_default() += 1;
        }
        for ((rule, _, _, reason), counted) in &tables.refusals {
            *counts.entry((rule.clone(), "refused".to_owned(), reason.clone())).or_default() += counted.n;
        }
        for firing in tables.firings.values().filter(|firing| firing.held_out) {
            let key = (firing.rule.clone(), "held out".to_owned(), "control group".to_owned());
            *counts.entry(key).or_default() += 1;
        }
        Ok(counts.into_iter().map(|((rule, channel, what), n)| (rule, channel, what, n)).collect())
    }

    async fn waiting_deliveries(&self) -> StoreResult<Vec<(String, String, u64)>> {
        let tables = self.tables();
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for d in tables.deliveries.values().map(|leased| &leased.delivery) {
            if waits(d.state) || under_way(d.state) || d.state == DeliveryState::Unknown {
                *counts.entry((d.action.channel().to_owned(), d.state.to_string())).or_default() += 1;
            }
        }
        Ok(counts.into_iter().map(|((channel, state), n)| (channel, state, n)).collect())
    }

    async fn open_tasks(&self, max: u32) -> StoreResult<Vec<Task>> {
        let tables = self.tables();
        let open = tables.tasks.values().filter(|task| !tables.done_tasks.contains(&task.delivery));
        let mut tasks: Vec<Task> = open.cloned().collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        tasks.truncate(max as usize);
        Ok(tasks)
    }

    async fn event_counts(&self) -> StoreResult<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for event in self.tables().events.values() {
            *counts.entry(event.fact.name.clone()).or_default() += 1;
        }
        Ok(counts)
    }
}
