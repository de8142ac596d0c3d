//! Deriving, ticks and models in memory.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::DeliveryState;
use rekindle::domain::event::Event;
use rekindle::domain::id::CustomerId;
use rekindle::stores::{
    Columns, Commit, Contact, CustomerState, LedgerView, ModelStore, ProfileStore, StoreError, StoreResult,
    StoredModel, TickProgress, TickStore,
};

use super::{Counted, Leased, MemoryStore, Row, Tables};

#[async_trait]
impl ProfileStore for MemoryStore {
    async fn position(&self) -> StoreResult<i64> {
        Ok(self.tables().position)
    }

    async fn known_keys(&self, keys: &[[u8; 16]]) -> StoreResult<HashMap<[u8; 16], [u8; 16]>> {
        let tables = self.tables();
        Ok(keys.iter().filter_map(|key| Some((*key, *tables.keys.get(key)?))).collect())
    }

    async fn find_identities(&self, identities: &[Identity]) -> StoreResult<HashMap<Identity, CustomerId>> {
        let tables = self.tables();
        let whose = |identity: &Identity| match identity.kind {
            IdentityKind::CustomerId => tables.today(identity.value.parse().ok()?),
            _ => tables.identities.get(identity).copied(),
        };
        Ok(identities.iter().filter_map(|i| Some((i.clone(), whose(i)?))).collect())
    }

    async fn load_customers(&self, ids: &[CustomerId]) -> StoreResult<HashMap<CustomerId, CustomerState>> {
        let tables = self.tables();
        Ok(ids.iter().filter_map(|id| Some((*id, tables.state(tables.today(*id)?)?))).collect())
    }

    async fn scan_customers(
        &self,
        columns: Columns,
        segment: Option<&str>,
        after: Option<CustomerId>,
        max: usize,
    ) -> StoreResult<Vec<CustomerState>> {
        let tables = self.tables();
        let states = tables.living().filter(|id| Some(*id) > after).filter_map(|id| tables.state(id));
        let asked = states.filter(|s| segment.is_none_or(|name| s.segments.get(name) == Some(&true)));
        let asked = asked.take(max).map(|state| match columns {
            Columns::All => state,
            Columns::Profile => CustomerState { scores: Arc::default(), segments: Arc::default(), ..state },
        });
        Ok(asked.collect())
    }

    async fn ledger_of(&self, ids: &[CustomerId], since: Timestamp) -> StoreResult<HashMap<CustomerId, LedgerView>> {
        let tables = self.tables();
        let mut views: HashMap<CustomerId, LedgerView> = HashMap::new();
        for firing in tables.firings.values().filter(|firing| ids.contains(&firing.customer)) {
            let view = views.entry(firing.customer).or_default();
            let last = view.last_firing.entry(firing.rule.clone()).or_insert(firing.at);
            *last = firing.at.max(*last);
            if firing.at >= since {
                view.occasions.insert((firing.rule.clone(), firing.occasion.clone()));
            }
        }
        for Leased { delivery: d, .. } in tables.deliveries.values().filter(|l| ids.contains(&l.delivery.customer)) {
            let counts = !matches!(d.state, DeliveryState::Failed | DeliveryState::Expired | DeliveryState::Dropped);
            let at = d.settled_at.unwrap_or(d.due_at.max(d.decided_at));
            if d.class == Some(MessageClass::Marketing) && counts && at >= since {
                views.entry(d.customer).or_default().contacts.push(Contact {
                    at,
                    delivery: d.id,
                    waits: super::waits(d.state),
                    leased: d.state == DeliveryState::Leased,
                });
            }
        }
        for view in views.values_mut() {
            view.contacts.sort_unstable();
        }
        Ok(views)
    }

    async fn commit_batch(&self, commit: &Commit) -> StoreResult<()> {
        let mut tables = self.tables();
        let known = |(at, event): &(i64, Event)| {
            tables.events.contains_key(at) || tables.keys.contains_key(&event.fact.dedupe_key())
        };
        if commit.events.iter().any(known) {
            return Err(StoreError::Unavailable("this event is here already".to_owned()));
        }
        tables.write_profiles(commit);
        tables.write_decisions(commit);
        tables.write_merges(&commit.merges);
        tables.separate(&commit.separations);
        if let Some(tick) = &commit.tick {
            tables.ticks.insert((tick.schedule.clone(), tick.at), (tick.position, tick.done_at));
        }
        tables.position = commit.position.unwrap_or(tables.position);
        Ok(())
    }
}

impl Tables {
    fn write_profiles(&mut self, commit: &Commit) {
        self.keys.extend(commit.events.iter().map(|(_, e)| (e.fact.dedupe_key(), e.fact.body_hash())));
        self.events.extend(commit.events.iter().cloned());
        self.arrived_as.extend(commit.events.iter().filter_map(|(at, event)| Some((*at, event.customer?))));
        if let Some(split) = &commit.split {
            self.split(split);
        }
        for state in &commit.customers {
            let fresh = || Row { created_at: state.created_at, merged_into: None, profile: state.profile.clone() };
            self.customers.entry(state.customer).or_insert_with(fresh).profile = state.profile.clone();
        }
        for state in commit.customers.iter().chain(&commit.judged) {
            self.judgements.insert(state.customer, (state.scores.clone(), state.segments.clone()));
        }
        self.identities.extend(commit.identities.iter().cloned());
    }

    fn write_decisions(&mut self, commit: &Commit) {
        for signal in &commit.signals {
            self.signals.entry(signal.id).or_insert_with(|| signal.clone());
            self.subjects.entry(*signal.id.as_bytes()).or_insert(signal.customer);
        }
        for firing in &commit.firings {
            let key = (firing.rule.clone(), firing.customer, firing.occasion.clone());
            if let std::collections::btree_map::Entry::Vacant(slot) = self.decided.entry(key) {
                slot.insert(firing.id);
                self.firings.insert(firing.id, firing.clone());
                self.subjects.insert(*firing.id.as_bytes(), firing.customer);
            }
        }
        for delivery in &commit.deliveries {
            let firing = commit.firings.iter().find(|firing| firing.id == delivery.firing);
            let occasion = firing.map_or_else(String::new, |firing| firing.occasion.clone());
            let key = (delivery.rule.clone(), delivery.customer, occasion, delivery.step);
            if self.firings.contains_key(&delivery.firing) && self.steps.insert(key) {
                self.deliveries.insert(delivery.id, Leased { delivery: delivery.clone(), until: None });
                self.subjects.insert(*delivery.id.as_bytes(), delivery.customer);
            }
        }
        for refused in &commit.refusals {
            let key = (refused.rule.clone(), refused.customer, refused.step, refused.reason.to_owned());
            let fresh = Counted { customer: refused.customer, n: 0, last_at: refused.at, last_occasion: String::new() };
            let counted = self.refusals.entry(key).or_insert(fresh);
            counted.n += u64::from(counted.last_occasion != refused.occasion);
            counted.last_at = refused.at;
            counted.last_occasion.clone_from(&refused.occasion);
        }
    }
}

#[async_trait]
impl TickStore for MemoryStore {
    async fn ticks_of(&self, schedules: &[&str]) -> StoreResult<(HashMap<String, Timestamp>, Vec<TickProgress>)> {
        let tables = self.tables();
        let asked = tables.ticks.keys().filter(|(schedule, _)| schedules.contains(&schedule.as_str()));
        // In the order of their instants, so the newest stays.
        let newest = asked.cloned().collect();
        let open = tables.ticks.iter().filter(|(_, (_, done_at))| done_at.is_none());
        let open = open.map(|((schedule, at), (position, done_at))| TickProgress {
            schedule: schedule.clone(),
            at: *at,
            position: *position,
            done_at: *done_at,
        });
        let mut open: Vec<TickProgress> = open.collect();
        open.sort_by_key(|tick| tick.at);
        Ok((newest, open))
    }

    async fn begin_ticks(&self, ticks: &[TickProgress]) -> StoreResult<()> {
        let mut tables = self.tables();
        for tick in ticks {
            tables.ticks.entry((tick.schedule.clone(), tick.at)).or_insert((tick.position, tick.done_at));
        }
        Ok(())
    }
}

#[async_trait]
impl ModelStore for MemoryStore {
    async fn meta(&self, key: &str) -> StoreResult<Option<String>> {
        Ok(self.tables().meta.get(key).cloned())
    }

    async fn set_meta(&self, key: &str, value: &str) -> StoreResult<()> {
        self.tables().meta.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    async fn save_models(&self, models: &[StoredModel]) -> StoreResult<()> {
        let mut tables = self.tables();
        tables.models.extend(models.iter().map(|model| ((model.kind.clone(), model.fitted_at), model.clone())));
        Ok(())
    }

    async fn models_at(&self, at: Timestamp) -> StoreResult<Vec<StoredModel>> {
        let tables = self.tables();
        let mut newest: Vec<StoredModel> = Vec::new();
        for model in tables.models.values().filter(|model| model.fitted_at <= at) {
            newest.retain(|earlier| earlier.kind != model.kind);
            newest.push(model.clone());
        }
        Ok(newest)
    }
}
