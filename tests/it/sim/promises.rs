//! What must hold of a world when it is over, besides every single decision: promises 1 to 4 of ARCHITECTURE.md, and that
//! what is derived follows from the events.

use std::collections::{BTreeMap, BTreeSet};

use rekindle::domain::clock::{Business, Clock};
use rekindle::domain::delivery::{Delivery, DeliveryState};
use rekindle::domain::event::{Event, Fact};
use rekindle::domain::profile::Profile;
use rekindle::stores::{Columns, CustomerState, DeliveryFilter, Log, ProfileStore, ReadStore, StoreResult};

use super::journal::Entry;
use super::memory::MemoryStore;
use super::reference::Reference;
use super::world::World;

/// Everything that is wrong with a world; empty when it kept every promise.
pub(crate) fn broken(world: &World, entries: &[Entry]) -> Vec<String> {
    let mut reference = Reference::read(world, entries);
    reference.check_ticks(world.clock.now());
    let mut problems = std::mem::take(&mut reference.problems);
    problems.extend(events(world, &reference));
    problems.extend(profiles(world, &reference));
    problems.extend(deliveries(world, &reference));
    problems
}

/// The maps answer at once.
fn now<T>(answer: impl Future<Output = StoreResult<T>>) -> T {
    futures_util::FutureExt::now_or_never(answer).expect("maps never wait").unwrap()
}

fn stored_events(world: &World) -> Vec<(i64, Event)> {
    now(world.store.scan_events(0, usize::MAX))
}

fn everybody(store: &MemoryStore) -> Vec<CustomerState> {
    now(store.scan_customers(Columns::All, None, None, usize::MAX))
}

fn events(world: &World, reference: &Reference<'_>) -> Vec<String> {
    let stored = stored_events(world);
    let key = |fact: &Fact| (fact.source.clone(), fact.message_id.clone());
    let keys: BTreeSet<_> = stored.iter().map(|(_, e)| key(&e.fact)).collect();
    let lost = reference.acknowledged.difference(&keys).map(|(s, id)| format!("{s}/{id} was acknowledged and is lost"));
    let mut problems: Vec<String> = lost.collect();
    if keys.len() != stored.len() {
        problems.push("an event is stored twice".to_owned());
    }
    let whose = |(at, e): &(i64, Event)| (*at, e.id, e.customer.map(|c| reference.today(c)));
    if stored.iter().map(whose).ne(reference.events.iter().map(whose)) {
        problems.push("the events are not filed as the reference files them".to_owned());
    }
    let own = now(world.log.quarantine_counts()).into_iter().filter(|(source, ..)| source == "rekindle");
    problems.extend(own.map(|(_, reason, n)| format!("{n} of our own events were put aside: {reason}")));
    problems
}

fn profiles(world: &World, reference: &Reference<'_>) -> Vec<String> {
    let business =
        Business { zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(), currency: "EUR".parse().unwrap() };
    let mut problems = Vec::new();
    let stored = everybody(&world.store);
    for state in &stored {
        let own = reference.events_of(state.customer);
        if Profile::fold(own.iter().copied(), &business) != *state.profile {
            problems.push(format!("the profile of {} is not what its events come to", state.customer));
        }
        let segments = reference.members.get(&state.customer).cloned().unwrap_or_default();
        if segments != *state.segments {
            problems.push(format!("{} is in {:?}, should be in {segments:?}", state.customer, state.segments));
        }
    }
    let facts = stored_events(world).into_iter().map(|(_, event)| event.fact).collect();
    let again = everybody(&world.derived_again(facts));
    let derived = |all: &[CustomerState]| -> BTreeMap<_, _> {
        all.iter().map(|s| (s.customer, (s.created_at, s.profile.clone()))).collect()
    };
    let (stored, again) = (derived(&stored), derived(&again));
    for customer in stored.keys().chain(again.keys()).collect::<BTreeSet<_>>() {
        if stored.get(customer) != again.get(customer) {
            problems.push(format!("{customer} comes out another way when the same events are derived from again"));
        }
    }
    problems
}

fn deliveries(world: &World, reference: &Reference<'_>) -> Vec<String> {
    let filter = DeliveryFilter { limit: u32::MAX, ..DeliveryFilter::default() };
    let stored = now(world.store.list_deliveries(&filter));
    let clock = world.clock.now();
    let mut problems = Vec::new();
    if stored.len() != reference.sending.deliveries.len() {
        let n = reference.sending.deliveries.len();
        problems.push(format!("{} deliveries are in the ledger, {n} were decided", stored.len()));
    }
    let state = |d: &Delivery| (d.state, d.due_at, d.settled_at);
    for delivery in &stored {
        let ours = reference.sending.deliveries.get(&delivery.id).map(|fate| &fate.delivery);
        if ours.map(state) != Some(state(delivery))
            || ours.map(|d| reference.today(d.customer)) != Some(delivery.customer)
        {
            problems.push(format!("{} of {} does not stand as it was left", delivery.id, delivery.rule));
        }
        let waits = matches!(delivery.state, DeliveryState::Due | DeliveryState::Held);
        let ripe = delivery.due_at <= clock || delivery.due_at > delivery.expires_at;
        if !delivery.state.settled() && (!waits || ripe) {
            let (id, rule, state) = (delivery.id, &delivery.rule, delivery.state);
            problems.push(format!("{id} of {rule} came to no end: it is {state}, due {}", delivery.due_at));
        }
    }
    problems
}
