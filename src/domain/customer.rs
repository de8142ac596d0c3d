//! Customers and the handles that lead to them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::CustomerId;

/// What sort of handle an identity is, strongest first: a user id names one customer, an email usually does, an anonymous
/// id is a browser until somebody says who sits at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// Our own `cus_…` id: how our own events (an unsubscribe, a `set_trait`) name their customer. No door lets it in from
    /// outside.
    CustomerId,
    /// The company's own customer number.
    UserId,
    /// An email address, lower case.
    Email,
    /// A telephone number, digits with an optional leading `+`.
    Phone,
    /// A device or browser before it is known whose it is.
    AnonymousId,
}

impl IdentityKind {
    /// The word that the stores and listings use.
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityKind::CustomerId => "customer_id",
            IdentityKind::UserId => "user_id",
            IdentityKind::Email => "email",
            IdentityKind::Phone => "phone",
            IdentityKind::AnonymousId => "anonymous_id",
        }
    }
}

impl std::str::FromStr for IdentityKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::UserId, Self::Email, Self::Phone, Self::AnonymousId]
            .into_iter()
            .find(|k| k.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a kind of identity; use user_id, email, phone or anonymous_id"))
    }
}

/// One handle of a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What sort of handle.
    pub kind: IdentityKind,
    /// Its normal form; see [`Identity::new`].
    pub value: String,
}

impl Identity {
    /// A customer by our own id.
    pub fn own(customer: CustomerId) -> Self {
        Identity { kind: IdentityKind::CustomerId, value: customer.to_string() }
    }

    /// Brings `value` to its normal form: trimmed; emails lower case; phones without punctuation. `None` when nothing
    /// usable is left (an email without `@`, a text longer than 256 bytes, a control character).
    pub fn new(kind: IdentityKind, value: &str) -> Option<Self> {
        let value = value.trim();
        if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
            return None;
        }
        let value = match kind {
            IdentityKind::Email => {
                let (local, host) = value.rsplit_once('@')?;
                if local.is_empty() || host.is_empty() || value.contains(char::is_whitespace) {
                    return None;
                }
                value.to_lowercase()
            }
            IdentityKind::Phone => {
                let digits: String = value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
                if digits.len() < 5 {
                    return None;
                }
                digits
            }
            IdentityKind::CustomerId | IdentityKind::UserId | IdentityKind::AnonymousId => value.to_owned(),
        };
        Some(Identity { kind, value })
    }
}

/// A customer that one of an event's identities already leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub customer: CustomerId,
    /// The identity that led there.
    pub through: Identity,
    /// The user ids that this customer is known by already.
    pub user_ids: BTreeSet<String>,
}

/// Whose event this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody is known by any of these identities: a new customer.
    New,
    /// One known customer.
    Known(CustomerId),
    /// Several handles turn out to be one person: `absorbed` join `survivor`.
    Merge {
        /// The customer that stays.
        survivor: CustomerId,
        /// The customers whose events move to it.
        absorbed: Vec<CustomerId>,
    },
}

/// Decides whose event it is.
///
/// The strongest identity decides. Weaker ones join their customers to it, unless that would put two user ids into one
/// customer that were not merged before: a shared browser or a mistyped email must not merge two people, so such a
/// candidate is left alone. With `linked` (an alias or an explicit merge) the caller states that the handles are one
/// person and that guard is lifted.
/// `separated` says of two customers that an operator keeps them apart: that holds against a link, too.
/// The survivor is the known customer before an anonymous one, and among equals the oldest.
pub fn resolve(
    candidates: &[Candidate],
    user_ids: &BTreeSet<String>,
    linked: bool,
    separated: &dyn Fn(CustomerId, CustomerId) -> bool,
) -> Resolution {
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by_key(|c| (c.through.kind, c.customer));
    let mut joined: Vec<&Candidate> = Vec::new();
    let mut names = user_ids.clone();
    for candidate in order {
        if joined.iter().any(|j| j.customer == candidate.customer) {
            continue;
        }
        let apart = !names.is_empty() && !candidate.user_ids.is_empty() && names.is_disjoint(&candidate.user_ids);
        if joined.iter().any(|j| separated(j.customer, candidate.customer)) {
            continue;
        }
        if linked || !apart {
            names.extend(candidate.user_ids.iter().cloned());
            joined.push(candidate);
        }
    }
    let Some(survivor) = joined.iter().min_by_key(|c| (c.user_ids.is_empty(), c.customer)).map(|c| c.customer) else {
        return Resolution::New;
    };
    let absorbed: Vec<CustomerId> = joined.iter().map(|c| c.customer).filter(|&c| c != survivor).collect();
    if absorbed.is_empty() { Resolution::Known(survivor) } else { Resolution::Merge { survivor, absorbed } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    fn together(_: CustomerId, _: CustomerId) -> bool {
        false
    }

    fn customer(n: i64) -> CustomerId {
        CustomerId::derive(Timestamp::from_micros(n * 1_000), &[b"c"])
    }

    fn candidate(n: i64, kind: IdentityKind, value: &str, user_ids: &[&str]) -> Candidate {
        Candidate {
            customer: customer(n),
            through: Identity::new(kind, value).unwrap(),
            user_ids: user_ids.iter().map(ToString::to_string).collect(),
        }
    }

    fn names(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_anonymous_browser_joins_the_customer_who_identifies_at_it() {
        let known = candidate(2, IdentityKind::UserId, "u1", &["u1"]);
        let browser = candidate(1, IdentityKind::AnonymousId, "a1", &[]);
        let expected = Resolution::Merge { survivor: customer(2), absorbed: vec![customer(1)] };
        assert_eq!(resolve(&[browser, known], &names(&["u1"]), false, &together), expected);
    }

    #[test]
    fn two_user_ids_are_never_merged_by_a_shared_browser_or_email() {
        let first = candidate(1, IdentityKind::UserId, "u1", &["u1"]);
        let shared = candidate(2, IdentityKind::Email, "home@example.com", &["u2"]);
        let both = [first.clone(), shared.clone()];
        assert_eq!(resolve(&both, &names(&["u1"]), false, &together), Resolution::Known(customer(1)));
        // A new user id at a browser that belongs to somebody else starts a customer of its own.
        assert_eq!(resolve(&[shared], &names(&["u3"]), false, &together), Resolution::New);
        let merged = Resolution::Merge { survivor: customer(1), absorbed: vec![customer(2)] };
        assert_eq!(resolve(&both, &names(&["u1"]), true, &together), merged);
    }

    #[test]
    fn whom_an_operator_keeps_apart_no_event_and_no_link_joins() {
        let known = candidate(1, IdentityKind::UserId, "u1", &["u1"]);
        let browser = candidate(2, IdentityKind::AnonymousId, "a1", &[]);
        let apart = |a: CustomerId, b: CustomerId| a != b;
        for linked in [false, true] {
            let both = [known.clone(), browser.clone()];
            assert_eq!(resolve(&both, &names(&["u1"]), linked, &apart), Resolution::Known(customer(1)));
        }
    }

    #[test]
    fn a_customer_with_two_merged_user_ids_stays_one_customer() {
        let merged = candidate(1, IdentityKind::UserId, "u1", &["u1", "u2"]);
        assert_eq!(
            resolve(std::slice::from_ref(&merged), &names(&["u1"]), false, &together),
            Resolution::Known(customer(1))
        );
        let by_email = candidate(1, IdentityKind::Email, "ana@example.com", &["u1", "u2"]);
        assert_eq!(resolve(&[by_email], &names(&[]), false, &together), Resolution::Known(customer(1)));
        let browser = candidate(2, IdentityKind::AnonymousId, "a1", &[]);
        let joined = Resolution::Merge { survivor: customer(1), absorbed: vec![customer(2)] };
        assert_eq!(resolve(&[merged.clone(), browser], &names(&["u1"]), false, &together), joined);
        let foreign = candidate(3, IdentityKind::Email, "home@example.com", &["u3"]);
        assert_eq!(resolve(&[merged, foreign], &names(&["u1"]), false, &together), Resolution::Known(customer(1)));
    }

    #[test]
    fn identities_are_normalised_and_unusable_ones_refused() {
        let email = |text: &str| Identity::new(IdentityKind::Email, text).map(|i| i.value);
        assert_eq!(email(" Ana@Example.COM ").as_deref(), Some("ana@example.com"));
        assert_eq!(email("not an address"), None);
        assert_eq!(email("a@b\r\nBcc: x@y"), None);
        assert_eq!(Identity::new(IdentityKind::Phone, "+49 (30) 123-45").unwrap().value, "+493012345");
        assert_eq!(Identity::new(IdentityKind::UserId, "  "), None);
    }
}
