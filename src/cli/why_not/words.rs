//! What was met on the way, in words: what it is, with its value, and what would have to change.

use super::Stop;
use crate::cli::local;
use crate::cli::output::visible;
use crate::cli::rules::length;
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::consent::Refusal;
use crate::domain::delivery::{Delivery, DeliveryState, Firing};
use crate::domain::diagnostic::{Diagnostic, did_you_mean};
use crate::domain::segment::Transition;
use crate::domain::subject::Subject;
use crate::pipeline::DecisionContext;
use crate::pipeline::evaluate::{Decision, Stopped, class_of};
use crate::rules::{Rule, RuleBook};
use crate::schedule::Schedule;
use crate::stores::{Contact, CustomerState, Refused};

/// Runs that are tried for one at which time alone makes the condition true.
const MOST_RUNS: usize = 400;

pub(super) fn no_rule(rule: &str, broken: Option<Vec<Diagnostic>>, names: &[&str]) -> Stop {
    if let Some(diagnostics) = broken {
        let what = format!("`{rule}` is broken; a running daemon keeps its last good version, a new one has none");
        return Stop { diagnostics, ..Stop::new("rule_broken", what, "repair what `rekindle check` names") };
    }
    let meant = did_you_mean(rule, names.iter().copied());
    let help = meant.map_or_else(|| format!("there is {}", names.join(", ")), |m| format!("did you mean `{m}`?"));
    Stop::new("no_such_rule", format!("there is no rule `{rule}`"), help)
}

pub(super) fn no_event(name: &str, n_imported: usize, customer: &CustomerState) -> Stop {
    if n_imported > 0 {
        let what =
            format!("all {n_imported} `{name}` events of this customer were imported, and history wakes no rule");
        return Stop::new("imported", what, format!("a live `{name}` event"));
    }
    let what = format!("none of this customer's {} events is a `{name}`", customer.profile.n_events);
    Stop::new("never_woken", what, format!("a `{name}` event"))
}

pub(super) fn no_signal(segment: &str, transition: Transition, subject: &Subject, book: &RuleBook) -> Stop {
    let is_in = subject.is_in(segment);
    match (transition, is_in) {
        (Transition::Entered, true) => Stop::new(
            "imported",
            format!(
                "the customer is in {segment} and never entered it: it was so when the segment was first asked about, or history was imported"
            ),
            format!("to leave {segment} and enter it again"),
        ),
        (Transition::Left, true) => Stop::new(
            "never_woken",
            format!("the customer is in {segment} and has not left it"),
            format!("to leave {segment}"),
        ),
        (transition, false) => {
            let (did, todo) = match transition {
                Transition::Entered => ("entered", format!("to enter {segment}: its condition must become true")),
                Transition::Left => ("left", format!("to enter {segment}, and then to leave it")),
            };
            let what = format!("the customer is not in {segment} and never {did} it");
            Stop::new("never_woken", what, todo).at(book.why_not_in(segment, subject))
        }
    }
}

pub(super) fn fired(firing: &Firing, deliveries: &[String], config: &Config) -> Stop {
    let at = local(firing.at, config);
    if firing.held_out {
        let what = format!("it fired {at}; the customer is in its control group, so nothing was sent");
        return Stop::new("holdout", what, "a smaller `holdout`; who is in it never changes by itself");
    }
    let what = format!("it did fire on this occasion, {at}: {}", deliveries.join(", "));
    Stop::new("already_fired", what, "another occasion; `rekindle why` says what became of that one")
}

/// Everything that a decision was made of.
pub(super) struct Met<'a> {
    pub(super) rule: &'a Rule,
    pub(super) subject: &'a Subject,
    pub(super) decision: &'a Decision,
    /// When marketing messages left, or were to leave.
    pub(super) contacts: &'a [Contact],
    pub(super) context: &'a DecisionContext,
    pub(super) config: &'a Config,
}

impl Met<'_> {
    pub(super) fn stop(&self, schedule: Option<&Schedule>) -> Stop {
        if let Some(stopped) = &self.decision.stopped {
            return self.before_admission(stopped, schedule);
        }
        if let Some(firing) = self.decision.firing.as_ref().filter(|firing| firing.held_out) {
            let what = format!(
                "the customer is in the control group of {} ({:.0} % of all)",
                firing.rule,
                self.rule.card.holdout * 100.0
            );
            return Stop::new("holdout", what, "a smaller `holdout`; who is in it never changes by itself");
        }
        if let Some(refused) = self.decision.refusals.first() {
            return self.refused(refused);
        }
        if let Some(held) = self.decision.deliveries.iter().find(|delivery| delivery.state == DeliveryState::Held) {
            return self.held(held);
        }
        let wants: Vec<String> = self.decision.deliveries.iter().map(what).collect();
        Stop::new("nothing", format!("it says yes and would do: {}", wants.join(", ")), "")
    }

    fn before_admission(&self, stopped: &Stopped, schedule: Option<&Schedule>) -> Stop {
        let book = &self.context.book;
        match stopped {
            Stopped::Audience => {
                let segment = self.rule.card.audience.as_deref().unwrap_or_default();
                let what = format!("the customer is not in {segment}, which is the rule's audience");
                let part = book.why_not_in(segment, self.subject);
                let change = match &part {
                    Some(_) => format!("the condition of {segment} must become true"),
                    None => format!(
                        "the condition of {segment} is true by now; membership is settled with the next event or at the next rescoring"
                    ),
                };
                Stop::new("not_in_audience", what, change).at(part)
            }
            Stopped::Cooldown { last, until } => {
                let cooldown = self.rule.card.cooldown.map(length).unwrap_or_default();
                let what = format!("it fired {}, and then leaves the customer alone for {cooldown}", self.local(*last));
                Stop::new("cooldown", what, format!("time: it may be asked again from {}", self.local(*until)))
            }
            Stopped::Fired => Stop::new("already_fired", "it has fired on this occasion", "another occasion"),
            Stopped::Failed => {
                let error = self.rule.evaluate(self.subject).error.unwrap_or_default();
                let part = book.why_no(self.rule, self.subject).filter(|no| no.error.is_some());
                let change = "the script must not fail for this customer; a missing value needs `??`";
                Stop::new("script_error", error, change).at(part)
            }
            Stopped::NothingWanted => {
                Stop::new("wants_nothing", "`when` says yes, and `then` wants nothing done", "an action in `then`")
            }
            Stopped::Condition => {
                let part = book.why_no(self.rule, self.subject);
                let change = part.as_ref().map_or_else(String::new, |no| innermost(no).missing.clone());
                let change = match schedule.and_then(|schedule| self.becomes_true(schedule)) {
                    Some(at) => {
                        format!(
                            "{change}\n  if nothing else changes, time alone makes it true at the run of {}",
                            self.local(at)
                        )
                    }
                    None => change,
                };
                let what = "`when` says no: this part of it is the first that is false";
                Stop::new("condition", what, change).at(part)
            }
        }
    }

    /// The first run at which the condition says yes to the customer as they are.
    fn becomes_true(&self, schedule: &Schedule) -> Option<Timestamp> {
        let says_yes = |at: &Timestamp| {
            let later = Subject { now: *at, ..self.subject.clone() };
            self.rule.matches(&later).unwrap_or(false)
        };
        schedule.upcoming(self.subject.now, MOST_RUNS).into_iter().find(says_yes)
    }

    fn refused(&self, refused: &Refused) -> Stop {
        let actions = self.rule.evaluate(self.subject).actions;
        let action = actions.get(refused.step as usize);
        let (channel, topic) = action.map_or(("email", None), |a| (a.channel(), class_of(a, self.context).1));
        let about = topic.as_ref().map_or_else(String::new, |topic| format!(", topic {topic}"));
        let profile = &self.subject.profile;
        let is = |refusal: Refusal| refused.reason == refusal.as_str();
        let rest: Vec<String> = self.decision.deliveries.iter().map(what).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("; the rest would go: {}", rest.join(", ")) };
        let (what, change) = if is(Refusal::NoConsent) {
            let change = format!("a `Consent Given` event with channel {channel}");
            (format!("no consent to {channel}{about} is recorded"), change)
        } else if is(Refusal::ConsentWithdrawn) {
            let words = profile.consent.iter().filter(|(key, word)| !word.given && key.starts_with(channel));
            let words: Vec<String> =
                words.map(|(key, word)| format!("{key} {} by {}", self.local(word.stamp.0), word.stamp.1)).collect();
            (format!("consent was withdrawn: {}", words.join(", ")), "the customer must consent again".to_owned())
        } else if is(Refusal::Suppressed) {
            let word = profile.suppression.as_ref();
            let why = word
                .map_or_else(String::new, |word| format!("{} ({})", visible(&word.reason), self.local(word.stamp.0)));
            (format!("nothing may be sent to this customer: {why}"), "an `Unsuppressed` event".to_owned())
        } else if is(Refusal::NoAddress) {
            ("no usable email address is known".to_owned(), "an event that states the trait `email`".to_owned())
        } else if is(Refusal::QuietHours) {
            let end = self.expires_at();
            let what = format!("{}, and it would be of no use after {end}", self.quiet_hours());
            (what, "an earlier hour in `trigger`, or a longer `max_lateness`".to_owned())
        } else if is(Refusal::FrequencyCap) {
            let what = format!("{}, and it would be of no use after {}", self.cap(), self.expires_at());
            (what, "time, a larger `[contact] cap`, or a longer `max_lateness`".to_owned())
        } else {
            let what =
                format!("it was of use until {} and is asked {}", self.expires_at(), self.local(self.subject.now));
            (what, "events that arrive sooner, or a longer `max_lateness`".to_owned())
        };
        Stop::new(refused.reason, format!("{what}{rest}"), change)
    }

    fn held(&self, held: &Delivery) -> Stop {
        let until = self.local(held.due_at);
        let quiet = held.reason.as_deref() == Some(crate::domain::consent::Hold::QuietHours.to_string().as_str());
        let (by, what) = if quiet { ("quiet_hours", self.quiet_hours()) } else { ("frequency_cap", self.cap()) };
        Stop::new(by, format!("{what}; it would wait"), format!("nothing but time: it may go from {until}"))
    }

    fn quiet_hours(&self) -> String {
        let zone = self.subject.profile.zone().unwrap_or_else(|| self.context.policy.zone.clone());
        let at = self.subject.now.in_zone(&zone).strftime("%H:%M").to_string();
        let hours = self.context.policy.quiet_hours.map_or_else(String::new, |quiet| {
            format!("{} to {}", quiet.from.strftime("%H:%M"), quiet.to.strftime("%H:%M"))
        });
        format!("it is {at} at the customer's ({}), and quiet hours are {hours}", zone.iana_name().unwrap_or("UTC"))
    }

    fn cap(&self) -> String {
        let Some(cap) = self.context.policy.cap else { return String::new() };
        let now = self.subject.now;
        let counted = self.contacts.iter().filter(|contact| contact.at.plus(cap.window) > now);
        let counted: Vec<String> = counted.map(|c| format!("{} of {}", c.delivery, self.local(c.at))).collect();
        let (n, window) = (counted.len(), length(cap.window));
        format!("{n} marketing messages count in {window}, and {} are allowed: {}", cap.n, counted.join(", "))
    }

    fn expires_at(&self) -> String {
        let from = self.subject.event.as_ref().map_or(self.subject.now, |event| event.occurred_at);
        self.local(from.plus(self.rule.card.max_lateness))
    }

    fn local(&self, at: Timestamp) -> String {
        local(at, self.config)
    }
}

fn what(delivery: &Delivery) -> String {
    format!("{} {}", delivery.action.channel(), delivery.action.subject())
}

fn innermost(no: &crate::rules::SaidNo) -> &crate::rules::SaidNo {
    no.inside.as_deref().map_or(no, innermost)
}
