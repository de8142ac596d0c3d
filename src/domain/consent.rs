//! The only door to a person. Whatever is meant to reach one passes [`admit`], once when it is decided and again in the
//! moment before it leaves, because consent can be withdrawn in between.

use std::fmt;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::id::{CustomerId, digest};
use super::order::Stamp;
use super::profile::Profile;

/// What a customer last said about one channel or topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentState {
    /// Agreed, or no longer agrees.
    pub given: bool,
    /// The event that said so.
    pub stamp: Stamp,
}

/// The last word on whether anything may be sent to a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// In force, or lifted.
    pub active: bool,
    /// Why, in the sender's words.
    pub reason: String,
    /// The event that said so.
    pub stamp: Stamp,
}

/// What kind of message this is. Stated in the template, never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageClass {
    /// Wants something of the customer: needs recorded consent, and keeps to quiet hours, cap and holdout.
    Marketing,
    /// The customer caused it and waits for it (a receipt): goes out at any hour, without consent.
    Transactional,
    /// About a running relation (a recall, new terms): without consent, but not at night.
    Service,
}

impl MessageClass {
    /// The word in `template.toml` and in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageClass::Marketing => "marketing",
            MessageClass::Transactional => "transactional",
            MessageClass::Service => "service",
        }
    }
}

/// The hours in which nobody is written to, in the customer's own zone (else the business's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// First quiet minute of the evening.
    pub from: Time,
    /// First minute of the morning when writing is allowed again; before `from` when the night passes midnight.
    pub to: Time,
}

impl QuietHours {
    /// The end of the quiet hours that `now` falls into, if it falls into any.
    pub fn until(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.in_zone(zone);
        let time = local.time();
        let over_midnight = self.to <= self.from;
        let quiet =
            if over_midnight { time >= self.from || time < self.to } else { time >= self.from && time < self.to };
        if !quiet || self.from == self.to {
            return None;
        }
        let day = if over_midnight && time >= self.from { local.date().saturating_add(1.day()) } else { local.date() };
        // A morning hour that DST skips ends at the first instant after the gap.
        let end = day.to_datetime(self.to).to_zoned(zone.clone()).ok()?;
        Some(end.timestamp().into())
    }
}

/// At most `n` marketing messages to one customer within any window of this length, over all rules and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrequencyCap {
    /// How many.
    pub n: u32,
    /// Length of the sliding window.
    pub window: SignedDuration,
}

/// The company's standing orders about contact.
#[derive(Clone, Debug)]
pub struct ContactPolicy {
    /// `None`: write at any hour.
    pub quiet_hours: Option<QuietHours>,
    /// `None`: no limit.
    pub cap: Option<FrequencyCap>,
    /// The zone of customers who have none of their own.
    pub zone: TimeZone,
}

/// What asks to be let through.
#[derive(Clone, Debug)]
pub struct AdmitRequest<'a> {
    /// To whom.
    pub profile: &'a Profile,
    /// How: `email`, `webhook`, `task`, `trait`.
    pub channel: &'a str,
    /// Of which kind; `None` for what does not reach the person (a webhook, a task, a trait).
    pub class: Option<MessageClass>,
    /// About what: consent may be given or withdrawn for a topic alone.
    pub topic: Option<&'a str>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// After this instant it is too late to be of use.
    pub expires_at: Timestamp,
    /// The instants at which marketing messages left, or are about to leave, for this customer; oldest first.
    pub contacts: &'a [Timestamp],
}

/// What [`admit`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Let it through now.
    Send,
    /// Not now: ask again at `until`.
    Hold {
        /// When to ask again.
        until: Timestamp,
        /// What stands in the way.
        why: Hold,
    },
    /// No.
    Refuse(Refusal),
}

/// Why something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// It is night at the customer's.
    QuietHours,
    /// The customer has had as many messages as the cap allows.
    FrequencyCap,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hold::QuietHours => "quiet hours",
            Hold::FrequencyCap => "frequency cap",
        })
    }
}

/// Why something is not sent. Counted, listed, and answered by `why`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Marketing without recorded consent.
    NoConsent,
    /// Consent was given once and has been withdrawn.
    ConsentWithdrawn,
    /// Nothing at all may be sent to this customer.
    Suppressed,
    /// No usable address for this channel.
    NoAddress,
    /// The cap holds longer than the message would keep.
    FrequencyCap,
    /// Quiet hours last longer than the message would keep.
    QuietHours,
    /// It would arrive too late to be of use.
    TooLate,
    /// The customer is in the rule's control group.
    Holdout,
}

impl Refusal {
    /// The word that stores and listings use.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::NoConsent => "no_consent",
            Refusal::ConsentWithdrawn => "consent_withdrawn",
            Refusal::Suppressed => "suppressed",
            Refusal::NoAddress => "no_address",
            Refusal::FrequencyCap => "frequency_cap",
            Refusal::QuietHours => "quiet_hours",
            Refusal::TooLate => "too_late",
            Refusal::Holdout => "holdout",
        }
    }
}

/// Whether a message may go to this person now.
///
/// Checked in the order of how final the answer is: lateness, suppression, consent, address, quiet hours, cap. A hold that
/// would outlast `expires_at` is a refusal, so nothing waits for nothing. What does not reach the person (no class) is
/// only held to lateness and, for webhooks, to nothing else: a CRM task about a suppressed customer is still wanted.
pub fn admit(request: &AdmitRequest<'_>, policy: &ContactPolicy, now: Timestamp) -> Admission {
    if now > request.expires_at {
        return Admission::Refuse(Refusal::TooLate);
    }
    let Some(class) = request.class else { return Admission::Send };
    let profile = request.profile;
    if profile.suppression.as_ref().is_some_and(|s| s.active) {
        return Admission::Refuse(Refusal::Suppressed);
    }
    if class == MessageClass::Marketing
        && let Err(refusal) = consented(profile, request.channel, request.topic)
    {
        return Admission::Refuse(refusal);
    }
    if request.channel == "email" && profile.email().is_none() {
        return Admission::Refuse(Refusal::NoAddress);
    }
    if class != MessageClass::Transactional {
        let zone = profile.zone().unwrap_or_else(|| policy.zone.clone());
        if let Some(until) = policy.quiet_hours.and_then(|quiet| quiet.until(now, &zone)) {
            return hold(until, Hold::QuietHours, Refusal::QuietHours, request.expires_at);
        }
    }
    if class == MessageClass::Marketing
        && let Some(until) = policy.cap.and_then(|cap| cap_frees_at(cap, request.contacts, now))
    {
        return hold(until, Hold::FrequencyCap, Refusal::FrequencyCap, request.expires_at);
    }
    Admission::Send
}

fn hold(until: Timestamp, why: Hold, otherwise: Refusal, expires_at: Timestamp) -> Admission {
    if until > expires_at { Admission::Refuse(otherwise) } else { Admission::Hold { until, why } }
}

/// A word about the topic itself counts before a word about the whole channel, except that leaving the channel leaves
/// every topic.
fn consented(profile: &Profile, channel: &str, topic: Option<&str>) -> Result<(), Refusal> {
    let whole = profile.consent.get(channel);
    let own = topic.and_then(|topic| profile.consent.get(&format!("{channel}/{topic}")));
    let left_after = |own: &ConsentState| whole.is_some_and(|w| !w.given && w.stamp > own.stamp);
    match (whole, own) {
        (_, Some(own)) if own.given && !left_after(own) => Ok(()),
        (Some(whole), None) if whole.given => Ok(()),
        (None, None) => Err(Refusal::NoConsent),
        _ => Err(Refusal::ConsentWithdrawn),
    }
}

/// When the window has room again, if it has none at `now`.
fn cap_frees_at(cap: FrequencyCap, contacts: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let recent: Vec<Timestamp> = contacts.iter().copied().filter(|&at| at.plus(cap.window) > now).collect();
    let surplus = recent.len().checked_sub(cap.n.max(1) as usize)?;
    Some(recent[surplus].plus(cap.window))
}

/// Whether a customer belongs to a rule's control group: a stable hash, so the group is the same at every evaluation, and
/// independent from one rule to the next.
pub fn held_out(rule: &str, customer: CustomerId, share: f64) -> bool {
    let hash = digest(&[b"holdout", rule.as_bytes(), customer.as_bytes()]);
    let bucket = u32::from_be_bytes(hash[..4].try_into().expect("a hash has four bytes"));
    f64::from(bucket) < share * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::customer::{Identity, IdentityKind};
    use crate::domain::id::EventId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn policy() -> ContactPolicy {
        let quiet = QuietHours { from: "21:00".parse().unwrap(), to: "08:00".parse().unwrap() };
        let cap = FrequencyCap { n: 2, window: SignedDuration::from_hours(7 * 24) };
        ContactPolicy { quiet_hours: Some(quiet), cap: Some(cap), zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    fn consenting() -> Profile {
        let mut profile = Profile::default();
        profile.identities.insert(Identity::new(IdentityKind::Email, "ana@example.com").unwrap());
        say(&mut profile, "email", true, 1);
        profile
    }

    fn say(profile: &mut Profile, key: &str, given: bool, second: i64) {
        let time = Timestamp::from_micros(second * 1_000_000);
        let stamp = (time, EventId::derive(time, &[b"e"]));
        profile.consent.insert(key.to_owned(), ConsentState { given, stamp });
    }

    fn ask(profile: &Profile, class: MessageClass, contacts: &[Timestamp], now: &str) -> Admission {
        let request = AdmitRequest {
            profile,
            channel: "email",
            class: Some(class),
            topic: Some("offers"),
            decided_at: at(now),
            expires_at: at(now).plus(SignedDuration::from_hours(24)),
            contacts,
        };
        admit(&request, &policy(), at(now))
    }

    const NOON: &str = "2026-06-10T10:00:00Z";

    #[test]
    fn marketing_needs_consent_and_a_receipt_does_not() {
        let mut stranger = consenting();
        stranger.consent.clear();
        assert_eq!(ask(&stranger, MessageClass::Marketing, &[], NOON), Admission::Refuse(Refusal::NoConsent));
        assert_eq!(ask(&stranger, MessageClass::Transactional, &[], NOON), Admission::Send);
        assert_eq!(ask(&consenting(), MessageClass::Marketing, &[], NOON), Admission::Send);
    }

    #[test]
    fn leaving_a_topic_leaves_that_topic_and_leaving_the_channel_leaves_all() {
        let mut profile = consenting();
        say(&mut profile, "email/offers", false, 2);
        let withdrawn = Admission::Refuse(Refusal::ConsentWithdrawn);
        assert_eq!(ask(&profile, MessageClass::Marketing, &[], NOON), withdrawn);
        say(&mut profile, "email/offers", true, 3);
        assert_eq!(ask(&profile, MessageClass::Marketing, &[], NOON), Admission::Send);
        say(&mut profile, "email", false, 4);
        assert_eq!(ask(&profile, MessageClass::Marketing, &[], NOON), withdrawn);
    }

    #[test]
    fn the_night_holds_until_the_customers_own_morning() {
        let mut profile = consenting();
        let hold = |until: &str| Admission::Hold { until: at(until), why: Hold::QuietHours };
        let night = "2026-06-10T20:30:00Z"; // 22:30 in Berlin, 16:30 in New York
        assert_eq!(ask(&profile, MessageClass::Marketing, &[], night), hold("2026-06-11T06:00:00Z"));
        assert_eq!(ask(&profile, MessageClass::Transactional, &[], night), Admission::Send);
        let stamp = (at(NOON), EventId::derive(at(NOON), &[b"z"]));
        let zone = crate::domain::profile::Trait { value: "America/New_York".into(), stamp };
        profile.traits.insert("timezone".to_owned(), zone);
        assert_eq!(ask(&profile, MessageClass::Marketing, &[], night), Admission::Send);
    }

    #[test]
    fn the_cap_counts_a_sliding_window_and_refuses_when_it_would_hold_too_long() {
        let old = at(NOON).minus(SignedDuration::from_hours(7 * 24 - 1));
        let recent = at(NOON).minus(SignedDuration::from_hours(2));
        let until = at(NOON).plus(SignedDuration::from_hours(1));
        let capped = Admission::Hold { until, why: Hold::FrequencyCap };
        assert_eq!(ask(&consenting(), MessageClass::Marketing, &[old, recent], NOON), capped);
        let refused = Admission::Refuse(Refusal::FrequencyCap);
        assert_eq!(ask(&consenting(), MessageClass::Marketing, &[recent, recent], NOON), refused);
        assert_eq!(ask(&consenting(), MessageClass::Transactional, &[recent, recent], NOON), Admission::Send);
    }

    #[test]
    fn a_suppressed_customer_gets_nothing_of_any_class() {
        let mut profile = consenting();
        let stamp = (at(NOON), EventId::derive(at(NOON), &[b"s"]));
        profile.suppression = Some(Suppression { active: true, reason: "complaint".to_owned(), stamp });
        for class in [MessageClass::Marketing, MessageClass::Transactional, MessageClass::Service] {
            assert_eq!(ask(&profile, class, &[], NOON), Admission::Refuse(Refusal::Suppressed));
        }
    }

    #[test]
    fn the_control_group_has_the_stated_size_and_differs_between_rules() {
        let customers: Vec<CustomerId> =
            (0..20_000).map(|n| CustomerId::derive(Timestamp::from_micros(n * 1_000), &[b"c"])).collect();
        let group = |rule: &str| customers.iter().map(|&c| held_out(rule, c, 0.1)).collect::<Vec<_>>();
        let (a, b) = (group("a"), group("b"));
        let size = a.iter().filter(|&&out| out).count();
        let both = a.iter().zip(&b).filter(|&(&x, &y)| x && y).count();
        assert!((1_850..2_150).contains(&size) && (130..270).contains(&both), "{size} {both}");
        assert!(!held_out("a", customers[0], 0.0) && held_out("a", customers[0], 1.0));
    }
}
