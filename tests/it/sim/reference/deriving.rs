//! Whose event is it, what does it change, whom does it wake: one batch of the log, one event after the other.

use std::collections::{BTreeMap, BTreeSet};

use rekindle::domain::clock::Timestamp;
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Event, Fact, names};
use rekindle::domain::id::CustomerId;
use rekindle::stores::Commit;

use super::{Expected, Occasion, Reference};
use crate::sim::scene::{RULES, Trigger};

impl Reference<'_> {
    /// The batch that ends at `position`.
    pub(super) fn derive(&mut self, position: i64, now: Timestamp, commit: &Commit, actual: &[String]) -> Expected {
        let mut expected = Expected::default();
        let (mut new, mut live, mut filed) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let end = usize::try_from(position).unwrap();
        for at in self.n_derived..end {
            let fact = self.log[at].clone();
            if self.events.iter().any(|(_, e)| (&e.fact.source, &e.fact.message_id) == (&fact.source, &fact.message_id))
            {
                continue;
            }
            let id = Event::id_of(&fact);
            let customer = (!fact.identities.is_empty()).then(|| self.whose(&fact, &mut new));
            let event = Event { id, customer, fact };
            self.events.push((i64::try_from(at).unwrap() + 1, event.clone()));
            filed.push((i64::try_from(at).unwrap() + 1, event.clone()));
            let Some(customer) = customer else { continue };
            if event.fact.imported {
                // Its segments are settled at the end of the import, and wake nobody.
                self.members.remove(&customer);
                live.remove(&customer);
                continue;
            }
            live.insert(customer, event.clone());
            let name = event.fact.name.as_str();
            let woken = || RULES.iter().filter(move |rule| matches!(rule.trigger, Trigger::On(event) if event == name));
            if woken().next().is_some() {
                self.judge_live(customer, &new, &event, now, &mut expected);
            }
            for rule in woken() {
                let occasion = Occasion { name: format!("event:{id}"), at: event.fact.occurred_at };
                self.ask(rule, customer, &occasion, now, &mut expected, actual);
            }
        }
        for (customer, cause) in live {
            if self.lives(customer) {
                self.judge_live(customer, &new, &cause, now, &mut expected);
            }
        }
        self.wake_by_signals(now, &mut expected, actual);
        if filed != commit.events {
            let said = |events: &[(i64, Event)]| {
                let told = |(at, e): &(i64, Event)| format!("{at} {} of {:?}", e.fact.message_id, e.customer);
                events.iter().map(told).collect::<Vec<_>>().join(", ")
            };
            self.wrong(now, &format!("filed [{}], should be [{}]", said(&commit.events), said(&filed)));
        }
        self.n_derived = end;
        expected
    }

    /// Of somebody new, a first yes is an entry; not of somebody whose history is being imported.
    fn judge_live(
        &mut self,
        customer: CustomerId,
        new: &BTreeSet<CustomerId>,
        cause: &Event,
        now: Timestamp,
        expected: &mut Expected,
    ) {
        let imported = self.events_of(customer).iter().any(|event| event.fact.imported);
        let before = (new.contains(&customer) && !imported).then_some(false);
        self.judge(customer, before, Some(cause), now, expected);
    }

    /// The strongest handle decides; weaker ones join their customers to it, unless two user ids would become one.
    fn whose(&mut self, fact: &Fact, new: &mut BTreeSet<CustomerId>) -> CustomerId {
        let mut found: Vec<(IdentityKind, CustomerId)> =
            fact.identities.iter().filter_map(|i| Some((i.kind, self.leads_to(i)?))).collect();
        found.sort_unstable();
        let mut users: BTreeSet<String> = fact.user_ids().map(str::to_owned).collect();
        let mut joined: Vec<CustomerId> = Vec::new();
        for (_, customer) in found {
            let theirs = self.user_ids(customer);
            let strangers = !users.is_empty() && !theirs.is_empty() && users.is_disjoint(&theirs);
            if !joined.contains(&customer) && (fact.name == names::MERGED || !strangers) {
                users.extend(theirs);
                joined.push(customer);
            }
        }
        joined.sort_by_key(|customer| (self.user_ids(*customer).is_empty(), *customer));
        let Some((&survivor, absorbed)) = joined.split_first() else {
            let id = Event::id_of(fact).to_string();
            let customer = CustomerId::derive(fact.received_at, &[b"customer", id.as_bytes()]);
            self.customers.insert(customer);
            new.insert(customer);
            return customer;
        };
        for &one in absorbed {
            self.merges.push((one, survivor));
            let theirs = self.events.iter_mut().filter(|(_, event)| event.customer == Some(one));
            theirs.for_each(|(_, event)| event.customer = Some(survivor));
            self.members.remove(&one);
        }
        survivor
    }

    /// Whoever a handle led to first; later events do not take it away.
    fn leads_to(&self, handle: &Identity) -> Option<CustomerId> {
        if handle.kind == IdentityKind::CustomerId {
            let id: CustomerId = handle.value.parse().ok()?;
            return self.customers.contains(&id).then(|| self.today(id));
        }
        let first = self.events.iter().find(|(_, e)| e.customer.is_some() && e.fact.identities.contains(handle));
        first.and_then(|(_, event)| event.customer)
    }

    fn user_ids(&self, customer: CustomerId) -> BTreeSet<String> {
        self.events_of(customer).iter().flat_map(|e| e.fact.user_ids()).map(str::to_owned).collect()
    }
}
