//! The receivers: they accept, ask for patience, refuse, hang until the process is dead, or accept and lose the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use rekindle::channels::{Channel, CommitPoint, Dispatch};
use rekindle::domain::delivery::{Doubt, Outcome};

use super::draw::Draw;
use super::journal::What;
use super::life::Life;

/// How the receivers behave; outlives the processes.
pub(crate) struct Network {
    draw: Mutex<Draw>,
    healed: AtomicBool,
}

impl Network {
    pub(crate) fn new(draw: Draw) -> Self {
        Network { draw: Mutex::new(draw), healed: AtomicBool::new(false) }
    }

    /// From here on everything is accepted.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    fn next(&self) -> Behaviour {
        let mut draw = self.draw.lock().unwrap();
        let n = if self.healed.load(Ordering::SeqCst) { 99 } else { draw.below(100) };
        match n {
            0..7 => Behaviour::Retry { early: true, after: None },
            7..12 => Behaviour::Retry { early: false, after: draw.percent(50).then(|| SignedDuration::from_mins(90)) },
            12..15 => Behaviour::Refuse { early: true },
            15..18 => Behaviour::Refuse { early: false },
            18..23 => Behaviour::LoseAnswer { accepted: draw.percent(60) },
            23..25 => Behaviour::Hang { early: true, accepted: false },
            25..29 => Behaviour::Hang { early: false, accepted: draw.percent(50) },
            _ => Behaviour::Accept,
        }
    }
}

/// `early`: before the byte that cannot be taken back.
#[derive(Clone, Copy)]
enum Behaviour {
    Accept,
    Retry { early: bool, after: Option<SignedDuration> },
    Refuse { early: bool },
    LoseAnswer { accepted: bool },
    Hang { early: bool, accepted: bool },
}

/// Mail and webhooks, as one process reaches them.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) doubt: Doubt,
    pub(crate) concurrency: usize,
    pub(crate) network: Arc<Network>,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Channel for Way {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doubt(&self) -> Doubt {
        self.doubt
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let behaviour = self.network.next();
        let words = |what: &str| what.to_owned();
        self.life.let_others_run().await;
        match behaviour {
            Behaviour::Retry { early: true, after } => return Outcome::Retry { after, why: words("421 later") },
            Behaviour::Refuse { early: true } => return Outcome::Failed { why: words("550 nobody here") },
            Behaviour::Hang { early: true, .. } => return self.hang().await,
            _ => {}
        }
        if let Err(why) = commit_point.commit().await {
            return Outcome::Retry { after: None, why: format!("not sent: {why}") };
        }
        let (accepted, answer) = match behaviour {
            Behaviour::Accept => (true, "ok"),
            Behaviour::Retry { .. } => (false, "later"),
            Behaviour::Refuse { .. } => (false, "no"),
            Behaviour::LoseAnswer { accepted } | Behaviour::Hang { accepted, .. } => (accepted, "none"),
        };
        let delivery = Box::new(dispatch.delivery.clone());
        self.life.journal.note(What::Left { delivery, accepted, answer });
        self.life.let_others_run().await;
        match behaviour {
            Behaviour::Accept => Outcome::Sent { receipt: words("250 ok") },
            Behaviour::Retry { after, .. } => Outcome::Retry { after, why: words("451 later") },
            Behaviour::Refuse { .. } => Outcome::Failed { why: words("554 no") },
            // As the real ones: whose receiver knows the key is asked again, a mail is left in doubt.
            Behaviour::LoseAnswer { .. } if self.doubt == Doubt::Resend => {
                Outcome::Retry { after: None, why: words("no answer") }
            }
            Behaviour::LoseAnswer { .. } => Outcome::Unknown { why: words("no answer") },
            Behaviour::Hang { .. } => self.hang().await,
        }
    }
}

impl Way {
    async fn hang(&self) -> Outcome {
        for _ in 0..8 {
            self.life.let_others_run().await;
        }
        self.life.die("while a receiver hangs").await
    }
}
