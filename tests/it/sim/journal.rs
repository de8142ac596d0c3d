//! What happened in a simulated world, in the order in which it took effect: the disk's changes, what left for receivers,
//! deaths and the clock. The reference interpreter reads it; printed, it is the trace of a seed.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rekindle::domain::clock::{Clock, ManualClock, Timestamp};
use rekindle::domain::delivery::Delivery;
use rekindle::domain::event::Fact;
use rekindle::stores::{Commit, Move, TickProgress};

pub(crate) enum What {
    /// Into the log.
    Appended(Vec<Fact>),
    /// One batch or chunk.
    Committed(Box<Commit>),
    TicksBegun(Vec<TickProgress>),
    MetaSet(String),
    Moved(Vec<(Move, bool)>),
    Claimed(Vec<Delivery>),
    /// The byte that cannot be taken back left.
    Left {
        delivery: Box<Delivery>,
        accepted: bool,
        answer: &'static str,
    },
    /// Senders were told that we have these.
    Acknowledged(Vec<(String, String)>),
    /// The process began, stopped or died; a call failed; the clock was set.
    Note(String),
    /// From here on this process may have lost an answer.
    Trouble(String),
}

pub(crate) struct Entry {
    pub(crate) now: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) struct Journal {
    entries: Arc<Mutex<Vec<Entry>>>,
    clock: Arc<ManualClock>,
}

impl Journal {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Journal { entries: Arc::default(), clock }
    }

    pub(crate) fn note(&self, what: What) {
        self.entries.lock().unwrap().push(Entry { now: self.clock.now(), what });
    }

    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.entries.lock().unwrap())
    }
}

/// For people, and to compare two runs of one seed byte by byte.
pub(crate) fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for Entry { now, what } in entries {
        let lines = lines(what);
        for line in lines {
            writeln!(text, "{now} {line}").unwrap();
        }
    }
    text
}

fn lines(what: &What) -> Vec<String> {
    match what {
        What::Appended(facts) => facts.iter().map(appended).collect(),
        What::Committed(commit) => committed(commit),
        What::TicksBegun(ticks) => {
            let line = |t: &TickProgress| format!("tick     {} {} (done {:?})", t.schedule, t.at, t.done_at);
            ticks.iter().map(line).collect()
        }
        What::MetaSet(key) => vec![format!("meta     {key}")],
        What::Moved(moves) => moves.iter().map(moved).collect(),
        What::Claimed(deliveries) => deliveries.iter().map(|d| format!("claimed  {} {}", d.id, d.rule)).collect(),
        What::Left { delivery, accepted, answer } => {
            vec![format!("LEFT     {} {} accepted={accepted} answer={answer}", delivery.id, delivery.rule)]
        }
        What::Acknowledged(keys) => keys.iter().map(|(s, id)| format!("told     {s}/{id} is kept")).collect(),
        What::Note(text) => vec![format!("--       {text}")],
        What::Trouble(text) => vec![format!("!!       {text}")],
    }
}

fn appended(fact: &Fact) -> String {
    let handles: Vec<&str> = fact.identities.iter().map(|i| i.value.as_str()).collect();
    let imported = if fact.imported { " imported" } else { "" };
    let (id, name, at) = (&fact.message_id, &fact.name, fact.occurred_at);
    let body = serde_json::to_string(&(&fact.properties, &fact.traits)).unwrap();
    format!("appended {}/{id} {name} of {} at {at}{imported} {body}", fact.source, handles.join("+"))
}

fn committed(commit: &Commit) -> Vec<String> {
    let mut lines = vec![format!("commit   position {:?} tick {:?}", commit.position, commit.tick)];
    lines.extend(
        commit.events.iter().map(|(at, e)| format!("  event  {at} {} {} -> {:?}", e.fact.message_id, e.id, e.customer)),
    );
    lines.extend(commit.merges.iter().map(|m| format!("  merge  {} into {}", m.absorbed, m.survivor)));
    let member = |s: &rekindle::stores::CustomerState| format!("  judged {} {:?}", s.customer, s.segments);
    lines.extend(commit.customers.iter().chain(&commit.judged).map(member));
    lines.extend(commit.signals.iter().map(|s| format!("  signal {} {} {:?}", s.customer, s.segment, s.transition)));
    lines.extend(decisions(commit).into_iter().map(|line| format!("  {line}")));
    lines
}

/// What a commit decided, one line each, sorted: the form in which it is compared with what the reference expects.
pub(crate) fn decisions(commit: &Commit) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for f in &commit.firings {
        lines.push(fired(&f.rule, &f.customer.to_string(), &f.occasion, f.held_out));
        let own = commit.deliveries.iter().filter(|d| d.firing == f.id);
        lines.extend(own.map(|d| {
            let state = format!("{} {} {}", d.state, d.due_at, d.reason.as_deref().unwrap_or("-"));
            step(&f.rule, &f.customer.to_string(), &f.occasion, d.step, &state)
        }));
    }
    let refused = |r: &rekindle::stores::Refused| {
        step(&r.rule, &r.customer.to_string(), &r.occasion, r.step, &format!("refused {}", r.reason))
    };
    lines.extend(commit.refusals.iter().map(refused));
    lines.sort();
    lines
}

pub(crate) fn fired(rule: &str, customer: &str, occasion: &str, held_out: bool) -> String {
    format!("{rule} {customer} {occasion} fired{}", if held_out { ", held out" } else { "" })
}

pub(crate) fn step(rule: &str, customer: &str, occasion: &str, step: u32, state: &str) -> String {
    format!("{rule} {customer} {occasion} step {step} {state}")
}

fn moved((one, made): &(Move, bool)) -> String {
    let made = if *made { "" } else { " (not ours any more)" };
    match one {
        Move::Commit { delivery, .. } => format!("moved    {delivery} committing{made}"),
        Move::Settle { delivery, state, due_at, reason, attempt, .. } => {
            format!("moved    {delivery} {state} due {due_at:?} reason {reason:?} attempt {attempt}{made}")
        }
        Move::OpenTask { delivery, .. } => format!("moved    {} task opened{made}", delivery.id),
    }
}
