//! Sweep: what time alone brings about. Every tick of a schedule asks everybody once, chunk by chunk, each chunk one commit
//! with the sweep's own position; a crash goes on at the chunk that was not committed.
//!
//! The daily rescoring is such a sweep, under the name `@rescore`: it fits the models, scores everybody, and notes who
//! entered or left a segment because days have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::derive::{Tally, note, report_failure, wake_by_signals};
use super::evaluate::{Occasion, decide, ledger_since};
use super::score::{Waking, judge, subject};
use super::unify::Workbook;
use super::{DecisionContext, Pipeline, PipelineError};
use crate::domain::clock::Timestamp;
use crate::domain::id::CustomerId;
use crate::domain::segment::Signal;
use crate::domain::subject::Subject;
use crate::models::{CustomerFacts, Customers, Dataset, Fitted, PackedFacts};
use crate::rules::{Rule, RuleBook};
use crate::stores::{Columns, Commit, CustomerState, StoredModel, TickProgress};
use crate::telemetry::Stopwatch;

/// The schedule of the daily rescoring.
pub const RESCORE: &str = "@rescore";
/// What scoring everybody for no tick is counted under: after an import, and after segments were edited.
const SETTLE: &str = "@settle";
/// [`SCORED`] once the models have been fitted and everybody was scored: before that, scores say nothing about change.
/// While the first rescoring is under way, its tick.
const SCORED_ONCE: &str = "scored_once";
const SCORED: &str = "yes";
/// The segments that everybody was asked about, with their versions.
const SEGMENT_VERSIONS: &str = "segment_versions";

impl Pipeline {
    /// The ticks that are due at `now`, in the order in which they are to be swept. The sweep's own commits note them; one
    /// that was not begun is due again after a crash. A schedule that is seen for the first time starts from now: a new
    /// rule does not make up for the past.
    pub async fn due_ticks(&self, now: Timestamp) -> Result<Vec<TickProgress>, PipelineError> {
        let context = self.context();
        if self.is_quiet(&context, now) {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = context.schedules.iter().map(|(name, ..)| name.as_str()).collect();
        let (newest, mut due) = self.store.ticks_of(&names).await?;
        for (name, schedule, max_lateness) in &context.schedules {
            let Some(&newest) = newest.get(name) else {
                let baseline = TickProgress { schedule: name.clone(), at: now, position: None, done_at: Some(now) };
                self.store.begin_ticks(&[baseline]).await?;
                continue;
            };
            let mut skipped = Vec::new();
            for at in schedule.due(newest, now, context.catch_up) {
                let late = max_lateness.is_some_and(|limit| at.plus(limit) < now);
                if late {
                    self.metrics.tick_skipped(name);
                    tracing::warn!(schedule = %name, tick = %at, "a tick was missed by too much and is skipped");
                }
                let tick = TickProgress { schedule: name.clone(), at, position: None, done_at: late.then_some(now) };
                if late { skipped.push(tick) } else { due.push(tick) }
            }
            if !skipped.is_empty() {
                self.store.begin_ticks(&skipped).await?;
            }
        }
        due.sort_by(|a, b| (a.at, a.schedule != RESCORE, &a.schedule).cmp(&(b.at, b.schedule != RESCORE, &b.schedule)));
        due.dedup();
        if due.is_empty() {
            let next = self.next_tick(now).unwrap_or(Timestamp::MAX);
            *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner) = Some((context, next));
        }
        Ok(due)
    }

    /// Whether the ledger of ticks was asked already and has nothing for `now`. Only this process begins ticks; a clock
    /// that was set back finds none either.
    fn is_quiet(&self, context: &Arc<DecisionContext>, now: Timestamp) -> bool {
        let quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.as_ref().is_some_and(|(of, until)| Arc::ptr_eq(of, context) && now < *until)
    }

    /// When the next tick of any schedule is, after `now`.
    pub fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        self.context().schedules.iter().filter_map(|(_, schedule, _)| schedule.next_after(now)).min()
    }

    /// Carries one tick out, from where it stands.
    pub async fn sweep(&self, tick: TickProgress) -> Result<(), PipelineError> {
        let (schedule, since) = (tick.schedule.clone(), Stopwatch::start());
        self.sweep_tick(tick).await?;
        self.metrics.tick_swept(&schedule, since);
        Ok(())
    }

    async fn sweep_tick(&self, tick: TickProgress) -> Result<(), PipelineError> {
        if tick.schedule == RESCORE {
            let quiet = self.scores_first(&tick).await?;
            if self.fitted_at().await? < Some(tick.at) {
                self.fit_models(self.clock.now()).await?;
            }
            let waking = if quiet { Waking::Quiet } else { Waking::Aloud { new: false } };
            self.score_everybody(waking, &BTreeSet::new(), Some(tick)).await?;
            if quiet {
                self.store.set_meta(SCORED_ONCE, SCORED).await?;
            }
            return Ok(());
        }
        let context = self.context();
        let Some(rule) = context.book.rule(&tick.schedule) else {
            // The rule was removed between tick and sweep.
            let done = TickProgress { done_at: Some(self.clock.now()), ..tick };
            return Ok(self.store.commit_batch(&Commit { tick: Some(done), ..Commit::default() }).await?);
        };
        self.sweep_rule(rule, tick, &context).await
    }

    /// Whether this rescoring is the first, also when a crash has cut it into pieces or hidden that it was finished.
    async fn scores_first(&self, tick: &TickProgress) -> Result<bool, PipelineError> {
        let this = tick.at.as_micros().to_string();
        match self.store.meta(SCORED_ONCE).await? {
            Some(known) if known == SCORED => return Ok(false),
            Some(begun) if begun == this => return Ok(true),
            Some(begun) => {
                let begun = begun.parse().map_or(Timestamp::MAX, Timestamp::from_micros);
                let (newest, open) = self.store.ticks_of(&[RESCORE]).await?;
                let is_open = open.iter().any(|tick| tick.schedule == RESCORE && tick.at == begun);
                if newest.get(RESCORE) >= Some(&begun) && !is_open {
                    return Ok(false);
                }
            }
            None => {}
        }
        self.store.set_meta(SCORED_ONCE, &this).await?;
        Ok(true)
    }

    async fn sweep_rule(
        &self,
        rule: &Arc<Rule>,
        mut tick: TickProgress,
        context: &DecisionContext,
    ) -> Result<(), PipelineError> {
        let now = self.clock.now();
        let occasion = Occasion { name: format!("tick:{}", tick.at), at: tick.at };
        while tick.done_at.is_none() {
            let states = self
                .store
                .scan_customers(Columns::All, rule.card.audience.as_deref(), tick.position, self.strides.chunk)
                .await?;
            self.advance(&mut tick, &states, now);
            self.metrics.swept(&tick.schedule, states.len());
            let mut tally = Tally::default();
            let asked: Vec<&CustomerState> =
                states.iter().filter(|state| matches(rule, &subject(state, None, now, context), &mut tally)).collect();
            let ids: Vec<CustomerId> = asked.iter().map(|state| state.customer).collect();
            let mut ledger = self.store.ledger_of(&ids, ledger_since(context, now)).await?;
            let mut commit = Commit::default();
            for state in asked {
                let subject = subject(state, None, now, context);
                let view = ledger.entry(state.customer).or_default();
                note(decide(rule, &subject, &occasion, view, context), &mut commit, &mut tally, rule);
            }
            self.count_decisions(&commit, &tally);
            // A chunk in which nothing was decided has nothing to lose: after a crash it is asked again.
            let decided = !commit.firings.is_empty() || !commit.refusals.is_empty();
            if decided || tick.done_at.is_some() {
                commit.tick = Some(tick.clone());
                self.store.commit_batch(&commit).await?;
            }
        }
        Ok(())
    }

    /// After an import: fits the models on what is known now and settles scores and segments without waking a rule.
    pub async fn settle_import(&self) -> Result<(), PipelineError> {
        self.fit_models(self.clock.now()).await?;
        self.score_everybody(Waking::Quiet, &BTreeSet::new(), None).await?;
        Ok(self.store.set_meta(SCORED_ONCE, SCORED).await?)
    }

    /// After somebody has edited segments: asks everybody about those that are new or mean something else now. It wakes no
    /// rule for them: saving a file must not look like a thousand customers changing their minds.
    pub async fn settle_edited_segments(&self) -> Result<(), PipelineError> {
        let book = self.context().book.clone();
        let settled = |book: &Arc<RuleBook>| {
            let slot = self.settled_book.lock().unwrap_or_else(PoisonError::into_inner);
            slot.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, book))
        };
        if settled(&book) {
            return Ok(());
        }
        self.keep_rule_texts(&book).await?;
        let now = book.segment_versions();
        let text = serde_json::to_string(&now).expect("names and hashes are text");
        let before = self.store.meta(SEGMENT_VERSIONS).await?;
        if before.as_ref() != Some(&text) {
            let before: BTreeMap<String, String> =
                before.map(|text| serde_json::from_str(&text).unwrap_or_default()).unwrap_or_default();
            let edited: BTreeSet<String> =
                now.into_iter().filter(|(name, version)| before.get(name) != Some(version)).map(|(n, _)| n).collect();
            tracing::info!(segments = ?edited, "segments were edited; everybody is asked about them anew");
            self.score_everybody(Waking::Aloud { new: false }, &edited, None).await?;
            self.store.set_meta(SEGMENT_VERSIONS, &text).await?;
        }
        *self.settled_book.lock().unwrap_or_else(PoisonError::into_inner) = Some(book);
        Ok(())
    }

    /// `edited` segments are answered as if they had never been asked about.
    async fn score_everybody(
        &self,
        waking: Waking,
        edited: &BTreeSet<String>,
        mut tick: Option<TickProgress>,
    ) -> Result<(), PipelineError> {
        let context = self.context();
        let now = self.clock.now();
        let mut after = tick.as_ref().and_then(|tick| tick.position);
        loop {
            let states = self.store.scan_customers(Columns::All, None, after, self.strides.chunk).await?;
            after = states.last().map(|state| state.customer);
            if let Some(tick) = &mut tick {
                self.advance(tick, &states, now);
            }
            let ended = states.len() < self.strides.chunk;
            self.metrics.swept(tick.as_ref().map_or(SETTLE, |tick| &tick.schedule), states.len());
            self.metrics.customers_scored(states.len() as u64);
            let mut work = Workbook::default();
            for (state, signals, changed) in judge_all(&states, waking, edited, now, &context) {
                work.commit.signals.extend(signals);
                if changed {
                    work.commit.judged.push(state.clone());
                }
                work.states.insert(state.customer, state);
            }
            let woken: BTreeSet<CustomerId> = work.commit.signals.iter().map(|signal| signal.customer).collect();
            let woken: Vec<CustomerId> = woken.into_iter().collect();
            work.ledger = self.store.ledger_of(&woken, ledger_since(&context, now)).await?;
            wake_by_signals(&mut work, now, &context);
            self.count_decisions(&work.commit, &work.tally);
            let mut commit = work.finish();
            commit.tick.clone_from(&tick);
            self.store.commit_batch(&commit).await?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Moves a sweep's position behind `states`; a short chunk is the last.
    fn advance(&self, tick: &mut TickProgress, states: &[CustomerState], now: Timestamp) {
        tick.position = states.last().map(|state| state.customer).or(tick.position);
        if states.len() < self.strides.chunk {
            tick.done_at = Some(now);
        }
    }

    async fn fitted_at(&self) -> Result<Option<Timestamp>, PipelineError> {
        Ok(self.store.models_at(Timestamp::MAX).await?.iter().map(|model| model.fitted_at).min())
    }

    /// Fits every model on what is known at `now`, keeps the fits and takes them into use.
    async fn fit_models(&self, now: Timestamp) -> Result<(), PipelineError> {
        let context = self.context();
        // Packed: everybody at once would not fit into little memory otherwise.
        let mut customers = PackedFacts::default();
        let mut after = None;
        loop {
            let states = self.store.scan_customers(Columns::Profile, None, after, self.strides.chunk).await?;
            let Some(last) = states.last() else { break };
            after = Some(last.customer);
            self.metrics.step();
            let facts = states.iter().map(|s| CustomerFacts::of(s.customer, &s.profile, &context.business));
            facts.filter(|facts| !facts.orders.is_empty()).for_each(|facts| customers.push(&facts));
        }
        let data = Dataset { customers: Customers::Packed(&customers), as_of: now, business: &context.business };
        let fits: Vec<Arc<dyn Fitted>> = self.models.iter().map(|model| Arc::from(model.fit(&data))).collect();
        let stored: Vec<StoredModel> = fits
            .iter()
            .map(|fit| StoredModel {
                kind: fit.kind().as_str().to_owned(),
                fitted_at: now,
                version: fit.version().to_owned(),
                fitted: fit.to_json(),
                card: fit.card(),
            })
            .collect();
        self.store.save_models(&stored).await?;
        self.replace_context(|context| context.models = fits);
        Ok(())
    }

    /// Takes the newest stored fits into use; a fit that this version cannot read waits for the next rescoring.
    pub async fn load_models(&self) -> Result<(), PipelineError> {
        let mut fits: Vec<Arc<dyn Fitted>> = Vec::new();
        for stored in self.store.models_at(Timestamp::MAX).await? {
            let Some(model) = self.models.iter().find(|model| model.kind().as_str() == stored.kind) else { continue };
            match model.load(&stored.fitted) {
                Ok(fit) => fits.push(Arc::from(fit)),
                Err(error) => {
                    tracing::warn!(model.version = %stored.version, error = %error, "a stored model cannot be read");
                }
            }
        }
        self.replace_context(|context| context.models = fits);
        Ok(())
    }
}

/// A script that fails is worth a word in the log, and matches nobody. Whom it matches is tallied when it decides.
fn matches(rule: &Rule, subject: &Subject, tally: &mut Tally) -> bool {
    match rule.matches(subject) {
        Ok(true) => return true,
        Ok(false) => tally.add(rule, "no", 1),
        Err(failure) => {
            tally.add(rule, "failed", 1);
            report_failure(rule, &failure.place());
        }
    }
    false
}

/// Judges a chunk on all cores; the order, and so the result, is that of the chunk. Says of each whether anything changed.
fn judge_all(
    states: &[CustomerState],
    waking: Waking,
    edited: &BTreeSet<String>,
    now: Timestamp,
    context: &DecisionContext,
) -> Vec<(CustomerState, Vec<Signal>, bool)> {
    let one = |mut state: CustomerState| {
        let before = (state.scores.clone(), state.segments.clone());
        if edited.iter().any(|name| state.segments.contains_key(name)) {
            Arc::make_mut(&mut state.segments).retain(|name, _| !edited.contains(name));
        }
        let signals = judge(&mut state, waking, None, now, context);
        let changed = before != (state.scores.clone(), state.segments.clone());
        (state, signals, changed)
    };
    let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = states.len().div_ceil(n_threads).max(1);
    std::thread::scope(|scope| {
        let judging: Vec<_> = states
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().cloned().map(one).collect::<Vec<_>>()))
            .collect();
        judging.into_iter().flat_map(|part| part.join().expect("judging is pure and does not panic")).collect()
    })
}
