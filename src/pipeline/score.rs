//! Score: what the models say of a customer, and which segments follow. Changes of membership are noted as signals.

use std::sync::Arc;

use super::DecisionContext;
use crate::domain::clock::Timestamp;
use crate::domain::event::Fact;
use crate::domain::id::EventId;
use crate::domain::score::{Score, Scores};
use crate::domain::segment::{Signal, Transition};
use crate::domain::subject::Subject;
use crate::models::{CustomerFacts, Fitted};
use crate::stores::CustomerState;

/// Whether a change of membership wakes rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waking {
    /// It does; of a customer who is new, a first answer of "yes" is an entry.
    Aloud {
        /// The customer came to be known in this batch.
        new: bool,
    },
    /// It does not: imported history, or the first fit of the models.
    Quiet,
}

/// The subject for deciding about `state` at `now`.
pub fn subject(state: &CustomerState, event: Option<Arc<Fact>>, now: Timestamp, context: &DecisionContext) -> Subject {
    Subject {
        customer: state.customer,
        profile: state.profile.clone(),
        scores: state.scores.clone(),
        segments: state.segments.clone(),
        event,
        now,
        business: context.business.clone(),
    }
}

/// What the models say, without their reasons: those follow from the same fits and facts, and are worked out again where
/// somebody asks for them.
fn scores(facts: &CustomerFacts, now: Timestamp, context: &DecisionContext) -> Scores {
    let score = |model: &Arc<dyn Fitted>| {
        let score = model.score(facts, now, &context.business);
        (model.kind(), Score { reasons: Vec::new(), ..score })
    };
    context.models.iter().map(score).collect()
}

/// Scores `state` and settles its segments anew; returns the signals that this gives rise to.
///
/// A segment that this customer was never asked about (a new rule file, an import that waits for its scores) is answered
/// without a signal: otherwise saving a file would look like a thousand customers changing their minds.
pub fn judge(
    state: &mut CustomerState,
    waking: Waking,
    cause: Option<EventId>,
    now: Timestamp,
    context: &DecisionContext,
) -> Vec<Signal> {
    let facts = CustomerFacts::of(state.customer, &state.profile, &context.business);
    state.scores = Arc::new(scores(&facts, now, context));

    let (segments, errors) = context.book.segments_of(&subject(state, None, now, context));
    for error in errors {
        tracing::warn!(customer.id = %state.customer, place = error.place(), "a segment could not be asked");
    }
    let mut signals = Vec::new();
    if Arc::ptr_eq(&segments, &state.segments) {
        return signals;
    }
    for (name, &is) in segments.iter() {
        let was = match (state.segments.get(name), waking) {
            (Some(was), _) => Some(*was),
            (None, Waking::Aloud { new: true }) => Some(false),
            (None, _) => None,
        };
        if waking != Waking::Quiet && was.is_some_and(|was| was != is) {
            let transition = if is { Transition::Entered } else { Transition::Left };
            signals.push(Signal::new(state.customer, name, transition, now, cause));
        }
    }
    state.segments = segments;
    signals
}
