//! One simulated world: a script is lived through by one process after the other, on one disk, among the same receivers. A
//! process is a runtime of its own with one thread; when it dies, everything it had in memory is dropped with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::SignedDuration;
use rekindle::config::Config;
use rekindle::daemon::{Engine, EngineParts};
use rekindle::domain::clock::{Clock, ManualClock, Timestamp};
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::Doubt;
use rekindle::domain::event::{Fact, names};
use rekindle::pipeline::Strides;
use rekindle::pipeline::ingest::Intake;
use rekindle::stores::{Append, LedgerStore, Log, ModelStore, ProfileStore};

use super::disk::Disk;
use super::draw::Draw;
use super::journal::{Entry, Journal, What};
use super::life::{Fault, Life};
use super::memory::{MemoryLog, MemoryStore};
use super::network::{Network, Way};
use super::scene::{Orders, SCENE};
use super::script::{Act, Script};

/// More deaths than this and the rest of the script is lived in peace.
const MAX_LIVES: u32 = 12;
/// Errors in a row after which a call is not going to succeed.
const MAX_TRIES: u32 = 50;
/// An installation draws its secret once when it is made; this one was made before.
const SECRET: &str = "a secret of the simulated installation";

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) orders: Orders,
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<ManualClock>,
    /// Whether deciding and delivering run side by side, as in the daemon, or in turn, as in `Engine::step`.
    pub(crate) side_by_side: bool,
    config: Config,
    journal: Journal,
    network: Arc<Network>,
    strides: Strides,
    acts: RefCell<VecDeque<Act>>,
    /// What senders have not been told is kept; they send it again.
    unacknowledged: RefCell<Vec<Fact>>,
    importing: RefCell<Option<Vec<Fact>>>,
    draw: RefCell<Draw>,
}

#[derive(PartialEq, Eq)]
enum End {
    Stopped,
    Died,
    Drained,
}

impl World {
    /// Lives a whole seed. What is in the world afterwards is what survived.
    pub(crate) fn live(seed: u64) -> (World, Vec<Entry>) {
        let mut draw = Draw::new(seed, "world");
        let (start, acts) = Script::draw(seed);
        let clock = Arc::new(ManualClock::at(start));
        let orders = Orders::draw(&mut draw);
        let strides = if draw.percent(70) { Strides { batch: 4, chunk: 2 } } else { Strides::default() };
        let world = World {
            seed,
            config: orders.config(),
            orders,
            log: MemoryLog::default(),
            store: MemoryStore::default(),
            journal: Journal::new(clock.clone()),
            clock,
            side_by_side: draw.percent(50),
            network: Arc::new(Network::new(Draw::new(seed, "network"))),
            strides,
            acts: RefCell::new(acts.into()),
            unacknowledged: RefCell::default(),
            importing: RefCell::default(),
            draw: RefCell::new(draw),
        };
        for n in 0.. {
            let life = world.begin_life(n);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(world.store.set_meta("unsubscribe_secret", SECRET)).unwrap();
            let end = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = life.death() => End::Died,
                    end = world.life(&life) => end,
                }
            });
            drop(runtime);
            match end {
                End::Drained => break,
                End::Stopped => world.note("the process stops"),
                End::Died if world.percent(50) => world.stay_down(),
                End::Died => {}
            }
        }
        let entries = world.journal.take();
        (world, entries)
    }

    fn begin_life(&self, n: u32) -> Arc<Life> {
        let mut draw = Draw::new(self.seed, &format!("life {n}"));
        let mut faults = BTreeMap::new();
        if n < MAX_LIVES {
            if draw.percent(60) {
                let fault = *draw.one_of(&[Fault::DiesBefore, Fault::DiesAfter]);
                let within = *draw.one_of(&[30, 150, 400]);
                faults.insert(draw.below(within), fault);
            }
            for _ in 0..draw.below(4) {
                let fault = *draw.one_of(&[Fault::FailsBefore, Fault::FailsAfter]);
                faults.entry(draw.below(200)).or_insert(fault);
            }
        } else {
            self.network.heal();
        }
        self.note(&format!("process {n} starts"));
        Arc::new(Life::new(self.journal.clone(), draw, faults))
    }

    fn stay_down(&self) {
        let hours = i64::try_from(self.draw.borrow_mut().below(36)).unwrap();
        self.clock.set(self.clock.now().plus(SignedDuration::from_hours(hours)));
        self.note(&format!("nobody runs for {hours} hours"));
    }

    fn note(&self, text: &str) {
        self.journal.note(What::Note(text.to_owned()));
    }

    fn percent(&self, n: u64) -> bool {
        self.draw.borrow_mut().percent(n)
    }

    async fn life(&self, life: &Arc<Life>) -> End {
        let Ok(engine) = self.open(life).await else { return End::Stopped };
        self.rest(&engine).await;
        if self.importing.borrow().is_some() {
            self.import(&engine).await;
        }
        loop {
            let act = self.acts.borrow_mut().pop_front();
            match act {
                Some(Act::Submit(facts)) => self.submit(&engine, facts).await,
                Some(Act::Import(facts)) => {
                    let facts = facts.into_iter().map(|(ago, fact)| stamped(ago, fact, self.clock.now())).collect();
                    *self.importing.borrow_mut() = Some(facts);
                    self.import(&engine).await;
                }
                Some(Act::Unsubscribe(user)) => self.unsubscribe(&engine, &user).await,
                Some(Act::Pass(span)) => self.pass(&engine, self.clock.now().plus(span)).await,
                Some(Act::Set(by)) => {
                    self.clock.set(self.clock.now().plus(by));
                    self.note(&format!("the clock is set by {by:#}"));
                    self.rest(&engine).await;
                }
                Some(Act::Restart) => {
                    engine.close().await;
                    return End::Stopped;
                }
                Some(Act::TrimLog) => self.trim(&engine).await,
                None => {
                    self.drain(&engine, life).await;
                    return End::Drained;
                }
            }
        }
    }

    async fn open(&self, life: &Arc<Life>) -> anyhow::Result<Engine> {
        self.open_on(&self.log, &self.store, self.strides, life).await
    }

    /// What comes of the same events, in the same order, on an empty disk, however they were cut into batches before.
    pub(crate) fn derived_again(&self, facts: Vec<Fact>) -> MemoryStore {
        let (log, store) = (MemoryLog::default(), MemoryStore::default());
        let life = Arc::new(Life::new(self.journal.clone(), Draw::new(self.seed, "again"), BTreeMap::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            store.set_meta("unsubscribe_secret", SECRET).await.unwrap();
            log.append(&Append { facts, ..Append::default() }).await.unwrap();
            let engine = self.open_on(&log, &store, self.strides, &life).await.unwrap();
            engine.pipeline.derive_all(|_| ()).await.unwrap();
        });
        store
    }

    async fn open_on(
        &self,
        log: &MemoryLog,
        store: &MemoryStore,
        strides: Strides,
        life: &Arc<Life>,
    ) -> anyhow::Result<Engine> {
        let disk = || Disk { log: log.clone(), store: store.clone(), life: life.clone() };
        let way = |name, doubt, concurrency| {
            let (network, life) = (self.network.clone(), life.clone());
            Arc::new(Way { name, doubt, concurrency, network, life })
        };
        let concurrency = usize::try_from(1 + Draw::new(self.seed, "concurrency").below(4)).unwrap();
        let parts = EngineParts {
            log: Arc::new(disk()),
            store: Arc::new(disk()),
            clock: self.clock.clone(),
            channels: vec![way("email", Doubt::Hold, concurrency), way("webhook", Doubt::Resend, concurrency)],
            book: SCENE.book.clone(),
            templates: SCENE.templates.clone(),
            diagnostics: Vec::new(),
            strides,
            // Everybody else's turn; no time passes within an instant.
            wait: |_| Box::pin(tokio::task::yield_now()),
        };
        Engine::assemble(&self.config, parts).await
    }

    /// Lets everything happen that is due; says when something will be next.
    async fn rest(&self, engine: &Engine) -> Option<Timestamp> {
        let mut orphans = false;
        for _ in 0..MAX_TRIES {
            if self.side_by_side {
                let n = self.round(engine, orphans).await;
                orphans = n.is_err();
                if let Ok(n) = n {
                    let next_due = self.store.next_due(None).await.unwrap();
                    let now = self.clock.now();
                    let derived = self.store.position().await.unwrap() == self.log.end().await.unwrap();
                    if n == 0 && derived && next_due.is_none_or(|at| at > now) {
                        return [engine.pipeline.next_tick(now), next_due].into_iter().flatten().min();
                    }
                }
            } else {
                let next = self.in_turn(engine, orphans).await;
                orphans = next.is_err();
                if let Ok(next) = next {
                    return next;
                }
            }
        }
        panic!("there is no end to what is due");
    }

    /// What the daemon's workers do, once each, side by side.
    async fn round(&self, engine: &Engine, orphans: bool) -> anyhow::Result<u64> {
        let (n, delivered) = tokio::join!(engine.decide(), self.deliver(engine, orphans));
        delivered?;
        Ok(n?)
    }

    async fn deliver(&self, engine: &Engine, orphans: bool) -> anyhow::Result<()> {
        let all = engine.pipeline.channels.iter().map(|channel| engine.deliver_through(&**channel, orphans));
        futures_util::future::join_all(all).await.into_iter().try_for_each(|delivered| Ok(delivered.map(drop)?))
    }

    /// One after the other, as in tests and the demo.
    async fn in_turn(&self, engine: &Engine, orphans: bool) -> anyhow::Result<Option<Timestamp>> {
        if orphans {
            self.deliver(engine, true).await?;
        }
        Ok(engine.step().await?)
    }

    async fn pass(&self, engine: &Engine, until: Timestamp) {
        loop {
            let next = self.rest(engine).await;
            let now = self.clock.now();
            let Some(next) = next.filter(|next| *next <= until) else { return self.clock.set(until.max(now)) };
            self.clock.set(next.max(now.plus(SignedDuration::from_millis(1))));
        }
    }

    async fn submit(&self, engine: &Engine, facts: Vec<(SignedDuration, Fact)>) {
        let now = self.clock.now();
        let facts = facts.into_iter().map(|(ago, fact)| stamped(ago, fact, now));
        self.unacknowledged.borrow_mut().extend(facts);
        tokio::join!(self.send(engine), self.rest(engine));
        self.rest(engine).await;
    }

    /// Everything that nobody has confirmed, in a few requests side by side. Some clients miss the answer and send again.
    async fn send(&self, engine: &Engine) {
        let now = self.clock.now();
        let all: Vec<Fact> = self.unacknowledged.borrow().iter().map(|fact| received(fact, now)).collect();
        let requests = all.chunks(3).map(|facts| async move {
            if engine.inbox.submit(facts.to_vec(), Vec::new()).await.is_err() {
                return;
            }
            let keys: Vec<_> = facts.iter().map(|f| (f.source.clone(), f.message_id.clone())).collect();
            let again = self.percent(10);
            let acknowledged =
                |fact: &Fact| facts.iter().any(|f| f.message_id == fact.message_id && f.name == fact.name);
            self.unacknowledged.borrow_mut().retain(|fact| again || !acknowledged(fact));
            self.journal.note(What::Acknowledged(keys));
        });
        futures_util::future::join_all(requests).await;
    }

    /// As the command does it; after a failure or a crash somebody starts it again.
    async fn import(&self, engine: &Engine) {
        for _ in 0..MAX_TRIES {
            let Some(facts) = self.importing.borrow().clone() else { return };
            let facts: Vec<Fact> = facts.iter().map(|fact| received(fact, self.clock.now())).collect();
            let keys = facts.iter().map(|f| (f.source.clone(), f.message_id.clone())).collect();
            if engine.inbox.submit(facts, Vec::new()).await.is_err() {
                continue;
            }
            self.journal.note(What::Acknowledged(keys));
            if engine.pipeline.derive_all(|_| ()).await.is_ok() && engine.pipeline.settle_import().await.is_ok() {
                *self.importing.borrow_mut() = None;
                self.rest(engine).await;
                return;
            }
        }
        panic!("an import never ends");
    }

    async fn unsubscribe(&self, engine: &Engine, user: &str) {
        let handle = Identity::new(IdentityKind::UserId, user).unwrap();
        let found = self.store.find_identities(std::slice::from_ref(&handle)).await.unwrap();
        let Some(customer) = found.get(&handle) else { return };
        let now = self.clock.now();
        let fact = Fact {
            source: "unsubscribe".to_owned(),
            message_id: format!("{customer} at {now}"),
            name: names::CONSENT_WITHDRAWN.to_owned(),
            occurred_at: now,
            received_at: now,
            known_at: now,
            imported: false,
            identities: Identity::new(IdentityKind::CustomerId, &customer.to_string()).into_iter().collect(),
            traits: serde_json::Map::new(),
            properties: serde_json::Map::from_iter([("channel".to_owned(), "email".into())]),
            context: serde_json::Map::new(),
        };
        self.submit(engine, vec![(SignedDuration::ZERO, fact)]).await;
    }

    /// As the daemon does once an hour.
    async fn trim(&self, engine: &Engine) {
        let keep = SignedDuration::from_hours(7 * 24);
        if let Ok(position) = engine.pipeline.store.position().await {
            // What could not be cut off now is cut off next time.
            drop(engine.pipeline.log.trim(position, self.clock.now().minus(keep)).await);
        }
    }

    /// The receivers are well again and nothing fails any more; then everything must come to its end by itself.
    async fn drain(&self, engine: &Engine, life: &Life) {
        life.spare();
        self.network.heal();
        self.note("everything is well again");
        self.submit(engine, Vec::new()).await;
        self.submit(engine, Vec::new()).await;
        self.pass(engine, self.clock.now().plus(SignedDuration::from_hours(3 * 24))).await;
        self.rest(engine).await;
    }
}

fn stamped(ago: SignedDuration, fact: Fact, now: Timestamp) -> Fact {
    Fact { occurred_at: now.minus(ago), ..fact }
}

fn received(fact: &Fact, now: Timestamp) -> Fact {
    Fact { received_at: now, known_at: if fact.imported { fact.occurred_at } else { now }, ..fact.clone() }
}
