//! A million customers with three events each: whether they fit into little memory while everybody is asked, how fast the
//! daemon starts, and how fast it is back after SIGKILL with a million events still to derive from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use rusqlite::OpenFlags;

use crate::daemon::{Daemon, House, Memory};
use crate::events::{self, Made, Numbers};
use crate::http::post_all;
use crate::report::{Bar, grouped};

const N_EACH: u64 = 3;
const N_RULES: usize = 20;
const MAX_RESIDENT: f64 = 300.0;
const SECTIONS: &str = "[webhook]\nkind = \"journal\"\npath = \"webhooks.jsonl\"\nendpoints = [\"crm\"]\n\
     [email]\nkind = \"folder\"\npath = \"mailbox\"\nfrom = \"Bench <bench@shop.example>\"\n[contact]\ncap = false\n";

/// `REKINDLE_MEASURE_CUSTOMERS` makes it smaller, to try the bench itself.
fn n_customers() -> u64 {
    std::env::var("REKINDLE_MEASURE_CUSTOMERS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000)
}

/// How many they are, for the name of a bar: one that was made smaller is another bar.
fn crowd() -> String {
    match n_customers() {
        1_000_000 => "a million customers".to_owned(),
        n => format!("{} customers", grouped(float(n))),
    }
}

pub(crate) fn customers() -> anyhow::Result<Vec<Bar>> {
    let house = House::build(SECTIONS, true, &[])?;
    let (mut daemon, _) = house.start()?;
    let n_events = N_EACH * n_customers();
    let mut posted = 0;
    let mut recovery = None;
    let started = Instant::now();
    while posted < n_events {
        let some = chunk(posted, 50_000.min(n_events - posted));
        posted += some.len() as u64;
        post_all(house.address, "/v1/batch", events::batches(&some, 500), 16)?;
        let backlog = float(posted) - daemon.metric("rekindle_events_accepted_total", "");
        println!(
            "  {} posted, {} of them to derive, {:.0} MB, {:.0} s",
            grouped(float(posted)),
            grouped(backlog),
            daemon.memory().resident,
            started.elapsed().as_secs_f64()
        );
        if recovery.is_none() && (backlog >= float(n_customers()) || posted == n_events) {
            daemon.kill()?;
            let (again, ready) = house.start()?;
            let still = backlog;
            daemon = again;
            let bar = Bar::under("ready again after SIGKILL with a backlog in the log", ready.as_secs_f64(), 5.0, "s");
            recovery = Some(bar.with(&format!("{} events to derive from", grouped(still))));
        }
    }
    let mut loading = Watch::of(&daemon);
    wait_for_backlog(&mut daemon, &house)?;
    println!("  all derived after {:.0} s", started.elapsed().as_secs_f64());
    println!("  peak of resident memory while deriving: {:.0} MB", loading.end().resident);
    daemon.stop()?;

    let mut bars: Vec<Bar> = recovery.into_iter().collect();
    bars.extend(sweep(&house)?);
    Ok(bars)
}

/// Starts with twenty scheduled rules and the rescoring two minutes ahead, and watches memory until all are through.
fn sweep(house: &House) -> anyhow::Result<Vec<Bar>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let minute = now / 60 + 2;
    let (hour, minute_of_hour) = (minute / 60 % 24, minute % 60);
    for file in std::fs::read_dir(house.dir.path().join("rules"))? {
        let file = file?.path();
        let is_segments = file.file_name().is_some_and(|name| name == "segments.rhai");
        if file.is_file() && !is_segments {
            std::fs::remove_file(file)?;
        }
    }
    for (name, text) in rules(minute_of_hour, hour) {
        std::fs::write(house.dir.path().join("rules").join(name), text)?;
    }
    let config = house.dir.path().join("config.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{text}\n[models]\nrescore = \"{hour:02}:{minute_of_hour:02}\"\n"))?;

    let (mut daemon, start) = house.start()?;
    let mut bars = vec![Bar::under(&format!("start-up with {}", crowd()), start.as_secs_f64(), 2.0, "s")];
    let at = i64::try_from(minute * 60)? * 1_000_000;
    let store = rusqlite::Connection::open_with_flags(
        house.dir.path().join("data/store.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    store.busy_timeout(Duration::from_secs(10))?;
    let done = |schedule: &str| -> usize {
        let statement = "SELECT count(*) FROM ticks WHERE at = ?1 AND done_at IS NOT NULL AND schedule LIKE ?2";
        store
            .query_row(statement, (at, schedule), |row| row.get::<_, i64>(0))
            .map_or(0, |n| usize::try_from(n).unwrap_or(0))
    };
    let begun =
        |_: &Daemon| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|t| t.as_secs() >= minute * 60);
    daemon.wait_until("the minute of the sweeps", begun)?;
    println!("  rescoring");
    let mut watch = Watch::of(&daemon);
    let rescoring = daemon.wait_until("the rescoring", |_| done("@rescore") == 1)?;
    bars.push(memory(&format!("rescoring {}: peak of resident memory", crowd()), &watch.end(), rescoring));
    println!("  sweeping {N_RULES} rules");
    let mut watch = Watch::of(&daemon);
    let sweeping = daemon.wait_until("the sweeps", |_| done("sweep_%") == N_RULES)?;
    bars.push(memory(&format!("sweeping 20 rules over {}: peak of resident memory", crowd()), &watch.end(), sweeping));
    daemon.stop()?;
    Ok(bars)
}

fn float(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn memory(what: &str, peak: &Memory, took: Duration) -> Bar {
    let note = format!("{:.0} MB anonymous; took {:.0} s", peak.anonymous, took.as_secs_f64());
    Bar::under(what, peak.resident, MAX_RESIDENT, "MB").with(&note)
}

/// The backlog gauge counts from a batch's end, so the position in the store is asked instead.
fn wait_for_backlog(daemon: &mut Daemon, house: &House) -> anyhow::Result<()> {
    let open = |name: &str| {
        rusqlite::Connection::open_with_flags(
            house.dir.path().join("data").join(name),
            OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
    };
    let (log, store) = (open("log.db")?, open("store.db")?);
    let end: i64 = log.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'inbox'", [], |row| row.get(0))?;
    ensure!(end >= i64::try_from(N_EACH * n_customers())?, "not all events are in the log");
    let mut told = Instant::now();
    daemon.wait_until("the backlog's end", |d| {
        let position: String =
            store.query_row("SELECT value FROM meta WHERE key = 'position'", [], |row| row.get(0)).unwrap_or_default();
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            println!("  derived {position} of {end}, {:.0} MB", d.memory().resident);
        }
        std::thread::sleep(Duration::from_millis(200));
        position.parse::<i64>().is_ok_and(|position| position >= end)
    })?;
    Ok(())
}

/// Events `from` to `from + n` of all: three rounds over all customers, each in an order that is not that of their numbers.
fn chunk(from: u64, n: u64) -> Vec<Made> {
    (from..from + n)
        .map(|number| {
            let mut numbers = Numbers(number);
            let customer = number.wrapping_mul(7_919) % n_customers();
            events::one(&mut numbers, customer)
        })
        .collect()
}

/// Scheduled rules of different sorts: rare, common, with and without an audience.
fn rules(minute: u64, hour: u64) -> Vec<(String, String)> {
    let conditions = [
        "customer.n_orders >= 3",
        "customer.count(\"Product Viewed\", days(30)) >= 3 && customer.tier == \"gold\"",
        "customer.churn_risk >= 0.9",
        "customer.sum(\"Order Completed\") >= 550.0",
        "customer.days_since(\"Product Viewed\") >= 60",
    ];
    let audience = |n: usize| if n % 4 == 3 { "    audience: \"high_value\",\n" } else { "" };
    (0..N_RULES)
        .map(|n| {
            let text = format!(
                "//! Sweep {n}.\nconst RULE = #{{\n    trigger: cron(\"{minute} {hour} * * *\"),\n    cooldown: days(30),\n{}}};\n\n\
                 fn when(customer) {{\n    {}\n}}\n\n\
                 fn then(customer) {{\n    webhook(\"crm\", #{{ customer: customer.id, sweep: {n} }});\n}}\n",
                audience(n),
                conditions[n % conditions.len()],
            );
            (format!("sweep_{n}.rhai"), text)
        })
        .collect()
}

/// Looks at a process's memory every 50 ms and keeps the highest.
struct Watch {
    over: Arc<AtomicBool>,
    watching: Option<std::thread::JoinHandle<Memory>>,
}

impl Watch {
    fn of(daemon: &Daemon) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, looking) = (over.clone(), daemon.looking());
        let watching = std::thread::spawn(move || {
            let mut peak = Memory::default();
            while !ended.load(Ordering::Relaxed) {
                let now = looking();
                peak.resident = peak.resident.max(now.resident);
                peak.anonymous = peak.anonymous.max(now.anonymous);
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        Watch { over, watching: Some(watching) }
    }

    fn end(&mut self) -> Memory {
        self.over.store(true, Ordering::Relaxed);
        self.watching.take().and_then(|watching| watching.join().ok()).unwrap_or_default()
    }
}
