//! Identifiers: 16 bytes, ordered by time, shown with a prefix (`cus_`, `evt_`, `fir_`, `dlv_`, `sig_`).
//!
//! No identifier is random. Each is derived from what it names (an event from its source and message id, a customer from
//! the first event that needed it, a delivery from its occasion), so a batch that is replayed after a crash, and a
//! `rebuild` a year later, give every thing the name that it already has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::clock::Timestamp;

/// Crockford's base 32: no I, L, O or U, so an id can be read out over a telephone.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// SHA-256 over `parts`, each preceded by its length, so that `("ab","c")` and `("a","bc")` differ.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first 16 bytes of [`digest`] as lower-case hexadecimal: versions of rules, templates and models.
pub fn short_hash(parts: &[&[u8]]) -> String {
    digest(parts)[..8].iter().fold(String::new(), |mut text, byte| {
        use fmt::Write;
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

fn encode(bytes: [u8; 16]) -> String {
    let mut value = u128::from_be_bytes(bytes);
    let mut out = [0u8; 26];
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes()
        .try_fold(0u128, |value, byte| {
            let digit = ALPHABET.iter().position(|&a| a == byte.to_ascii_uppercase())?;
            Some(value << 5 | digit as u128)
        })
        .map(u128::to_be_bytes)
}

/// Why a text is not the identifier that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what} id: expected `{prefix}` followed by 26 letters and digits")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Derived from an instant (the first six bytes, milliseconds) and from what it names (the other ten).
            pub fn derive(at: Timestamp, parts: &[&[u8]]) -> Self {
                let millis = at.as_micros().div_euclid(1_000).max(0).to_be_bytes();
                let hash = digest(parts);
                let mut bytes = [0u8; 16];
                bytes[..6].copy_from_slice(&millis[2..]);
                bytes[6..].copy_from_slice(&hash[..10]);
                $name(bytes)
            }

            /// The bytes that the stores keep.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Back from the stores' bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix).and_then(decode).map($name).ok_or_else(|| ParseIdError {
                    text: text.to_owned(),
                    what: $what,
                    prefix: $prefix,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One customer, person or account.
    CustomerId = "cus_", "customer";
    /// One stored event.
    EventId = "evt_", "event";
    /// One admitted evaluation.
    FiringId = "fir_", "firing";
    /// One action on its way.
    DeliveryId = "dlv_", "delivery";
    /// One derived fact that wakes rules.
    SignalId = "sig_", "signal";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_a_foreign_prefix_is_refused() {
        let id = CustomerId::derive(Timestamp::from_micros(1_700_000_000_000_000), &[b"a"]);
        assert_eq!(id.to_string().parse::<CustomerId>().unwrap(), id);
        let error = "dlv_0".parse::<CustomerId>().unwrap_err().to_string();
        assert_eq!(error, "`dlv_0` is not a customer id: expected `cus_` followed by 26 letters and digits");
    }

    #[test]
    fn ids_sort_by_time_first() {
        let early = EventId::derive(Timestamp::from_micros(1_000_000), &[b"z"]);
        let late = EventId::derive(Timestamp::from_micros(2_000_000), &[b"a"]);
        assert!(early < late && early.to_string() < late.to_string());
    }
}
