//! Unify: whose event is it? Duplicates are dropped, handles are followed to customers, anonymous customers join the known
//! ones they turn out to be, and every event is folded into its customer's profile.
//!
//! All of it happens in a [`Workbook`]: the customers that one batch touches, read before and written after. Nothing in here
//! waits or fails.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::derive::Tally;
use crate::domain::clock::Business;
use crate::domain::customer::{Candidate, Identity, IdentityKind, Resolution, resolve};
use crate::domain::event::{Event, Fact, names};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::stores::{Commit, CustomerState, LedgerView};

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
        let customer = (!fact.identities.is_empty()).then(|| self.customer_of(&fact, &id.to_string()));
        let event = Event { id, customer, fact };
        if let Some(customer) = customer {
            let state = self.states.get_mut(&customer).expect("customer_of returns a living customer");
            Arc::make_mut(&mut state.profile).apply(&event, business);
            self.changed.insert(customer);
        }
        self.commit.events.push((position, event));
        customer
    }

    fn customer_of(&mut self, fact: &Fact, event: &str) -> CustomerId {
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
        let customer = match resolve(&candidates, &stated, fact.name == names::MERGED) {
            Resolution::Known(customer) => customer,
            Resolution::New => self.begin_customer(fact, event),
            Resolution::Merge { survivor, absorbed } => {
                for one in absorbed {
                    self.absorb(one, survivor);
                }
                survivor
            }
        };
        for identity in &fact.identities {
            // A handle that leads to somebody else already stays with them: the guard in `resolve` decided that.
            if identity.kind != IdentityKind::CustomerId && !self.identities.contains_key(identity) {
                self.identities.insert(identity.clone(), customer);
                self.commit.identities.push((identity.clone(), customer));
            }
        }
        customer
    }

    /// The id comes from the event that needed the customer, so deriving again gives the same one.
    fn begin_customer(&mut self, fact: &Fact, event: &str) -> CustomerId {
        let customer = CustomerId::derive(fact.received_at, &[b"customer", event.as_bytes()]);
        self.new.insert(customer);
        self.states.insert(
            customer,
            CustomerState {
                customer,
                created_at: fact.received_at,
                profile: Arc::default(),
                scores: Arc::default(),
                segments: Arc::default(),
            },
        );
        customer
    }

    fn absorb(&mut self, absorbed: CustomerId, survivor: CustomerId) {
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
        self.changed.remove(&absorbed);
        self.changed.insert(survivor);
        self.commit.merges.push((absorbed, survivor));
        tracing::info!(customer.absorbed = %absorbed, customer.survivor = %survivor, "two handles were one customer");
    }

    /// The commit, with every changed customer as it is now.
    pub(super) fn finish(mut self) -> Commit {
        let changed = self.changed.iter().filter_map(|id| self.states.remove(id));
        self.commit.customers.extend(changed);
        self.commit
    }
}

fn user_ids(profile: &Profile) -> BTreeSet<String> {
    profile.identities.iter().filter(|i| i.kind == IdentityKind::UserId).map(|i| i.value.clone()).collect()
}
