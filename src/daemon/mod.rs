//! The daemon: opens what the configuration names, wires it together, and keeps it going.
//!
//! [`Engine::step`] does everything that is due at one instant. The live daemon calls its parts when something arrives or a
//! timer rings; the demo and the tests call it on a clock of their own. There is no second way through.

use std::sync::Arc;

use base64::Engine as _;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::channels::template::{Letterhead, SharedTemplates, Templates};
use crate::channels::{Channel, open_email, open_webhook};
use crate::config::Config;
use crate::domain::clock::{Business, Clock, ManualClock, Timestamp};
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::rule::Trigger;
use crate::domain::template::TemplateCards;
use crate::domain::unsubscribe::UnsubscribeSigner;
use crate::pipeline::deliver::{Desk, Wait, by_the_clock};
use crate::pipeline::ingest::Inbox;
use crate::pipeline::inside::{TaskList, TraitSetter};
use crate::pipeline::sweep::RESCORE;
use crate::pipeline::{DecisionContext, Pipeline, PipelineError, PipelineParts, Strides};
use crate::rules::{RuleBook, Vocabulary};
use crate::schedule::Schedule;
use crate::stores::sqlite::{Access, SqliteFiles};
use crate::stores::{Log, Store, StoreError};
use crate::telemetry::Metrics;

mod behind;
mod disk;
mod follow;
mod health;
mod lifecycle;
mod notify;
mod reload;
mod supervise;

pub use lifecycle::GRACE;

/// Looks up environment variables for secrets.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Everything that people wrote, read and checked.
pub struct Written {
    /// Rules and segments.
    pub book: RuleBook,
    /// Message templates.
    pub templates: Templates,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads rules and templates; what is broken is reported and keeps its last good version, the rest is used.
pub fn read_written(config: &Config, last_good: Option<(&RuleBook, &Templates)>) -> Written {
    let (last_book, last_templates) = last_good.unzip();
    let (templates, mut diagnostics) = Templates::load(&config.files.templates, last_templates);
    let vocabulary = Vocabulary {
        templates: templates.cards().clone(),
        webhooks: config.webhook().endpoint_names(),
        ..Vocabulary::default()
    };
    let book = RuleBook::load(&config.files.rules, &vocabulary, last_book);
    diagnostics.extend(book.diagnostics().iter().cloned());
    Written { book, templates, diagnostics }
}

/// What an engine is put together from; [`Engine::open`] gets them from a configuration.
pub struct EngineParts {
    /// Where events are acknowledged.
    pub log: Arc<dyn Log>,
    /// The memory behind it.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The ways out to the world. Those that lead back inside (tasks, traits) are added.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Rules and segments.
    pub book: Arc<RuleBook>,
    /// The templates that the channels render from; a reload replaces them.
    pub templates: SharedTemplates,
    /// What is wrong with either.
    pub diagnostics: Vec<Diagnostic>,
    /// How much is done at once.
    pub strides: Strides,
    /// How time passes before the ledger is tried again.
    pub wait: Wait,
}

/// The daemon's parts, wired.
pub struct Engine {
    /// The verbs.
    pub pipeline: Arc<Pipeline>,
    /// The way in.
    pub inbox: Arc<Inbox>,
    /// What is wrong with what people wrote.
    pub diagnostics: Vec<Diagnostic>,
    config: Config,
    templates: SharedTemplates,
    desk: Desk,
    arrived: Arc<Notify>,
    decided: Arc<Notify>,
    tasks: TaskTracker,
    /// Closed with the engine that opened them.
    files: Option<SqliteFiles>,
}

impl Engine {
    /// Opens everything that `config` names. Broken rules and templates are logged and left out; a broken configuration
    /// or an unusable store is an error.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>, environment: &Environment) -> anyhow::Result<Self> {
        let Written { book, templates, diagnostics } = read_written(config, None);
        for problem in diagnostics.iter().filter(|d| d.severity == Severity::Error) {
            tracing::warn!(file = %problem.file, "{problem}");
        }
        let letterhead = Letterhead {
            name: config.business.name.clone(),
            address: config.business.address.clone(),
            zone: config.business.business().map_err(anyhow::Error::msg)?.zone,
        };
        let secrets = |name: &str| environment(name);
        let templates = SharedTemplates::new(templates);
        let email = open_email(&config.email(), templates.clone(), letterhead, &secrets).map_err(anyhow::Error::msg)?;
        let webhook = open_webhook(&config.webhook(), &secrets).map_err(anyhow::Error::msg)?;

        let files = SqliteFiles::open(&config.store.path, Access::Own).await?;
        let parts = EngineParts {
            log: Arc::new(files.log.clone()),
            store: Arc::new(files.store.clone()),
            clock,
            channels: vec![Arc::from(email), Arc::from(webhook)],
            book: Arc::new(book),
            templates,
            diagnostics,
            strides: Strides::default(),
            wait: by_the_clock,
        };
        let mut engine = Engine::assemble(config, parts).await?;
        engine.files = Some(files);
        Ok(engine)
    }

    /// Wires `parts` as `config` says, and sorts out what the process before this one left under way.
    pub async fn assemble(config: &Config, parts: EngineParts) -> anyhow::Result<Self> {
        let EngineParts { log, store, clock, mut channels, book, templates, diagnostics, strides, wait } = parts;
        let business = Arc::new(config.business.business().map_err(anyhow::Error::msg)?);
        let arrived = Arc::new(Notify::new());
        let tasks = TaskTracker::new();
        let metrics = Arc::new(Metrics::new());
        metrics.problems(diagnostics.iter().filter(|d| d.severity == Severity::Error).count() as u64);
        let (inbox, writing) = Inbox::open(log.clone(), metrics.clone(), arrived.clone());
        tasks.spawn(writing);
        let (desk, settling) = Desk::open(store.clone(), wait);
        tasks.spawn(settling);
        channels.push(Arc::new(TaskList { desk: desk.clone() }));
        channels.push(Arc::new(TraitSetter { intake: inbox.clone() }));

        let context = DecisionContext {
            schedules: schedules(&book, config, &business)?,
            book,
            templates: templates.current().cards().clone(),
            ..context_of(config)?
        };
        let parts = PipelineParts {
            unsubscribe: UnsubscribeSigner::new(unsubscribe_secret(&*store).await?),
            public_url: config.http.public_url(),
            models: crate::models::all(&config.models),
            metrics,
            log,
            store,
            clock,
            channels,
            strides,
        };
        let pipeline = Arc::new(Pipeline::new(parts, context));
        pipeline.load_models().await?;
        pipeline.recover_deliveries().await?;
        pipeline.settle_restored().await?;
        let decided = Arc::new(Notify::new());
        let (config, files) = (config.clone(), None);
        Ok(Engine { pipeline, inbox, diagnostics, config, templates, desk, arrived, decided, tasks, files })
    }

    /// Does everything that is due now: derives what arrived, sweeps the ticks that are due, carries deliveries out, and
    /// again until nothing is left. Says when something will be due next.
    pub async fn step(&self) -> Result<Option<Timestamp>, PipelineError> {
        loop {
            let mut n = self.decide().await?;
            let next_due = self.pipeline.store.next_due(None).await?;
            let now = self.pipeline.clock.now();
            if next_due.is_some_and(|at| at <= now) {
                for channel in &self.pipeline.channels {
                    n += self.pipeline.deliver_due(&**channel, &self.desk).await?;
                }
            }
            if n == 0 {
                return Ok([self.pipeline.next_tick(now), next_due].into_iter().flatten().min());
            }
        }
    }

    /// Derives what arrived and sweeps what is due; says how much that was.
    pub async fn decide(&self) -> Result<u64, PipelineError> {
        self.pipeline.settle_edited_segments().await?;
        self.sweep_behind(self.pipeline.derive_all(|_| self.say_that_more_was_decided()).await?).await
    }

    /// As [`Engine::decide`] while records keep coming: some of them, and whatever tick is due.
    async fn decide_some(&self) -> Result<u64, PipelineError> {
        self.pipeline.settle_edited_segments().await?;
        // Told after every batch: under a steady load the log is never empty, and deliveries must not wait until it is.
        let told = |_| self.say_that_more_was_decided();
        self.sweep_behind(self.pipeline.derive_some(told).await?).await
    }

    /// Behind `n` records that were derived.
    async fn sweep_behind(&self, mut n: u64) -> Result<u64, PipelineError> {
        for tick in self.pipeline.due_ticks(self.pipeline.clock.now()).await? {
            self.pipeline.sweep(tick).await?;
            n += 1;
        }
        Ok(n)
    }

    /// Lives through the time until `until` on a clock that only this moves: from one instant at which something is due to
    /// the next.
    pub async fn live_until(&self, clock: &ManualClock, until: Timestamp) -> Result<(), PipelineError> {
        loop {
            let next = self.step().await?;
            let now = clock.now();
            let Some(next) = next.filter(|&next| next <= until) else {
                clock.set(until.max(now));
                return Ok(());
            };
            // What is due already and was not done (its receiver asks for patience) must not stop time.
            clock.set(next.max(now.plus(jiff::SignedDuration::from_millis(1))));
        }
    }

    /// Ends the background work and closes the files.
    pub async fn close(self) {
        let Engine { pipeline, inbox, desk, tasks, files, .. } = self;
        drop((pipeline, inbox, desk));
        tasks.close();
        tasks.wait().await;
        if let Some(files) = files {
            files.close().await;
        }
    }
}

/// What to decide by before any rule is read: whose days, whose money, and the standing orders.
pub fn context_of(config: &Config) -> anyhow::Result<DecisionContext> {
    let business = Arc::new(config.business.business().map_err(anyhow::Error::msg)?);
    Ok(DecisionContext {
        book: Arc::default(),
        templates: TemplateCards::default(),
        models: Vec::new(),
        policy: config.contact.policy(business.zone.clone()),
        business,
        schedules: Vec::new(),
        catch_up: config.schedule.catch_up,
        doubt: None,
    })
}

/// The calendars of the scheduled rules and of the rescoring.
fn schedules(
    book: &RuleBook,
    config: &Config,
    business: &Business,
) -> anyhow::Result<Vec<(String, Schedule, Option<jiff::SignedDuration>)>> {
    let at = config.models.rescore;
    let cron = format!("{} {} * * *", at.minute(), at.hour());
    let rescore = Schedule::parse(&cron, business.zone.clone()).map_err(anyhow::Error::msg)?;
    let mut all = vec![(RESCORE.to_owned(), rescore, None)];
    for rule in book.rules() {
        if let Trigger::Schedule { cron } = &rule.card.trigger {
            let schedule = Schedule::parse(cron, business.zone.clone()).map_err(anyhow::Error::msg)?;
            all.push((rule.id.clone(), schedule, Some(rule.card.max_lateness)));
        }
    }
    Ok(all)
}

/// Made once per installation and kept: links in mails sent years ago must still work.
async fn unsubscribe_secret(store: &dyn Store) -> Result<Vec<u8>, StoreError> {
    const KEY: &str = "unsubscribe_secret";
    if let Some(secret) = store.meta(KEY).await? {
        return Ok(secret.into_bytes());
    }
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Open(format!("no randomness to be had: {e}")))?;
    let secret = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    store.set_meta(KEY, &secret).await?;
    Ok(secret.into_bytes())
}
