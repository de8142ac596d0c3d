//! What two customers would be as one, before they are joined: for `rekindle merges preview` and `join`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::customers::plain;
use crate::domain::clock::Business;
use crate::domain::customer::IdentityKind;
use crate::domain::id::CustomerId;
use crate::domain::money::Money;
use crate::domain::profile::Profile;
use crate::stores::{CustomerState, Store, StoreResult};

/// A trait, or a channel's consent, of which the two say different things.
pub(super) struct Conflict {
    what: String,
    survivor: String,
    absorbed: String,
    /// The newer statement holds.
    holds: String,
}

/// Two customers as one.
pub(super) struct Joined {
    survivor: CustomerState,
    absorbed: CustomerState,
    profile: Profile,
    conflicts: Vec<Conflict>,
    /// Firings, deliveries and refusals that follow.
    ledger: (u64, u64, u64),
    /// An operator said before that they are two.
    separated: bool,
}

impl Joined {
    /// Of two different customers. Which of them survives is the rule of every merge: the one with a user id, else the
    /// older.
    pub(super) async fn of(store: &dyn Store, a: CustomerState, b: CustomerState) -> StoreResult<Self> {
        let rank = |state: &CustomerState| (user_ids(&state.profile).next().is_none(), state.customer);
        let (survivor, absorbed) = if rank(&a) <= rank(&b) { (a, b) } else { (b, a) };
        let mut profile = Profile::clone(&survivor.profile);
        profile.merge(&absorbed.profile);
        let pair = (survivor.customer, absorbed.customer);
        let separations = store.separations_of(&[pair.0]).await?;
        let separated = separations.iter().any(|s| s.today == pair || s.today == (pair.1, pair.0));
        let ledger = store.ledger_size(absorbed.customer).await?;
        let conflicts = conflicts(&survivor.profile, &absorbed.profile, &profile);
        Ok(Joined { survivor, absorbed, profile, conflicts, ledger, separated })
    }

    /// Both, the survivor first.
    pub(super) fn ids(&self) -> [CustomerId; 2] {
        [self.survivor.customer, self.absorbed.customer]
    }

    pub(super) fn in_json(&self, business: &Business) -> Value {
        let side = |id: Option<CustomerId>, profile: &Profile| {
            json!({ "customer": id, "n_events": profile.n_events, "n_orders": profile.orders.placed().count(),
                    "net_revenue_minor": profile.orders.net_minor(business.currency),
                    "identities": profile.identities })
        };
        let conflicts = self
            .conflicts
            .iter()
            .map(|c| json!({ "what": c.what, "survivor": c.survivor, "absorbed": c.absorbed, "holds": c.holds }));
        json!({
            "survivor": side(Some(self.survivor.customer), &self.survivor.profile),
            "absorbed": side(Some(self.absorbed.customer), &self.absorbed.profile),
            "joined": side(Some(self.survivor.customer), &self.profile),
            "currency": business.currency,
            "conflicts": conflicts.collect::<Vec<_>>(),
            "ledger_that_follows": { "firings": self.ledger.0, "deliveries": self.ledger.1, "refusals": self.ledger.2 },
            "warnings": self.warnings(),
        })
    }

    pub(super) fn in_words(&self, business: &Business) -> String {
        let mut lines = vec![
            format!("survivor  {}", line(self.survivor.customer, &self.survivor.profile, business)),
            format!("absorbed  {}", line(self.absorbed.customer, &self.absorbed.profile, business)),
            format!("joined    {}", line(self.survivor.customer, &self.profile, business)),
            "\nHandles of the joined customer".to_owned(),
        ];
        let handle = |i: &crate::domain::customer::Identity| format!("  {:<14} {}", i.kind.as_str(), i.value);
        lines.extend(self.profile.identities.iter().map(handle));
        if !self.conflicts.is_empty() {
            lines.push("\nThey say different things; the newer statement holds".to_owned());
        }
        for c in &self.conflicts {
            lines.push(format!("  {:<20} {} | {}  ->  {}", c.what, c.survivor, c.absorbed, c.holds));
        }
        let (firings, deliveries, refusals) = self.ledger;
        lines.push(format!(
            "\n{firings} firings, {deliveries} deliveries and {refusals} refusals of the absorbed customer follow"
        ));
        lines.extend(self.warnings().iter().map(|warning| format!("note: {warning}")));
        lines.join("\n")
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let (ours, theirs) = (user_ids(&self.survivor.profile), user_ids(&self.absorbed.profile));
        let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.collect(), theirs.collect());
        if !ours.is_empty() && !theirs.is_empty() {
            let (ours, theirs) = (ours.join(", "), theirs.join(", "));
            warnings.push(format!("your own numbering says that these are two: {ours} and {theirs}"));
        }
        if self.separated {
            warnings.push("an operator stated that these are two; joining them takes that back".to_owned());
        }
        let stopped = |profile: &Arc<Profile>| profile.suppression.as_ref().is_some_and(|s| s.active);
        if stopped(&self.survivor.profile) != stopped(&self.absorbed.profile) {
            let now = self.profile.suppression.as_ref().is_some_and(|s| s.active);
            let then = if now { "nothing may be sent to them" } else { "the newer word is that mail may be sent" };
            warnings.push(format!("one of the two is suppressed; joined, {then}"));
        }
        warnings
    }
}

/// One customer in one line: id, handle, events, orders, money.
pub(super) fn line(id: CustomerId, profile: &Profile, business: &Business) -> String {
    let net = Money { minor: profile.orders.net_minor(business.currency), currency: business.currency };
    let handle = profile.identities.first().map_or_else(String::new, |i| format!("  {}", i.value));
    let n_orders = profile.orders.placed().count();
    format!("{id}{handle}  {} events, {n_orders} orders, net {net}", profile.n_events)
}

fn user_ids(profile: &Profile) -> impl Iterator<Item = &str> {
    profile.identities.iter().filter(|i| i.kind == IdentityKind::UserId).map(|i| i.value.as_str())
}

fn conflicts(survivor: &Profile, absorbed: &Profile, joined: &Profile) -> Vec<Conflict> {
    let words = |profile: &Profile| -> BTreeMap<String, String> {
        let traits = profile.traits.iter().map(|(name, t)| (name.clone(), plain(&t.value)));
        let said = |given: bool| if given { "given" } else { "withdrawn" }.to_owned();
        let consent = profile.consent.iter().map(|(key, c)| (format!("consent {key}"), said(c.given)));
        traits.chain(consent).collect()
    };
    let (ours, theirs, both) = (words(survivor), words(absorbed), words(joined));
    let differ = |(what, word): (&String, &String)| {
        let other = theirs.get(what).filter(|other| *other != word)?;
        let holds = both.get(what).cloned().unwrap_or_default();
        Some(Conflict { what: what.clone(), survivor: word.clone(), absorbed: other.clone(), holds })
    };
    ours.iter().filter_map(differ).collect()
}
