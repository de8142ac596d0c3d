//! The token in an unsubscribe link: says who leaves what, and that we said so. Opaque, hard to forge, never expires (a
//! mail may be opened years later), and holds nothing about the person.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::id::{CustomerId, DeliveryId};

/// Length of the shortened HMAC-SHA-256 (RFC 2104 allows no less than half).
const MAC_LEN: usize = 16;

/// Who leaves what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The customer.
    pub customer: CustomerId,
    /// The mail that carried the link.
    pub delivery: DeliveryId,
    /// The topic left; `None` for all marketing mail.
    pub topic: Option<String>,
}

/// Signs and verifies tokens with the installation's secret.
#[derive(Clone)]
pub struct UnsubscribeSigner {
    secret: Vec<u8>,
}

impl UnsubscribeSigner {
    /// With at least 16 bytes of secret; keep it for as long as sent mails may be opened.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        UnsubscribeSigner { secret: secret.into() }
    }

    /// The token for a link: base64url without padding.
    pub fn sign(&self, what: &Unsubscribe) -> String {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(what.customer.as_bytes());
        bytes.extend_from_slice(what.delivery.as_bytes());
        bytes.extend_from_slice(what.topic.as_deref().unwrap_or_default().as_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC_LEN]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says, if we signed it.
    pub fn verify(&self, token: &str) -> Option<Unsubscribe> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        self.mac(body).verify_truncated_left(mac).ok()?;
        let customer = CustomerId::from_bytes(body.get(..16)?.try_into().ok()?);
        let delivery = DeliveryId::from_bytes(body.get(16..32)?.try_into().ok()?);
        let topic = std::str::from_utf8(&body[32..]).ok()?;
        Some(Unsubscribe { customer, delivery, topic: (!topic.is_empty()).then(|| topic.to_owned()) })
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(b"rekindle unsubscribe 1\0");
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn a_token_reads_back_and_any_change_to_it_is_noticed() {
        let signer = UnsubscribeSigner::new(*b"0123456789abcdef");
        let what = Unsubscribe {
            customer: CustomerId::derive(Timestamp::EPOCH, &[b"c"]),
            delivery: DeliveryId::derive(Timestamp::EPOCH, &[b"d"]),
            topic: Some("offers".to_owned()),
        };
        let token = signer.sign(&what);
        assert_eq!(signer.verify(&token), Some(what));
        assert_eq!(UnsubscribeSigner::new(*b"another secret..").verify(&token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for i in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[i] ^= 1;
            assert_eq!(signer.verify(&URL_SAFE_NO_PAD.encode(forged)), None, "byte {i}");
        }
        for rubbish in ["", "A", "%%%", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(signer.verify(rubbish), None);
        }
    }
}
