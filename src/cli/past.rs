//! What was known, decided and sent by some instant. Deciding is pure, so the past can be asked again: the profile is
//! folded from the events that were known then, and scored by the fits that were in use then.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::config::Config;
use crate::daemon::Written;
use crate::domain::clock::Timestamp;
use crate::domain::consent::MessageClass;
use crate::domain::delivery::{Delivery, DeliveryState};
use crate::domain::id::CustomerId;
use crate::domain::profile::Profile;
use crate::models::{CustomerFacts, Fitted, all};
use crate::pipeline::DecisionContext;
use crate::pipeline::evaluate::ledger_since;
use crate::pipeline::score::subject;
use crate::stores::listing::{FiringFilter, ListStore};
use crate::stores::sqlite::SqliteStore;
use crate::stores::{Contact, CustomerState, DeliveryFilter, LedgerView, ModelStore, ProfileStore, ReadStore, Store};

/// What to decide by: rules, segments and templates as they are written now, the fits that were in use at `at`.
pub(super) async fn context(
    store: &dyn Store,
    config: &Config,
    written: Written,
    at: Timestamp,
) -> anyhow::Result<DecisionContext> {
    let business = config.business.business().map_err(anyhow::Error::msg)?;
    Ok(DecisionContext {
        templates: written.templates.cards().clone(),
        book: Arc::new(written.book),
        models: fits_at(store, config, at).await?,
        policy: config.contact.policy(business.zone.clone()),
        business: Arc::new(business),
        schedules: Vec::new(),
        catch_up: config.schedule.catch_up,
        doubt: None,
    })
}

/// The fits that were in use at `at`.
pub(super) async fn fits_at(
    store: &(impl ModelStore + ?Sized),
    config: &Config,
    at: Timestamp,
) -> anyhow::Result<Vec<Arc<dyn Fitted>>> {
    let models = all(&config.models);
    let mut fits: Vec<Arc<dyn Fitted>> = Vec::new();
    for stored in store.models_at(at).await? {
        if let Some(model) = models.iter().find(|m| m.kind().as_str() == stored.kind) {
            fits.push(Arc::from(model.load(&stored.fitted).map_err(anyhow::Error::msg)?));
        }
    }
    Ok(fits)
}

/// The customer as known at `at`; segments by their conditions of today.
pub(super) async fn customer_at(
    store: &SqliteStore,
    context: &DecisionContext,
    today: &CustomerState,
    at: Timestamp,
) -> anyhow::Result<CustomerState> {
    let events = store.events_of(today.customer, at, u32::MAX).await?;
    let profile = Profile::fold(&events, &context.business);
    let facts = CustomerFacts::of(today.customer, &profile, &context.business);
    let scores = context.models.iter().map(|fit| (fit.kind(), fit.score(&facts, at, &context.business))).collect();
    let mut state = CustomerState {
        profile: Arc::new(profile),
        scores: Arc::new(scores),
        segments: Arc::default(),
        ..today.clone()
    };
    state.segments = context.book.segments_of(&subject(&state, None, at, context)).0;
    Ok(state)
}

/// What the ledger knew of the customer before `at`.
pub(super) async fn ledger_at(
    store: &SqliteStore,
    context: &DecisionContext,
    customer: CustomerId,
    at: Timestamp,
) -> anyhow::Result<LedgerView> {
    let views = store.ledger_of(&[customer], ledger_since(context, at)).await?;
    let mut view = views.into_values().next().unwrap_or_default();
    let filter = FiringFilter { customer: Some(customer), limit: u32::MAX, ..FiringFilter::default() };
    let (before, later): (Vec<_>, Vec<_>) =
        store.list_firings(&filter).await?.into_iter().partition(|firing| firing.at < at);
    view.last_firing.clear();
    // The newest comes first.
    for firing in before.iter().rev() {
        view.last_firing.insert(firing.rule.clone(), firing.at);
    }
    for firing in later {
        view.occasions.remove(&(firing.rule, firing.occasion));
    }
    let window = context.policy.cap.map_or(SignedDuration::ZERO, |cap| cap.window);
    let contacts = contacts_before(store, customer, at, window).await?;
    // Whoever decides counts all of them, whatever became of them since.
    let contact = |d: &Delivery| Contact { at: contact_at(d, at), delivery: d.id, waits: false, leased: false };
    view.contacts = contacts.iter().map(contact).collect();
    view.contacts.sort_unstable();
    Ok(view)
}

/// The marketing messages that counted towards the cap at `at`: decided before, and then on their way or sent not longer
/// ago than the cap's window. Oldest decision last.
pub(super) async fn contacts_before(
    store: &(impl ReadStore + ?Sized),
    customer: CustomerId,
    at: Timestamp,
    window: SignedDuration,
) -> anyhow::Result<Vec<Delivery>> {
    let filter =
        DeliveryFilter { customer: Some(customer), until: Some(at), limit: u32::MAX, ..DeliveryFilter::default() };
    let mut contacts = store.list_deliveries(&filter).await?;
    let counted = |d: &Delivery| {
        let came_to_nothing =
            matches!(d.state, DeliveryState::Failed | DeliveryState::Expired | DeliveryState::Dropped)
                && d.settled_at.is_some_and(|settled| settled < at);
        d.class == Some(MessageClass::Marketing) && !came_to_nothing && contact_at(d, at).plus(window) > at
    };
    contacts.retain(counted);
    Ok(contacts)
}

/// When it left, or was to leave as things stood at `at`.
pub(super) fn contact_at(delivery: &Delivery, at: Timestamp) -> Timestamp {
    match delivery.settled_at {
        Some(settled) if settled < at => settled,
        _ => delivery.due_at.max(delivery.decided_at),
    }
}
