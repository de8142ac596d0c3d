//! Asking: which occasion it is about, what was known then, and what `decide` says of it.

use std::sync::Arc;

use super::{Answer, Stop, words};
use crate::cli::customers::{find, name};
use crate::cli::page::now;
use crate::cli::{local, past, rules};
use crate::config::Config;
use crate::daemon::read_written;
use crate::domain::clock::{Business, Timestamp};
use crate::domain::delivery::Firing;
use crate::domain::event::Fact;
use crate::domain::id::CustomerId;
use crate::domain::rule::Trigger;
use crate::domain::segment::Transition;
use crate::pipeline::DecisionContext;
use crate::pipeline::evaluate::{Occasion, decide};
use crate::pipeline::score::subject;
use crate::rules::Rule;
use crate::schedule::Schedule;
use crate::stores::listing::{EventFilter, FiringFilter, ListStore, SignalFilter};
use crate::stores::sqlite::SqliteStore;
use crate::stores::{CustomerState, ReadStore};

/// Events and signals of one customer that are looked through for the last one that could have woken the rule.
const MOST_LOOKED_AT: u32 = 1_000;

pub(super) async fn ask(
    store: &SqliteStore,
    config: &Config,
    customer: &str,
    rule: &str,
    at: Option<Timestamp>,
) -> anyhow::Result<Answer> {
    let mut answer = Answer { rule: rule.to_owned(), ..Answer::default() };
    let written = read_written(config, None);
    let Some(the_rule) = written.book.rule(rule).cloned() else {
        let broken = rules::broken(&written, &config.files.rules).remove(rule);
        let names: Vec<&str> = written.book.rules().map(|rule| rule.id.as_str()).collect();
        answer.stop = words::no_rule(rule, broken, &names);
        return Ok(answer);
    };
    answer.version = Some(the_rule.version.clone());
    let today = match find(store, customer).await {
        Ok(today) => today,
        Err(error) => {
            answer.stop = Stop::new("unknown_customer", error.to_string(), "an event that names this customer");
            return Ok(answer);
        }
    };
    (answer.customer, answer.name) = (Some(today.customer), name(&today));
    if let Some(merged) = customer.parse::<CustomerId>().ok().filter(|asked| *asked != today.customer) {
        answer.notes.push(format!("{merged} was joined to {}, who is asked about instead", today.customer));
    }

    let now = now(store).await?;
    let context = past::context(store, config, written, at.unwrap_or(now)).await?;
    let asking = Asking { store, config, context, rule: the_rule, today, now, at };
    let business = asking.context.business.clone();
    answer.next = asking.schedule(&business).and_then(|schedule| schedule.next_after(at.unwrap_or(now)));
    match asking.occasion(answer.next).await? {
        Err(stop) => answer.stop = stop,
        Ok(this) => {
            answer.at = Some(this.at);
            answer.occasion.clone_from(&this.means);
            answer.stop = asking.decide(&this).await?;
        }
    }
    Ok(answer)
}

/// One question on its way.
struct Asking<'a> {
    store: &'a SqliteStore,
    config: &'a Config,
    context: DecisionContext,
    rule: Arc<Rule>,
    today: CustomerState,
    now: Timestamp,
    at: Option<Timestamp>,
}

/// The time that it is about.
struct This {
    occasion: Occasion,
    /// When the rule is, or was, asked.
    at: Timestamp,
    means: String,
    event: Option<Arc<Fact>>,
}

impl Asking<'_> {
    fn schedule(&self, business: &Business) -> Option<Schedule> {
        let Trigger::Schedule { cron } = &self.rule.card.trigger else { return None };
        Schedule::parse(cron, business.zone.clone()).ok()
    }

    /// Which time it is about; where nothing ever woke the rule, that is the answer.
    async fn occasion(&self, next: Option<Timestamp>) -> anyhow::Result<Result<This, Stop>> {
        match &self.rule.card.trigger {
            Trigger::Schedule { .. } => Ok(self.run(next)),
            Trigger::On { event } => self.event(event).await,
            Trigger::Entering { segment } => self.signal(segment, Transition::Entered).await,
            Trigger::Leaving { segment } => self.signal(segment, Transition::Left).await,
        }
    }

    /// The next run; with `--at`, the run that was in force then.
    fn run(&self, next: Option<Timestamp>) -> Result<This, Stop> {
        let business = &self.context.business;
        let last = |at| self.schedule(business).and_then(|schedule| schedule.latest_at_or_before(at));
        let (at, tick, means) = if let Some(at) = self.at {
            let tick = last(at).unwrap_or(at);
            let means = if tick == at { "its run of" } else { "by hand, after its run of" };
            (at, tick, format!("{means} {}", local(tick, self.config)))
        } else {
            let none = || Stop::new("never_woken", "its schedule has no run left", "give it another `trigger`");
            let next = next.ok_or_else(none)?;
            (next, next, "its next run, if nothing happens until then".to_owned())
        };
        // Lateness counts from when it is asked: an hour that was chosen by hand is not late.
        Ok(This { occasion: Occasion { name: format!("tick:{tick}"), at }, at, means, event: None })
    }

    async fn event(&self, name: &str) -> anyhow::Result<Result<This, Stop>> {
        let filter = EventFilter {
            customer: Some(self.today.customer),
            name: Some(name.to_owned()),
            limit: MOST_LOOKED_AT,
            ..EventFilter::default()
        };
        let mut events = self.store.list_events(&filter).await?;
        events.retain(|event| self.at.is_none_or(|at| event.event.fact.received_at <= at));
        let n_imported = events.iter().filter(|event| event.event.fact.imported).count();
        let Some(found) = events.into_iter().find(|event| !event.event.fact.imported) else {
            return Ok(Err(words::no_event(name, n_imported, &self.today)));
        };
        let fact = Arc::new(found.event.fact);
        let means = format!("its last {name}, of {} ({})", local(fact.occurred_at, self.config), found.event.id);
        let occasion = Occasion { name: format!("event:{}", found.event.id), at: fact.occurred_at };
        Ok(Ok(This { occasion, at: fact.received_at, means, event: Some(fact) }))
    }

    async fn signal(&self, segment: &str, transition: Transition) -> anyhow::Result<Result<This, Stop>> {
        let filter = SignalFilter {
            customer: Some(self.today.customer),
            segment: Some(segment.to_owned()),
            limit: MOST_LOOKED_AT,
            ..SignalFilter::default()
        };
        let signals = self.store.list_signals(&filter).await?;
        let until = self.at.unwrap_or(Timestamp::MAX);
        let Some(found) = signals.into_iter().find(|s| s.transition == transition && s.at <= until) else {
            let subject = subject(&self.today, None, self.at.unwrap_or(self.now), &self.context);
            return Ok(Err(words::no_signal(segment, transition, &subject, &self.context.book)));
        };
        let means = format!("when the customer {} {segment}, {}", transition.as_str(), local(found.at, self.config));
        let occasion = Occasion { name: format!("signal:{}", found.id), at: found.at };
        Ok(Ok(This { occasion, at: found.at, means, event: None }))
    }

    async fn decide(&self, this: &This) -> anyhow::Result<Stop> {
        if let Some(firing) = self.fired(&this.occasion.name).await? {
            let deliveries = self.came_of(&firing).await?;
            return Ok(words::fired(&firing, &deliveries, self.config));
        }
        // What is stored is what the daemon would decide by; what is past has to be worked out again.
        let state = if this.at >= self.now {
            self.today.clone()
        } else {
            past::customer_at(self.store, &self.context, &self.today, this.at).await?
        };
        let mut ledger = past::ledger_at(self.store, &self.context, state.customer, this.at).await?;
        let contacts = ledger.contacts.clone();
        let subject = subject(&state, this.event.clone(), this.at, &self.context);
        let decision = decide(&self.rule, &subject, &this.occasion, &mut ledger, &self.context);
        let met = words::Met {
            rule: &self.rule,
            subject: &subject,
            decision: &decision,
            contacts: &contacts,
            context: &self.context,
            config: self.config,
        };
        Ok(met.stop(self.schedule(&self.context.business).as_ref()))
    }

    async fn fired(&self, occasion: &str) -> anyhow::Result<Option<Firing>> {
        let filter = FiringFilter {
            rule: Some(self.rule.id.clone()),
            customer: Some(self.today.customer),
            occasion: Some(occasion.to_owned()),
            limit: 1,
        };
        Ok(self.store.list_firings(&filter).await?.pop())
    }

    /// `dlv_… (sent)`, for each of its actions.
    async fn came_of(&self, firing: &Firing) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for id in self.store.deliveries_of(firing.id).await? {
            let state = self.store.delivery(id).await?.map(|delivery| delivery.state.as_str());
            all.push(format!("{id} ({})", state.unwrap_or("gone")));
        }
        Ok(all)
    }
}
