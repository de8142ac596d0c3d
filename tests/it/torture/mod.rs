//! Killing it: the real binary under load, killed at moments that nobody chose, started again, and in the end held to every
//! promise of ARCHITECTURE.md ("Deliveries: states, crash windows, promises").
//!
//! ```text
//!  load ──HTTP──▶ rekindle run ──SMTP──▶ mail server     both hang up, refuse and are slow at times
//!   │ own list       ▲ SIGKILL ──HTTP──▶ webhooks            │ own list
//!   ▼                │                                       ▼
//!  acknowledged ─────┴──────▶ verdict ◀── files ◀── reference interpreter over the stored events
//! ```
//!
//! `REKINDLE_KILLS=200` kills more often; `REKINDLE_SEED=7` draws the same load, moods and moments again (what the machine
//! does in between is its own).

mod load;
mod receivers;
mod reference;
mod verdict;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use tempfile::TempDir;

use self::load::{Books, Dice};
use self::receivers::Receiver;
use crate::real_daemon::RealDaemon;
use crate::real_daemon::carts::look_into;
use crate::until::until;
use crate::world::write_templates;

/// To the mail server, and to the receiver of webhooks.
const N_CONNECTIONS: usize = 8;

/// What came of it.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "all of them are counts")]
struct Counts {
    n_events: usize,
    n_acknowledged: usize,
    n_deliveries: usize,
    n_mails: usize,
    n_unknown_by_kill: usize,
    n_unknown_by_server: usize,
    n_unknown_that_arrived: usize,
    n_webhook_duplicates: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_again_and_again_loses_nothing_and_sends_nothing_twice() {
    let n_kills = setting("REKINDLE_KILLS").unwrap_or(25);
    let seed = setting("REKINDLE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let n_kills = usize::try_from(n_kills).unwrap();
    let scene = Scene::new(seed);
    let begun = Instant::now();
    let books = Arc::new(Books::default());
    let clients = load::start(seed, &books);
    let mut ready_after = Vec::new();
    let mut dice = Dice::new(seed);
    for _ in 0..n_kills {
        let daemon = RealDaemon::start(scene.path());
        let started = Instant::now();
        // A quarter of the moments lies in the start, where what the last kill left is sorted out.
        if dice.below(4) > 0 {
            *books.address.lock().unwrap() = Some(daemon.address());
            wait_until_ready(&daemon).await;
            ready_after.push(started.elapsed());
        }
        tokio::time::sleep(moment(&mut dice)).await;
        *books.address.lock().unwrap() = None;
        daemon.kill();
    }
    let daemon = RealDaemon::start(scene.path());
    *books.address.lock().unwrap() = Some(daemon.address());
    wait_until_ready(&daemon).await;
    let alive_again = Instant::now();
    books.over.store(true, Ordering::SeqCst);
    for one in clients {
        one.await.unwrap();
    }
    scene.mail.recover();
    scene.webhooks.recover();
    let data = scene.path().join("data");
    let (log, store) = (look_into(&data.join("log.db")).await, look_into(&data.join("store.db")).await);
    until("everything is derived and settled", || at_rest(&log, &store)).await;
    let drained_after = alive_again.elapsed();
    daemon.stop().await;
    let counts = verdict::judge(scene.path(), &books, &scene.mail, &scene.webhooks, n_kills).await;
    ready_after.sort();
    #[expect(clippy::print_stderr, reason = "measured, not asserted; kept in the test's report")]
    {
        eprintln!(
            "{n_kills} kills, seed {seed}, {:.1} s: {counts:?}; ready again after {:?} (median), {:?} (longest); at rest \
             {drained_after:?} after the last start",
            begun.elapsed().as_secs_f64(),
            ready_after.get(ready_after.len() / 2).copied().unwrap_or_default(),
            ready_after.last().copied().unwrap_or_default(),
        );
    }
    assert!(counts.n_mails > 0 && counts.n_acknowledged > 0, "nothing happened: {counts:?}");
}

/// 20 to 400 milliseconds; one in five from an exponential tail, up to two seconds.
fn moment(dice: &mut Dice) -> Duration {
    let seconds = match dice.below(5) {
        0 => (-0.4 * (1.0 - dice.unit()).ln()).min(2.0),
        _ => 0.02 + 0.38 * dice.unit(),
    };
    Duration::from_secs_f64(seconds)
}

async fn wait_until_ready(daemon: &RealDaemon) {
    until("the daemon is ready", async || daemon.text("/readyz").await == "ready\n").await;
}

async fn at_rest(log: &SqlitePool, store: &SqlitePool) -> bool {
    let end: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM inbox").fetch_one(log).await.unwrap();
    let derived: i64 =
        sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events").fetch_one(store).await.unwrap();
    let waiting = "SELECT count(*) FROM deliveries WHERE state IN ('due', 'held', 'leased', 'committing')";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(store).await.unwrap();
    // The last records may be repetitions, of which no event is made: the position says how far the store has come.
    let position = "SELECT value FROM meta WHERE key = 'position'";
    let position: Option<String> = sqlx::query_scalar(position).fetch_optional(store).await.unwrap();
    waiting == 0 && position.and_then(|text| text.parse().ok()).unwrap_or(derived) >= end
}

/// Folder, rules and receivers. Says how to replay when the test fails, and leaves the folder to be looked at.
struct Scene {
    dir: Option<TempDir>,
    seed: u64,
    mail: Receiver,
    webhooks: Receiver,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let (mail, webhooks) = (Receiver::mail_server(seed), Receiver::webhooks(seed));
        write_templates(dir.path());
        fs::create_dir_all(dir.path().join("rules")).unwrap();
        for (name, text) in reference::RULES.iter().chain(&[("segments.rhai", reference::SEGMENTS)]) {
            fs::write(dir.path().join("rules").join(name), text).unwrap();
        }
        let config = format!(
            r#"
            [store]
            path = "data"
            ballast_mb = 1
            [business]
            name = "Torture"
            [http]
            listen = "127.0.0.1:0"
            public_url = "http://127.0.0.1:1"
            [contact]
            quiet_hours = false
            cap = {{ messages = {cap}, days = 7 }}
            [email]
            kind = "smtp"
            host = "127.0.0.1"
            port = {mail}
            tls = "none"
            from = "Torture <torture@shop.example>"
            connections = {N_CONNECTIONS}
            [webhook]
            kind = "http"
            concurrency = {N_CONNECTIONS}
            [[webhook.endpoints]]
            name = "crm"
            url = "http://127.0.0.1:{webhooks}/hook"
            secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            "#,
            cap = reference::CAP,
            mail = mail.address.port(),
            webhooks = webhooks.address.port(),
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        Scene { dir: Some(dir), seed, mail, webhooks }
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let dir = self.dir.take().map(TempDir::keep);
            #[expect(clippy::print_stderr, reason = "whoever sees the test fail needs it")]
            {
                eprintln!(
                    "REKINDLE_SEED={} draws the same again; the data are in {}",
                    self.seed,
                    dir.unwrap().display()
                );
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "settings of the test, not of the daemon")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
