//! Split: a merge is taken back. The joined customer's events are filed anew as if that merge had never been: those from
//! before it by whose they were, those that came after by going through [`super::unify`] again with the two kept apart.
//! Nothing is subtracted, and the same events in the same order give the same result, live or in a rebuild.

use std::collections::{BTreeSet, HashMap};

use super::derive::{refresh, wake_by_signals};
use super::unify::Workbook;
use super::{Pipeline, PipelineError};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Identity, IdentityKind};
use crate::domain::event::{Event, Fact};
use crate::domain::id::CustomerId;
use crate::stores::{Commit, CustomerState, LogRecord, Merge, Separation, Split, Store, StoreResult};

/// Events read at once.
const PAGE: usize = 2_000;

/// What taking one merge back comes to.
#[derive(Clone, Debug)]
pub struct Parted {
    /// The merge.
    pub merge: Merge,
    /// The customers there are then, in the order of their ids; scores and segments are not settled yet.
    pub states: Vec<CustomerState>,
    /// What is filed anew.
    pub split: Split,
    /// Where the handles lead then.
    pub identities: Vec<(Identity, CustomerId)>,
    /// Keeps the two apart from the merge on.
    pub separation: Separation,
}

/// Works out what undoing the merge of `absorbed` comes to, from the events before position `before`; `None` when it was
/// not merged into anybody, or nobody knows by which event. Writes nothing.
pub async fn part(
    store: &dyn Store,
    absorbed: CustomerId,
    before: i64,
    business: &Business,
) -> StoreResult<Option<Parted>> {
    let Some(merge) = store.merge_of(absorbed).await? else { return Ok(None) };
    let Some(whole) = store.load_customers(&[absorbed]).await?.remove(&absorbed) else { return Ok(None) };
    let joined = whole.customer;
    let group = store.merges_into(joined).await?;
    let early: HashMap<CustomerId, CustomerId> =
        group.iter().filter(|m| m.position < merge.position).map(|m| (m.absorbed, m.survivor)).collect();
    let mut members: BTreeSet<CustomerId> = group.iter().map(|m| m.absorbed).chain([joined]).collect();
    let known: Vec<CustomerId> = members.iter().copied().collect();
    let created: HashMap<CustomerId, Timestamp> = store.known_since(&known).await?.into_iter().collect();

    let pair = (absorbed, merge.survivor);
    let separation = Separation { stated: pair, today: pair, position: merge.position };
    let mut work = Workbook::default();
    work.firm = Some(separation);
    for mut apart in store.separations_of(&[joined]).await? {
        let then = |stated, today| if members.contains(&stated) { follow(&early, stated) } else { today };
        apart.today = (then(apart.stated.0, apart.today.0), then(apart.stated.1, apart.today.1));
        work.separations.push(apart);
    }
    for member in &members {
        work.lead(Identity::own(*member), follow(&early, *member));
    }
    // What came after the merge and who it was filed under.
    let mut filed: HashMap<i64, CustomerId> = HashMap::new();
    let mut after = 0;
    loop {
        let page = store.events_filed(joined, after, PAGE).await?;
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        lead_away(store, &page, joined, &mut work).await?;
        for (position, arrived_as, event) in page.into_iter().filter(|(position, ..)| *position < before) {
            if position < merge.position {
                let owner = follow(&early, arrived_as);
                let created_at = created.get(&owner).copied().unwrap_or(event.fact.received_at);
                work.refile(position, &event, owner, created_at, business);
            } else {
                filed.insert(position, arrived_as);
                work.take(position, event.fact, business);
            }
        }
    }

    let mut merges: Vec<Merge> = group.into_iter().filter(|m| m.position < merge.position).collect();
    merges.append(&mut work.commit.merges);
    let into: HashMap<CustomerId, CustomerId> = merges.iter().map(|m| (m.absorbed, m.survivor)).collect();
    members.extend(work.states.keys().copied().chain(into.keys().copied()));
    let moved = work.commit.events.iter().filter_map(|(position, event)| {
        let owner = event.customer?;
        (filed.get(position) != Some(&owner)).then_some((*position, owner))
    });
    let split = Split {
        joined,
        arrived: moved.collect(),
        members: members.into_iter().map(|id| (id, into.get(&id).copied(), follow(&into, id))).collect(),
        merges,
    };
    let handles = work
        .handles()
        .filter(|(identity, customer)| identity.kind != IdentityKind::CustomerId && work.states.contains_key(customer));
    let mut identities: Vec<_> = handles.map(|(identity, customer)| (identity.clone(), customer)).collect();
    identities.sort();
    let mut states: Vec<CustomerState> = work.states.into_values().collect();
    states.sort_by_key(|state| state.customer);
    // Whoever goes on under its id keeps what it answered last, so that a change is a change.
    for state in states.iter_mut().filter(|state| state.customer == joined) {
        (state.scores, state.segments) = (whole.scores.clone(), whole.segments.clone());
    }
    Ok(Some(Parted { merge, states, split, identities, separation }))
}

/// Handles in these events that lead to somebody else today stay there: they are no candidates and are not linked.
async fn lead_away(
    store: &dyn Store,
    page: &[(i64, CustomerId, Event)],
    joined: CustomerId,
    work: &mut Workbook,
) -> StoreResult<()> {
    let handles: BTreeSet<&Identity> = page.iter().flat_map(|(_, _, event)| &event.fact.identities).collect();
    let handles: Vec<Identity> = handles.into_iter().cloned().collect();
    for (identity, owner) in store.find_identities(&handles).await? {
        if owner != joined {
            work.lead(identity, owner);
        }
    }
    Ok(())
}

fn follow(into: &HashMap<CustomerId, CustomerId>, mut id: CustomerId) -> CustomerId {
    while let Some(&survivor) = into.get(&id) {
        id = survivor;
    }
    id
}

/// Who is not one person with whom, as an operator stated it.
fn stated(fact: &Fact) -> Option<(CustomerId, CustomerId)> {
    let mut ids = fact.identities.iter().filter_map(|identity| identity.value.parse().ok());
    Some((ids.next()?, ids.next()?))
}

impl Pipeline {
    /// The batch of one statement that two customers are not one person.
    pub(super) async fn derive_separation(&self, records: Vec<LogRecord>) -> Result<(Commit, u64), PipelineError> {
        let (context, now) = (self.context(), self.clock.now());
        let last = records.last().map(|record| record.position);
        let mut work = Workbook::default();
        let fresh = self.drop_duplicates(records, None, now).await?.0;
        let n_fresh = fresh.len() as u64;
        for LogRecord { position, fact } in fresh {
            let id = Event::id_of(&fact);
            let customer = self.separate(position, &fact, &mut work).await?;
            work.commit.events.push((position, Event { id, customer, fact }));
            let changed: Vec<CustomerId> = work.changed.iter().copied().collect();
            for customer in changed {
                refresh(&mut work, customer, Some(id), now, &context);
            }
        }
        let woken: Vec<CustomerId> = work.commit.signals.iter().map(|signal| signal.customer).collect();
        work.ledger = self.store.ledger_of(&woken, super::evaluate::ledger_since(&context, now)).await?;
        wake_by_signals(&mut work, now, &context);
        self.count_decisions(&work.commit, &work.tally);
        let mut commit = work.finish();
        commit.position = last;
        Ok((commit, n_fresh))
    }

    /// Under whom the statement is filed. Where it says nothing that can be followed it is kept, and nothing changes.
    async fn separate(
        &self,
        position: i64,
        fact: &Fact,
        work: &mut Workbook,
    ) -> Result<Option<CustomerId>, PipelineError> {
        let Some((one, other)) = stated(fact) else { return Ok(None) };
        let found = self.store.load_customers(&[one, other]).await?;
        let (Some(a), Some(b)) = (found.get(&one), found.get(&other)) else {
            return Ok(found.values().next().map(|state| state.customer));
        };
        if a.customer != b.customer {
            let today = (a.customer, b.customer);
            work.commit.separations.push(Separation { stated: (one, other), today, position });
            return Ok(Some(b.customer));
        }
        let business = &self.context().business;
        let parted = match part(&*self.store, one, position, business).await? {
            None => part(&*self.store, other, position, business).await?,
            parted => parted,
        };
        let Some(parted) = parted else {
            tracing::warn!(customer.id = %a.customer, "nobody knows what joined these customers; `rekindle rebuild` finds it out");
            return Ok(Some(a.customer));
        };
        let leads_to: HashMap<CustomerId, CustomerId> =
            parted.split.members.iter().map(|(id, _, today)| (*id, *today)).collect();
        let today = |id: CustomerId| leads_to.get(&id).copied().unwrap_or(id);
        let stated = parted.separation.stated;
        work.commit.separations.push(Separation { today: (today(stated.0), today(stated.1)), ..parted.separation });
        work.commit.identities = parted.identities;
        work.commit.split = Some(parted.split);
        work.changed = parted.states.iter().map(|state| state.customer).collect();
        work.states = parted.states.into_iter().map(|state| (state.customer, state)).collect();
        tracing::info!(customer.id = %stated.0, customer.from = %stated.1, "a merge was undone");
        Ok(Some(today(stated.1)))
    }
}
