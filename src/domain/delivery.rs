//! Firings and deliveries: the ledger of what was decided and what became of it.
//!
//! ```text
//!            quiet hours, cap                        commit point            accepted
//!   held ───────────────────▶ due ──▶ leased ──────▶ committing ───────────▶ sent
//!    │                         ▲  ◀── lease over         │ crash
//!    │ too late                │ retry later             ├──▶ unknown   (a mail: never sent again by itself)
//!    ▼                         └─────────────────────────┤    due       (the receiver is idempotent: again, same key)
//!  expired                          refused for good ──▶ failed
//!  dropped ◀── consent withdrawn, suppressed before it left
//! ```
//!
//! Intent is durable before effect: a row in `committing` was synced before the first irreversible byte left, so after a
//! crash every other unfinished row is known to have reached nobody.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::clock::Timestamp;
use super::consent::MessageClass;
use super::id::{CustomerId, DeliveryId, FiringId, digest};
use super::rule::Seen;

/// An evaluation that said yes and was admitted (or held out): durable, one per rule, customer and occasion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Derived from rule, customer and occasion.
    pub id: FiringId,
    /// Which rule.
    pub rule: String,
    /// Which text of it: recorded, never part of the key, so editing a rule sends nothing again.
    pub rule_version: String,
    /// For whom.
    pub customer: CustomerId,
    /// Which time this is: `tick:2026-03-01T08:00:00Z`, `event:evt_…`, `signal:sig_…`.
    pub occasion: String,
    /// When it was decided.
    pub at: Timestamp,
    /// In the control group: recorded so that the effect can be measured, nothing sent.
    pub held_out: bool,
    /// What the condition saw.
    pub trace: Vec<Seen>,
}

impl Firing {
    /// The id of the firing of `rule` for `customer` on `occasion`, decided at `at`.
    pub fn id_of(rule: &str, customer: CustomerId, occasion: &str, at: Timestamp) -> FiringId {
        FiringId::derive(at, &[rule.as_bytes(), customer.as_bytes(), occasion.as_bytes()])
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// May leave from `due_at` on.
    Due,
    /// Admitted in principle, waits for `due_at` (quiet hours, cap).
    Held,
    /// A worker has it.
    Leased,
    /// The intent is durable; the irreversible byte may have left.
    Committing,
    /// The receiver accepted it.
    Sent,
    /// The receiver refused it for good, or attempts ran out.
    Failed,
    /// A crash fell between intent and answer: nobody can know. Shown, never silently sent again.
    Unknown,
    /// It became too late.
    Expired,
    /// It was stopped before it left: consent withdrawn, suppressed.
    Dropped,
}

impl DeliveryState {
    /// All states, in the order of the diagram.
    pub const ALL: [DeliveryState; 9] = [
        Self::Due,
        Self::Held,
        Self::Leased,
        Self::Committing,
        Self::Sent,
        Self::Failed,
        Self::Unknown,
        Self::Expired,
        Self::Dropped,
    ];

    /// The word that stores and listings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Held => "held",
            Self::Leased => "leased",
            Self::Committing => "committing",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn settled(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Unknown | Self::Expired | Self::Dropped)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|s| s.as_str()).collect();
            format!("`{text}` is not a delivery state; use one of {}", all.join(", "))
        })
    }
}

/// One action on its way to one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Derived from the firing and the step.
    pub id: DeliveryId,
    /// The decision behind it.
    pub firing: FiringId,
    /// The rule behind that.
    pub rule: String,
    /// For whom.
    pub customer: CustomerId,
    /// Which of the firing's actions, from 0.
    pub step: u32,
    /// What is to be done.
    pub action: Action,
    /// Of an email: its template's class.
    pub class: Option<MessageClass>,
    /// Of an email: its template's topic.
    pub topic: Option<String>,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Not before.
    pub due_at: Timestamp,
    /// Not after.
    pub expires_at: Timestamp,
    /// How often it was tried.
    pub n_attempts: u32,
    /// When the state was last changed.
    pub settled_at: Option<Timestamp>,
    /// Why it stands where it stands: hold, refusal, or the receiver's last words.
    pub reason: Option<String>,
    /// What the receiver calls it: the SMTP reply, a task's number.
    pub receipt: Option<String>,
}

impl Delivery {
    /// The id of step `step` of `firing`.
    pub fn id_of(firing: FiringId, step: u32, at: Timestamp) -> DeliveryId {
        DeliveryId::derive(at, &[firing.as_bytes(), &step.to_be_bytes()])
    }

    /// What receivers recognise a repetition by. Never changes between attempts; Message-ID and `webhook-id` are made of
    /// it. Contains no `.` (Standard Webhooks forbids it) and nothing about the person.
    pub fn idempotency_key(&self) -> String {
        self.id.to_string()
    }
}

/// What a channel says of one attempt. An expected refusal is a value, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted; the receiver's own word for it.
    Sent {
        /// The SMTP reply, a task's number, a file's name.
        receipt: String,
    },
    /// Not now.
    Retry {
        /// The receiver's wish, such as `Retry-After`; else the schedule decides.
        after: Option<SignedDuration>,
        /// The receiver's words.
        why: String,
    },
    /// Never.
    Failed {
        /// The receiver's words.
        why: String,
    },
    /// The irreversible byte left and no answer came: it may or may not have arrived.
    Unknown {
        /// What happened.
        why: String,
    },
}

/// What doubt means on a channel: what to do with a row found in `committing` after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The receiver recognises the key: send again under the same one.
    Resend,
    /// Leave it `unknown` for a person or for later evidence.
    Hold,
}

/// Svix's schedule, which receivers know: eight attempts over 27 hours and 35 minutes.
const RETRY_AFTER_SECONDS: [i64; 7] = [5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 10 * 3_600];
const LONGEST_WISH: SignedDuration = SignedDuration::from_hours(24);

/// When to try again after `n_attempts` failed attempts; `None` when attempts have run out. A receiver's wish is honoured
/// within one second and a day. Spread by up to ±20 %, derived from the id so that a replay decides the same.
pub fn next_attempt(
    id: DeliveryId,
    n_attempts: u32,
    wish: Option<SignedDuration>,
    now: Timestamp,
) -> Option<Timestamp> {
    let step = usize::try_from(n_attempts.checked_sub(1)?).ok()?;
    let scheduled = SignedDuration::from_secs(*RETRY_AFTER_SECONDS.get(step)?);
    let hash = digest(&[id.as_bytes(), &n_attempts.to_be_bytes()]);
    let spread = 0.8 + 0.4 * f64::from(hash[0]) / 255.0;
    let wait = match wish {
        Some(wish) => wish.clamp(SignedDuration::from_secs(1), LONGEST_WISH),
        None => scheduled.mul_f64(spread),
    };
    Some(now.plus(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_the_schedule_within_a_fifth_and_then_end() {
        let now = Timestamp::EPOCH;
        let id = DeliveryId::derive(now, &[b"d"]);
        for (n, seconds) in (1..).zip(RETRY_AFTER_SECONDS) {
            let wait = next_attempt(id, n, None, now).unwrap().since(now).as_secs_f64();
            let expected = f64::from(i32::try_from(seconds).unwrap());
            assert!((expected * 0.8..=expected * 1.2).contains(&wait), "attempt {n}: {wait}");
        }
        assert_eq!(next_attempt(id, 8, None, now), None);
    }

    #[test]
    fn a_receivers_wish_is_honoured_between_a_second_and_a_day() {
        let now = Timestamp::EPOCH;
        let id = DeliveryId::derive(now, &[b"d"]);
        let wait = |seconds| next_attempt(id, 1, Some(SignedDuration::from_secs(seconds)), now).unwrap().since(now);
        assert_eq!(wait(90), SignedDuration::from_secs(90));
        assert_eq!(wait(-5), SignedDuration::from_secs(1));
        assert_eq!(wait(10 * 365 * 86_400), SignedDuration::from_hours(24));
    }
}
