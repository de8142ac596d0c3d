//! What a webhook says and how it is signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::domain::delivery::Delivery;

/// The type of all our webhooks: a rule fired for a customer. Receivers tell rules apart by `data.rule`.
const TYPE: &str = "rule.fired";

#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    rule: &'a str,
    customer_id: String,
    firing_id: String,
    properties: &'a Map<String, Value>,
}

/// The body: made of the delivery alone, so every attempt, from whatever process, sends the same bytes.
pub(in crate::channels) fn payload(delivery: &Delivery, properties: &Map<String, Value>) -> Vec<u8> {
    let payload = Payload {
        r#type: TYPE,
        timestamp: delivery.decided_at.to_string(),
        data: Data {
            rule: &delivery.rule,
            customer_id: delivery.customer.to_string(),
            firing_id: delivery.firing.to_string(),
            properties,
        },
    };
    serde_json::to_vec(&payload).expect("text keys and JSON values can always be written")
}

/// A signing key.
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Reads `whsec_…`. The error does not repeat it.
    pub(super) fn parse(secret: &str) -> Result<Self, String> {
        const HELP: &str = "make one with `echo whsec_$(openssl rand -base64 32)`";
        let encoded =
            secret.strip_prefix("whsec_").ok_or_else(|| format!("the secret does not begin with `whsec_`; {HELP}"))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| format!("the secret is not base64 after `whsec_`; {HELP}"))?;
        if (24..=64).contains(&bytes.len()) {
            Ok(Key(bytes))
        } else {
            Err(format!("the secret has {} bytes; the standard asks for 24 to 64; {HELP}", bytes.len()))
        }
    }

    /// `v1,…` over id, time (seconds since 1970) and body.
    pub(super) fn sign(&self, id: &str, at: i64, body: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standards_own_example() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_being_repeated() {
        for (secret, why) in [("hunter2", "begin with"), ("whsec_%%", "not base64"), ("whsec_AAAA", "has 3 bytes")] {
            let error = Key::parse(secret).err().unwrap();
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
    }
}
