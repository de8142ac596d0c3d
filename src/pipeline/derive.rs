//! Behind the log: read what gathered while the last batch was committed, unify, score, evaluate, and write all of it in one
//! commit together with the position. A crash anywhere before that commit leaves nothing; afterwards nothing is repeated.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::ahead::{Ahead, Counts, Keys};
use super::evaluate::{self, Occasion, decide, ledger_since, woken_by_event};
use super::score::{Waking, judge, subject};
use super::unify::Workbook;
use super::{DecisionContext, Pipeline, PipelineError};
use crate::domain::clock::Timestamp;
use crate::domain::customer::Identity;
use crate::domain::event::Fact;
use crate::domain::id::{CustomerId, EventId};
use crate::domain::quarantine::Quarantined;
use crate::domain::rule::Trigger;
use crate::domain::segment::{Signal, Transition};
use crate::domain::subject::Subject;
use crate::rules::Rule;
use crate::stores::{Append, Commit, LogRecord};
use crate::telemetry::Stopwatch;

/// A batch costs a dozen statements and a sync, whatever is in it: below this many records it pays to let more gather.
pub const SMALL_BATCH: u64 = 500;
/// Ticks that are due wait for so many at most, however much arrives.
const MANY_BATCHES: usize = 16;

impl Pipeline {
    /// Derives everything that the log holds and the store does not. Says how many records that were.
    pub async fn derive_all(&self, progress: impl FnMut(u64)) -> Result<u64, PipelineError> {
        self.derive(progress, None).await
    }

    /// As [`Pipeline::derive_all`] where records keep coming: returns behind a small batch, and behind a number of large ones,
    /// so that whoever calls can see to what else is due. `Ok(0)`: there is nothing left.
    pub async fn derive_some(&self, progress: impl FnMut(u64)) -> Result<u64, PipelineError> {
        self.derive(progress, Some(MANY_BATCHES)).await
    }

    async fn derive(&self, mut progress: impl FnMut(u64), most: Option<usize>) -> Result<u64, PipelineError> {
        let (mut n, mut n_batches) = (0, 0);
        let mut records = self.log.read_after(self.store.position().await?, self.strides.batch).await?;
        let mut before: Option<Ahead> = None;
        loop {
            let parts = cut_at_separation(&mut records);
            let Some(last) = records.last().map(|r| r.position) else { break };
            let (n_records, since) = (records.len() as u64, Stopwatch::start());
            let received_at = records.last().map(|r| r.fact.received_at).unwrap_or_default();
            if parts {
                // It looks at everything that is filed before it.
                self.finish(before.take(), &mut n, &mut progress).await?;
            }
            let derived = if parts {
                self.derive_separation(records).await.map(|(commit, n_fresh)| (commit, Keys::new(), n_fresh))
            } else {
                self.derive_batch(records, last, before.as_ref()).await
            };
            self.finish(before.take(), &mut n, &mut progress).await?;
            let (commit, keys, n_fresh) = derived?;
            let apart = !Ahead::is_possible(&commit);
            let counts = Counts { n_records, n_fresh, since, received_at };
            before = Some(Ahead::begin(self.store.clone(), commit, keys, counts));
            if apart {
                self.finish(before.take(), &mut n, &mut progress).await?;
            }
            n_batches += 1;
            if most.is_some_and(|most| n_records < SMALL_BATCH || n_batches == most) {
                break;
            }
            records = self.log.read_after(last, self.strides.batch).await?;
        }
        self.finish(before, &mut n, &mut progress).await?;
        Ok(n)
    }

    /// Waits until a batch is written, and counts it.
    async fn finish(
        &self,
        batch: Option<Ahead>,
        n: &mut u64,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), PipelineError> {
        let Some(batch) = batch else { return Ok(()) };
        let (Counts { n_records, n_fresh, since, received_at }, last) = (batch.counts, batch.last());
        batch.written().await?;
        self.metrics.log_backlog(self.log.end().await?.saturating_sub(last).unsigned_abs());
        self.metrics.events_accepted(n_fresh);
        self.metrics.events_duplicate(n_records - n_fresh);
        self.metrics.batch_derived(since, received_at, self.clock.now());
        *n += n_records;
        progress(*n);
        Ok(())
    }

    /// What these records, which end at `last`, come to behind the batch `before`, and the dedupe keys of its events.
    async fn derive_batch(
        &self,
        records: Vec<LogRecord>,
        last: i64,
        before: Option<&Ahead>,
    ) -> Result<(Commit, Keys, u64), PipelineError> {
        let context = self.context();
        let now = self.clock.now();

        let (fresh, keys) = self.drop_duplicates(records, before, now).await?;
        let n_fresh = fresh.len() as u64;
        let mut work = self.open_workbook(&fresh, before, &context, now).await?;
        let mut live = BTreeMap::new();
        for LogRecord { position, fact } in fresh {
            let imported = fact.imported;
            let (id, waking) = wakes(&fact, &context);
            let woke = (!imported && waking).then(|| Arc::new(fact.clone()));
            let Some(customer) = work.take(position, fact, &context.business) else { continue };
            if imported {
                // Its scores are settled, quietly, at the end of the import.
                let state = work.states.get_mut(&customer).expect("take returns a living customer");
                state.segments = Arc::default();
                live.remove(&customer);
            } else if let Some(fact) = woke {
                wake_by_event(&mut work, customer, id, &fact, now, &context);
                // Judged as this event has left it; only another event makes that necessary again.
                live.remove(&customer);
            } else {
                live.insert(customer, id);
            }
        }
        self.metrics.customers_scored(live.len() as u64);
        for (customer, cause) in live {
            refresh(&mut work, customer, Some(cause), now, &context);
        }
        wake_by_signals(&mut work, now, &context);
        self.count_decisions(&work.commit, &work.tally);
        let mut commit = work.finish();
        commit.position = Some(last);
        Ok((commit, keys, n_fresh))
    }

    /// Keeps the first of each message. The same id with another body is no repetition: it is put aside, not dropped.
    pub(super) async fn drop_duplicates(
        &self,
        records: Vec<LogRecord>,
        before: Option<&Ahead>,
        now: Timestamp,
    ) -> Result<(Vec<LogRecord>, Keys), PipelineError> {
        let keys: Vec<[u8; 16]> = records.iter().map(|r| r.fact.dedupe_key()).collect();
        let mut known = self.store.known_keys(&keys).await?;
        if let Some(before) = before {
            before.add_keys(&mut known);
        }
        let (mut fresh, mut new) = (Vec::with_capacity(records.len()), Keys::with_capacity(records.len()));
        let mut conflicts = Vec::new();
        for (record, key) in records.into_iter().zip(keys) {
            let body = record.fact.body_hash();
            match known.get(&key) {
                None => {
                    known.insert(key, body);
                    new.insert(key, body);
                    fresh.push(record);
                }
                Some(kept) if *kept == body => {}
                Some(_) => conflicts.push(conflict(&record.fact, now)),
            }
        }
        if !conflicts.is_empty() {
            self.metrics.events_quarantined("same_id_other_body", conflicts.len() as u64);
            // Before the batch's own commit: the key of a quarantined row makes writing it again harmless.
            self.log.append(&Append { quarantined: conflicts, ..Append::default() }).await?;
        }
        Ok((fresh, new))
    }

    async fn open_workbook(
        &self,
        records: &[LogRecord],
        before: Option<&Ahead>,
        context: &DecisionContext,
        now: Timestamp,
    ) -> Result<Workbook, PipelineError> {
        let handles: HashSet<&Identity> = records.iter().flat_map(|r| &r.fact.identities).collect();
        let handles: Vec<Identity> = handles.into_iter().cloned().collect();
        let mut identities = self.store.find_identities(&handles).await?;
        if let Some(before) = before {
            before.add_identities(&handles, &mut identities);
        }
        let ids: HashSet<CustomerId> = identities.values().copied().collect();
        let ids: Vec<CustomerId> = ids.into_iter().collect();
        let ahead = |id: &CustomerId| before.and_then(|before| before.customer(*id));
        let stored: Vec<CustomerId> = ids.iter().copied().filter(|id| ahead(id).is_none()).collect();
        let mut states = self.store.load_customers(&stored).await?;
        states.extend(ids.iter().filter_map(|id| Some((*id, ahead(id)?.clone()))));
        let living: Vec<CustomerId> = states.values().map(|s| s.customer).collect();
        let separations = self.store.separations_of(&living).await?;
        let mut ledger = HashMap::new();
        if records.iter().any(|r| !r.fact.imported) {
            ledger = self.store.ledger_of(&ids, ledger_since(context, now)).await?;
            if let Some(before) = before {
                before.add_ledger(&mut ledger);
            }
        }
        let mut work = Workbook::new(identities, states, ledger);
        work.separations = separations;
        Ok(work)
    }

    pub(super) fn count_decisions(&self, commit: &Commit, tally: &Tally) {
        for ((rule, result), n) in &tally.0 {
            self.metrics.evaluations(rule, result, *n);
        }
        for signal in &commit.signals {
            self.metrics.signal(&signal.segment, signal.transition.as_str());
        }
        self.metrics.customers_merged(commit.merges.len() as u64);
        for firing in &commit.firings {
            self.metrics.firings(&firing.rule, 1);
        }
        for refusal in &commit.refusals {
            self.metrics.refusals(refusal.reason, 1);
        }
    }
}

/// A statement that parts two customers looks at everything that is filed before it, so it is a batch of its own and the
/// batch before it ends there. Whether the records begin with one.
fn cut_at_separation(records: &mut Vec<LogRecord>) -> bool {
    let first = records.iter().position(|record| record.fact.separates());
    if let Some(first) = first {
        records.truncate(first.max(1));
    }
    first == Some(0)
}

fn wake_by_event(
    work: &mut Workbook,
    customer: CustomerId,
    id: EventId,
    fact: &Arc<Fact>,
    now: Timestamp,
    context: &DecisionContext,
) {
    refresh(work, customer, Some(id), now, context);
    let Some(state) = work.states.get(&customer) else { return };
    let subject = subject(state, Some(fact.clone()), now, context);
    let occasion = Occasion { name: format!("event:{id}"), at: fact.occurred_at };
    for rule in woken_by_event(context, &fact.name) {
        ask(work, rule, &occasion, &subject, context);
    }
}

/// Signals of this batch wake the rules that wait for them.
pub(super) fn wake_by_signals(work: &mut Workbook, now: Timestamp, context: &DecisionContext) {
    for signal in work.commit.signals.clone() {
        let occasion = Occasion { name: format!("signal:{}", signal.id), at: signal.at };
        for rule in context.book.rules().filter(|rule| waits_for(rule, &signal)) {
            let Some(state) = work.states.get(&signal.customer) else { break };
            let subject = subject(state, None, now, context);
            ask(work, rule, &occasion, &subject, context);
        }
    }
}

fn ask(work: &mut Workbook, rule: &Rule, occasion: &Occasion, subject: &Subject, context: &DecisionContext) {
    let ledger = work.ledger.entry(subject.customer).or_default();
    let decision = decide(rule, subject, occasion, ledger, context);
    note(decision, &mut work.commit, &mut work.tally, rule);
}

/// How often which rule said what: to be counted.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<(String, &'static str), u64>);

impl Tally {
    pub(super) fn add(&mut self, rule: &Rule, result: &'static str, n: usize) {
        *self.0.entry((rule.id.clone(), result)).or_default() += n as u64;
    }
}

/// Adds a decision to the commit.
pub(super) fn note(decision: evaluate::Decision, commit: &mut Commit, tally: &mut Tally, rule: &Rule) {
    let said_yes = decision.firing.is_some() || !decision.refusals.is_empty();
    let result = if decision.failed_at.is_some() {
        "failed"
    } else if said_yes {
        "yes"
    } else {
        "no"
    };
    tally.add(rule, result, 1);
    if let Some(place) = decision.failed_at {
        report_failure(rule, &place);
    }
    commit.firings.extend(decision.firing);
    commit.deliveries.extend(decision.deliveries);
    commit.refusals.extend(decision.refusals);
}

/// Without the cause: a script may have put into it what the customer typed. Whoever asks `why-not` is told.
pub(super) fn report_failure(rule: &Rule, place: &str) {
    tracing::warn!(rule.id = %rule.id, place, "a rule failed; it did nothing for this customer");
}

fn waits_for(rule: &Rule, signal: &Signal) -> bool {
    match (&rule.card.trigger, signal.transition) {
        (Trigger::Entering { segment }, Transition::Entered) | (Trigger::Leaving { segment }, Transition::Left) => {
            *segment == signal.segment
        }
        _ => false,
    }
}

fn wakes(fact: &Fact, context: &DecisionContext) -> (EventId, bool) {
    (crate::domain::event::Event::id_of(fact), woken_by_event(context, &fact.name).next().is_some())
}

/// Scores a customer as the batch has left it so far.
pub(super) fn refresh(
    work: &mut Workbook,
    customer: CustomerId,
    cause: Option<EventId>,
    now: Timestamp,
    context: &DecisionContext,
) {
    let new = work.new.contains(&customer);
    if let Some(state) = work.states.get_mut(&customer) {
        let signals = judge(state, Waking::Aloud { new }, cause, now, context);
        work.commit.signals.extend(signals);
    }
}

fn conflict(fact: &Fact, now: Timestamp) -> Quarantined {
    Quarantined {
        source: fact.source.clone(),
        locator: fact.message_id.clone(),
        reason: "same_id_other_body".to_owned(),
        message: format!(
            "message id `{}` came before with other content; give every message an id of its own",
            fact.message_id
        ),
        record: serde_json::to_string(fact).unwrap_or_default(),
        at: now,
    }
}
