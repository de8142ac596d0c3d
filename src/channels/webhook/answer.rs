//! What a receiver's answer means.
//!
//! | status | outcome | why |
//! |---|---|---|
//! | 2xx | sent | the only success there is |
//! | 400, 413, 414, 415, 422 | failed | the receiver read these very bytes and will not take them; they never change |
//! | 410 | failed | Standard Webhooks: the endpoint is gone and wants nothing more |
//! | 3xx, other 4xx, 5xx | retry | an address, a password, a route, a limit or a fault: all of them get repaired |

use jiff::SignedDuration;

use crate::domain::clock::Timestamp;
use crate::domain::delivery::Outcome;

/// As it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) location: Option<String>,
    /// The beginning of the body, on one line.
    pub(super) words: String,
}

impl Answer {
    pub(super) fn outcome(self, now: Timestamp) -> Outcome {
        let Answer { status, words, .. } = &self;
        let said = if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {words}") };
        match status {
            200..=299 => Outcome::Sent { receipt: said },
            300..=399 => {
                let to = self.location.as_deref().unwrap_or("nowhere");
                let why =
                    format!("HTTP {status}: redirects to {to}, which is not followed; correct the endpoint's `url`");
                Outcome::Retry { after: None, why }
            }
            400 | 410 | 413 | 414 | 415 | 422 => Outcome::Failed { why: said },
            _ => Outcome::Retry { after: self.retry_after.as_deref().and_then(|text| wish(text, now)), why: said },
        }
    }
}

/// `Retry-After`: seconds or an HTTP date. Anything else is ignored; an instant that has passed means "at once".
fn wish(text: &str, now: Timestamp) -> Option<SignedDuration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from(at.timestamp()).since(now).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_answer_has_an_outcome_and_any_wish_is_bounded(
            status in any::<u16>(), wish in prop_oneof!["[ -~]{0,30}", "-?[0-9]{1,30}", any::<String>()], words in any::<String>(),
        ) {
            let now: Timestamp = "2026-03-01T09:00:00Z".parse().unwrap();
            let answer = Answer { status, retry_after: Some(wish), location: Some(words.clone()), words };
            if let Outcome::Retry { after, .. } = answer.outcome(now) {
                prop_assert!(after.is_none_or(|after| after >= SignedDuration::ZERO));
                let next = crate::domain::delivery::next_attempt(crate::domain::id::DeliveryId::derive(now, &[b"d"]), 1, after, now);
                prop_assert!(next.is_none_or(|at| at > now && at <= now.plus(SignedDuration::from_hours(36))));
            }
        }
    }

    fn outcome(status: u16, retry_after: Option<&str>) -> Outcome {
        let retry_after = retry_after.map(str::to_owned);
        let now = "2026-03-01T09:00:00Z".parse().unwrap();
        Answer { status, retry_after, location: None, words: String::new() }.outcome(now)
    }

    #[test]
    fn only_2xx_is_success_and_only_a_refusal_of_the_bytes_is_final() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => "sent",
                400 | 410 | 413 | 414 | 415 | 422 => "failed",
                _ => "retry",
            };
            let found = match outcome(status, None) {
                Outcome::Sent { .. } => "sent",
                Outcome::Failed { .. } => "failed",
                Outcome::Retry { .. } => "retry",
                Outcome::Unknown { .. } => "unknown",
            };
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn a_wish_is_read_as_seconds_or_as_a_date_and_rubbish_is_ignored() {
        let after = |text: &str| match outcome(503, Some(text)) {
            Outcome::Retry { after, .. } => after.map(|a| a.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 01 Mar 2026 09:05:00 GMT"), Some(300));
        assert_eq!(after("Sun, 01 Mar 2020 09:05:00 GMT"), Some(0));
        assert_eq!(after("99999999999999999999"), None);
        assert_eq!(after("18446744073709551615"), Some(i64::MAX));
        for rubbish in ["-5", "soon", "", "1.5", "Sun, 31 Feb 2026 09:05:00 GMT"] {
            assert_eq!(after(rubbish), None, "{rubbish}");
        }
    }
}
