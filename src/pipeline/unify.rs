//! Unify: whose event is it? Duplicates are dropped, handles are followed to customers, anonymous customers join the known
//! ones they turn out to be, and every event is folded into its customer's profile.
//!
//! All of it happens in a [`Workbook`]: the customers that one batch touches, read before and written after. Nothing in here
//! waits or fails.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::derive::Tally;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::customer::{Candidate, Identity, IdentityKind, Resolution, resolve};
use crate::domain::event::{Event, Fact, names};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::stores::{Commit, CustomerState, LedgerView, Merge, Separation};

/// What a batch works on.
#[derive(Default)]
pub(super) struct Workbook {
    /// The customers as they are by now; only living ones.
    pub states: HashMap<CustomerId, CustomerState>,
    /// What the ledger knows of them.
    pub ledger: HashMap<CustomerId, LedgerView>,
    /// Customers that did not exist before this batch.
    pub new: HashSet<CustomerId>,
    /// Customers changed by this batch.
    pub changed: BTreeSet<CustomerId>,
    /// Everything to be written at the end.
    pub commit: Commit,
    /// Whom an operator keeps apart.
    pub separations: Vec<Separation>,
    /// While a merge is undone: not even a later statement of an operator joins these again.
    pub firm: Option<Separation>,
    /// What the rules said.
    pub tally: Tally,
    identities: HashMap<Identity, CustomerId>,
}

impl Workbook {
    /// With the handles and customers that were found for the batch.
    pub(super) fn new(
        identities: HashMap<Identity, CustomerId>,
        states: HashMap<CustomerId, CustomerState>,
        ledger: HashMap<CustomerId, LedgerView>,
    ) -> Self {
        // A customer is asked for under the id it had; from here on it goes by the id it has.
        let states = states.into_values().map(|s| (s.customer, s)).collect();
        Workbook { states, ledger, identities, ..Workbook::default() }
    }

    /// Files `fact` under its customer and folds it. Says whose it is; `None` for an event without identities.
    pub(super) fn take(&mut self, position: i64, fact: Fact, business: &Business) -> Option<CustomerId> {
        let id = Event::id_of(&fact);
        let customer = (!fact.identities.is_empty()).then(|| self.customer_of(position, &fact, &id.to_string()));
        let event = Event { id, customer, fact };
        if let Some(customer) = customer {
            self.fold(position, &event, customer, business);
        }
        self.commit.events.push((position, event));
        customer
    }

    /// Files and folds an event from before the merge that is being undone: whose it was then is known.
    pub(super) fn refile(
        &mut self,
        position: i64,
        event: &Event,
        owner: CustomerId,
        created_at: Timestamp,
        business: &Business,
    ) {
        self.states.entry(owner).or_insert_with(|| begin(owner, created_at));
        self.link(&event.fact, owner);
        self.fold(position, event, owner, business);
    }

    /// Where a handle leads.
    pub(super) fn lead(&mut self, identity: Identity, customer: CustomerId) {
        self.identities.insert(identity, customer);
    }

    /// All handles that lead somewhere.
    pub(super) fn handles(&self) -> impl Iterator<Item = (&Identity, CustomerId)> {
        self.identities.iter().map(|(identity, customer)| (identity, *customer))
    }

    fn fold(&mut self, position: i64, event: &Event, customer: CustomerId, business: &Business) {
        let event = self.without_foreign_handles(position, event, customer);
        let state = self.states.get_mut(&customer).expect("an event is filed under a living customer");
        Arc::make_mut(&mut state.profile).apply(&event, business);
        self.changed.insert(customer);
    }

    /// The handles of a person whom an operator keeps apart from this one are no part of this one's profile: it would be
    /// written to at the other's address.
    fn without_foreign_handles<'a>(&self, position: i64, event: &'a Event, customer: CustomerId) -> Cow<'a, Event> {
        let foreign = |identity: &Identity| {
            let owner = self.identities.get(identity);
            owner.is_some_and(|owner| self.separated(position, *owner, customer, false))
        };
        if !event.fact.identities.iter().any(foreign) {
            return Cow::Borrowed(event);
        }
        let mut event = event.clone();
        event.fact.identities.retain(|identity| !foreign(identity));
        Cow::Owned(event)
    }

    /// Whether these two are kept apart at this position; `joining`: against an operator's word that they are one.
    fn separated(&self, position: i64, a: CustomerId, b: CustomerId, joining: bool) -> bool {
        let holds = |s: &Separation| s.position <= position && (s.today == (a, b) || s.today == (b, a));
        self.firm.iter().any(holds) || !joining && self.separations.iter().any(holds)
    }

    fn customer_of(&mut self, position: i64, fact: &Fact, event: &str) -> CustomerId {
        let candidates: Vec<Candidate> = fact
            .identities
            .iter()
            .filter_map(|identity| {
                let customer = *self.identities.get(identity)?;
                let profile = &self.states.get(&customer)?.profile;
                let user_ids = user_ids(profile);
                Some(Candidate { customer, through: identity.clone(), user_ids })
            })
            .collect();
        let stated: BTreeSet<String> = fact.user_ids().map(str::to_owned).collect();
        let operator = fact.is_operators_word() && !fact.separates();
        let separated = |a, b| self.separated(position, a, b, operator);
        let customer = match resolve(&candidates, &stated, fact.name == names::MERGED, &separated) {
            Resolution::Known(customer) => customer,
            Resolution::New => self.begin_customer(fact, event),
            Resolution::Merge { survivor, absorbed } => {
                for one in absorbed {
                    self.absorb(one, survivor, position);
                }
                survivor
            }
        };
        self.link(fact, customer);
        customer
    }

    fn link(&mut self, fact: &Fact, customer: CustomerId) {
        for identity in &fact.identities {
            // A handle that leads to somebody else already stays with them: the guard in `resolve` decided that.
            if identity.kind != IdentityKind::CustomerId && !self.identities.contains_key(identity) {
                self.identities.insert(identity.clone(), customer);
                self.commit.identities.push((identity.clone(), customer));
            }
        }
    }

    /// The id comes from the event that needed the customer, so deriving again gives the same one.
    fn begin_customer(&mut self, fact: &Fact, event: &str) -> CustomerId {
        let customer = CustomerId::derive(fact.received_at, &[b"customer", event.as_bytes()]);
        self.new.insert(customer);
        self.states.insert(customer, begin(customer, fact.received_at));
        // When everything is derived again, an event that names the customer by our own id may be in the same batch.
        self.identities.insert(Identity::own(customer), customer);
        customer
    }

    fn absorb(&mut self, absorbed: CustomerId, survivor: CustomerId, position: i64) {
        let Some(gone) = self.states.remove(&absorbed) else { return };
        if self.new.remove(&absorbed) {
            // It needs a row all the same: ids that were given out once must lead on to the survivor.
            self.commit.customers.push(gone.clone());
        }
        let state = self.states.get_mut(&survivor).expect("the survivor is one of the candidates");
        Arc::make_mut(&mut state.profile).merge(&gone.profile);
        if let Some(theirs) = self.ledger.remove(&absorbed) {
            let ours = self.ledger.entry(survivor).or_default();
            for (rule, at) in theirs.last_firing {
                ours.last_firing.entry(rule).and_modify(|t| *t = (*t).max(at)).or_insert(at);
            }
            ours.occasions.extend(theirs.occasions);
            ours.contacts.extend(theirs.contacts);
            ours.contacts.sort_unstable();
        }
        for customer in self.identities.values_mut().filter(|c| **c == absorbed) {
            *customer = survivor;
        }
        for separation in self.separations.iter_mut().chain(&mut self.firm) {
            let follow = |id: CustomerId| if id == absorbed { survivor } else { id };
            separation.today = (follow(separation.today.0), follow(separation.today.1));
        }
        self.changed.remove(&absorbed);
        self.changed.insert(survivor);
        self.commit.merges.push(Merge { absorbed, survivor, position });
        tracing::info!(customer.absorbed = %absorbed, customer.survivor = %survivor, "two handles were one customer");
    }

    /// The commit, with every changed customer as it is now.
    pub(super) fn finish(mut self) -> Commit {
        let changed = self.changed.iter().filter_map(|id| self.states.remove(id));
        self.commit.customers.extend(changed);
        self.commit
    }
}

fn begin(customer: CustomerId, created_at: Timestamp) -> CustomerState {
    CustomerState { customer, created_at, profile: Arc::default(), scores: Arc::default(), segments: Arc::default() }
}

fn user_ids(profile: &Profile) -> BTreeSet<String> {
    profile.identities.iter().filter(|i| i.kind == IdentityKind::UserId).map(|i| i.value.clone()).collect()
}
