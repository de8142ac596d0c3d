//! Merges, taking them back, and tasks, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::Identity;
use rekindle::domain::event::Event;
use rekindle::domain::id::{CustomerId, DeliveryId};
use rekindle::stores::{ListedMerge, Merge, OperatorStore, Separation, Split, StoreResult};

use super::{MemoryStore, Tables};

impl Tables {
    /// In the order in which they happened, so a survivor may be absorbed by a later one.
    pub(super) fn write_merges(&mut self, merges: &[Merge]) {
        for merge in merges {
            let (absorbed, survivor) = (merge.absorbed, merge.survivor);
            if let Some(row) = self.customers.get_mut(&absorbed) {
                row.merged_into = Some(survivor);
            }
            self.merges.insert(absorbed, *merge);
            self.judgements.remove(&absorbed);
            let follow = |customer: &mut CustomerId| {
                if *customer == absorbed {
                    *customer = survivor;
                }
            };
            self.events.values_mut().filter_map(|event| event.customer.as_mut()).for_each(follow);
            self.identities.values_mut().for_each(follow);
            self.firings.values_mut().for_each(|firing| follow(&mut firing.customer));
            self.deliveries.values_mut().for_each(|leased| follow(&mut leased.delivery.customer));
            self.signals.values_mut().for_each(|signal| follow(&mut signal.customer));
            self.tasks.values_mut().for_each(|task| follow(&mut task.customer));
            self.refusals.values_mut().for_each(|counted| follow(&mut counted.customer));
            for separation in self.separations.values_mut() {
                follow(&mut separation.today.0);
                follow(&mut separation.today.1);
            }
        }
    }

    /// What is the joined customer's goes where whoever it belonged to at first leads to now.
    pub(super) fn split(&mut self, split: &Split) {
        let joined = split.joined;
        let leads: BTreeMap<CustomerId, CustomerId> =
            split.members.iter().map(|(id, _, today)| (*id, *today)).collect();
        for (id, into, _) in &split.members {
            if let Some(row) = self.customers.get_mut(id) {
                row.merged_into = *into;
            }
            self.merges.remove(id);
            if into.is_some() {
                self.judgements.remove(id);
            }
        }
        self.arrived_as.extend(split.arrived.iter().copied());
        let goes_back = |customer: &mut CustomerId, subject: Option<&CustomerId>| {
            if let Some(today) = subject.and_then(|subject| leads.get(subject)).filter(|_| *customer == joined) {
                *customer = *today;
            }
        };
        for (at, event) in &mut self.events {
            if let Some(customer) = &mut event.customer {
                goes_back(customer, self.arrived_as.get(at));
            }
        }
        self.identities.values_mut().for_each(|customer| goes_back(customer, Some(&joined)));
        let subjects = &self.subjects;
        for (id, task) in &mut self.tasks {
            if self.deliveries[id].delivery.customer == joined
                && let Some(today) = subjects.get(id.as_bytes()).and_then(|subject| leads.get(subject))
            {
                task.customer = *today;
            }
        }
        for (id, firing) in &mut self.firings {
            goes_back(&mut firing.customer, subjects.get(id.as_bytes()));
        }
        for (id, leased) in &mut self.deliveries {
            goes_back(&mut leased.delivery.customer, subjects.get(id.as_bytes()));
        }
        for (id, signal) in &mut self.signals {
            goes_back(&mut signal.customer, subjects.get(id.as_bytes()));
        }
        for ((_, subject, ..), counted) in &mut self.refusals {
            goes_back(&mut counted.customer, Some(subject));
        }
        for separation in self.separations.values_mut() {
            goes_back(&mut separation.today.0, Some(&separation.stated.0));
            goes_back(&mut separation.today.1, Some(&separation.stated.1));
        }
        self.merges.extend(split.merges.iter().map(|merge| (merge.absorbed, *merge)));
    }

    /// One that is stated again holds from when it held first.
    pub(super) fn separate(&mut self, separations: &[Separation]) {
        for separation in separations {
            self.separations.entry(separation.stated).or_insert(*separation);
        }
    }
}

#[async_trait]
impl OperatorStore for MemoryStore {
    async fn list_merges(
        &self,
        living: Option<CustomerId>,
        after: Option<(i64, CustomerId)>,
        max: u32,
    ) -> StoreResult<Vec<ListedMerge>> {
        let tables = self.tables();
        let listed = tables.merges.values().filter_map(|merge| {
            let event = tables.events.get(&merge.position)?;
            Some(ListedMerge {
                merge: *merge,
                living: event.customer?,
                event: event.id,
                name: event.fact.name.clone(),
                source: event.fact.source.clone(),
                at: event.fact.received_at,
            })
        });
        let place = |listed: &ListedMerge| (listed.merge.position, listed.merge.absorbed);
        let mut listed: Vec<ListedMerge> = listed
            .filter(|one| living.is_none_or(|living| one.living == living))
            .filter(|one| after.is_none_or(|after| place(one) < after))
            .collect();
        listed.sort_by_key(|one| std::cmp::Reverse(place(one)));
        listed.truncate(max as usize);
        Ok(listed)
    }

    async fn merge_of(&self, absorbed: CustomerId) -> StoreResult<Option<Merge>> {
        Ok(self.tables().merges.get(&absorbed).copied())
    }

    async fn merges_into(&self, living: CustomerId) -> StoreResult<Vec<Merge>> {
        let tables = self.tables();
        let mut group: Vec<Merge> = Vec::new();
        let mut next = vec![living];
        while let Some(survivor) = next.pop() {
            let into = tables.merges.values().filter(|merge| merge.survivor == survivor);
            next.extend(into.clone().map(|merge| merge.absorbed));
            group.extend(into);
        }
        group.sort_by_key(|merge| (merge.position, merge.absorbed));
        Ok(group)
    }

    async fn separations_of(&self, living: &[CustomerId]) -> StoreResult<Vec<Separation>> {
        let tables = self.tables();
        let concerns = |s: &&Separation| living.contains(&s.today.0) || living.contains(&s.today.1);
        Ok(tables.separations.values().filter(concerns).copied().collect())
    }

    async fn events_filed(
        &self,
        customer: CustomerId,
        position: i64,
        max: usize,
    ) -> StoreResult<Vec<(i64, CustomerId, Event)>> {
        let tables = self.tables();
        let own = tables.events.range(position + 1..).filter(|(_, event)| event.customer == Some(customer));
        Ok(own.take(max).map(|(at, event)| (*at, tables.arrived_as[at], event.clone())).collect())
    }

    async fn known_since(&self, ids: &[CustomerId]) -> StoreResult<Vec<(CustomerId, Timestamp)>> {
        let tables = self.tables();
        Ok(ids.iter().filter_map(|id| Some((*id, tables.customers.get(id)?.created_at))).collect())
    }

    async fn handles_of(&self, customer: CustomerId) -> StoreResult<Vec<Identity>> {
        let tables = self.tables();
        let own = tables.identities.iter().filter(|(_, whose)| **whose == customer);
        let mut own: Vec<Identity> = own.map(|(identity, _)| identity.clone()).collect();
        own.sort_by(|a, b| (a.kind.as_str(), &a.value).cmp(&(b.kind.as_str(), &b.value)));
        Ok(own)
    }

    async fn ledger_size(&self, customer: CustomerId) -> StoreResult<(u64, u64, u64)> {
        let tables = self.tables();
        let firings = tables.firings.values().filter(|firing| firing.customer == customer).count();
        let deliveries = tables.deliveries.values().filter(|leased| leased.delivery.customer == customer).count();
        let refusals = tables.refusals.values().filter(|counted| counted.customer == customer);
        Ok((firings as u64, deliveries as u64, refusals.map(|counted| counted.n).sum()))
    }

    async fn settle_task(&self, delivery: DeliveryId, done_at: Option<Timestamp>) -> StoreResult<bool> {
        let mut tables = self.tables();
        if !tables.tasks.contains_key(&delivery) {
            return Ok(false);
        }
        let done = &mut tables.done_tasks;
        Ok(if done_at.is_some() { done.insert(delivery) } else { done.remove(&delivery) })
    }
}
