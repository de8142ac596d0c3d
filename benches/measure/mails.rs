//! Mails out to Postfix's `smtp-sink`, beside what Postfix's own `smtp-source` manages against the same sink.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};

use crate::daemon::{House, free_address};
use crate::events;
use crate::http::post_all;
use crate::limits::{millis, per_second, sync_time};
use crate::report::{Bar, grouped, held};

const N_MAILS: usize = 10_000;
const N_CONNECTIONS: usize = 16;
/// About what the shipped win-back mail has on the wire.
const MAIL_BYTES: &str = "5500";

/// One campaign: everybody is decided about in the quiet hours, and when they end everything is due at once.
pub(crate) fn rate() -> anyhow::Result<Vec<Bar>> {
    let tools = Tools::find()?;
    let sink = tools.sink()?;
    let limit = tools.source(&sink.address)?;
    let house = House::build(&sections(&sink.address), false, &[rule()])?;
    let (mut daemon, _) = house.start()?;
    post_all(house.address, "/v1/batch", bodies(), 4)?;
    daemon.wait_for_events(3 * N_MAILS)?;
    let decided = daemon.metric("rekindle_firings_total", "");
    ensure!(decided >= as_f64(N_MAILS), "only {decided} mails were decided on: {}", house.log());
    let sent = |d: &crate::daemon::Daemon| d.metric("rekindle_deliveries_total", "state=\"sent\"");
    ensure!(sent(&daemon) < 1.0, "the quiet hours ended before everybody was decided about");
    println!("  {N_MAILS} mails wait for the end of the quiet hours");
    daemon.wait_until("the first mail", |d| sent(d) > 0.0)?;
    let (first, started) = (sent(&daemon), Instant::now());
    daemon.wait_until("the last mail", |d| sent(d) >= as_f64(N_MAILS))?;
    let rate = (as_f64(N_MAILS) - first) / started.elapsed().as_secs_f64();
    let limit = f64::midpoint(limit, tools.source(&sink.address)?);
    let sync = sync_time(300)?;

    let peer = as_f64(N_CONNECTIONS) / limit;
    let allowed = as_f64(N_CONNECTIONS) / (sync.as_secs_f64() + peer);
    let must = (0.6 * limit).min(0.8 * allowed);
    Ok(vec![Bar {
        what: "mails to smtp-sink over 16 connections".to_owned(),
        must: format!("≥ {}/s, the lower of 0.6 and 0.8 of the limits", grouped(must)),
        measured: format!("{}/s", grouped(rate)),
        limit: format!(
            "{}/s smtp-source -d; {}/s allowed by the intent's sync ({:.2} ms) and the peer ({:.2} ms)",
            grouped(limit),
            grouped(allowed),
            millis(sync),
            peer * 1e3
        ),
        ratio: format!("{:.2} and {:.2}", rate / limit, rate / allowed),
        outcome: held(rate >= must),
    }])
}

fn as_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn sections(sink: &str) -> String {
    let port = sink.rsplit(':').next().unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let clock = |seconds: u64| format!("{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60);
    format!(
        "[email]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nconnections = {N_CONNECTIONS}\n\
         from = \"Bench <bench@shop.example>\"\n[webhook]\nkind = \"journal\"\npath = \"webhooks.jsonl\"\nendpoints = []\n\
         [contact]\ncap = false\nquiet_hours = {{ from = \"{}\", to = \"{}\" }}\n",
        clock(now + 24 * 3_600 - 3_600),
        clock(now + 90),
    )
}

fn rule() -> (String, String) {
    let text = "//! The campaign.\nconst RULE = #{ trigger: on(\"Campaign Begun\") };\n\n\
                fn when(customer, event) { true }\n\n\
                fn then(customer, event) { email(\"win_back\", #{ percent: 10, code: \"BACK10\" }); }\n";
    ("campaign.rhai".to_owned(), text.to_owned())
}

/// Of each customer: who they are, that they agree to be written to, and what the rule waits for.
fn bodies() -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    for n in 0..N_MAILS {
        let say = |what: &str| events::Made {
            id: 0,
            customer: 0,
            json: format!("{{\"userId\":\"u{n}\",\"messageId\":\"{n} {}\",{what}}}", what.len()),
        };
        made.push(say(&format!(
            "\"type\":\"identify\",\"traits\":{{\"email\":\"u{n}@customers.example\",\"first_name\":\"Ana\"}}"
        )));
        made.push(say("\"type\":\"track\",\"event\":\"Consent Given\",\"properties\":{\"channel\":\"email\"}"));
        made.push(say("\"type\":\"track\",\"event\":\"Campaign Begun\",\"properties\":{}"));
    }
    events::batches(&made, 300)
}

/// Postfix's test programs, from the script that `./test` fetches them with.
struct Tools {
    libraries: String,
    sink: String,
    source: String,
}

struct Sink {
    process: Child,
    address: String,
}

impl Tools {
    fn find() -> anyhow::Result<Tools> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let home = std::env::var("HOME").unwrap_or_default();
        let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
        let provided = Command::new(root.join("tests/tools/provide_smtp_sink"))
            .arg(format!("{cache}/rekindle/tools/postfix"))
            .output()?;
        ensure!(provided.status.success(), "no smtp-sink: {}", String::from_utf8_lossy(&provided.stderr).trim());
        let wrapper = std::fs::read_to_string(String::from_utf8(provided.stdout)?.trim())?;
        let between = |before: &str| wrapper.split(before).nth(1).and_then(|rest| rest.split('"').next());
        let libraries = between("LD_LIBRARY_PATH=\"").unwrap_or_default().to_owned();
        let sink = between("exec \"").context("the wrapper of smtp-sink has another form")?.to_owned();
        let source = sink.replace("smtp-sink", "smtp-source");
        ensure!(Path::new(&source).exists(), "smtp-source is not beside smtp-sink");
        Ok(Tools { libraries, sink, source })
    }

    fn sink(&self) -> anyhow::Result<Sink> {
        let address = free_address()?.to_string();
        let mut command = Command::new(&self.sink);
        // As root it insists on being told whom to become.
        if is_root() {
            command.args(["-u", "root"]);
        }
        command.env("LD_LIBRARY_PATH", &self.libraries).arg(format!("inet:{address}")).arg("256");
        let sink = Sink { process: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?, address };
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::net::TcpStream::connect(&sink.address).is_err() {
            if Instant::now() > deadline {
                bail!("smtp-sink does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(sink)
    }

    /// Mails a second by `smtp-source`, connections kept.
    fn source(&self, sink: &str) -> anyhow::Result<f64> {
        let connections = N_CONNECTIONS.to_string();
        let mails = N_MAILS.to_string();
        let started = Instant::now();
        let status = Command::new(&self.source)
            .env("LD_LIBRARY_PATH", &self.libraries)
            .args([
                "-d",
                "-s",
                &connections,
                "-m",
                &mails,
                "-l",
                MAIL_BYTES,
                "-f",
                "bench@shop.example",
                "-t",
                "u@customers.example",
            ])
            .arg(format!("inet:{sink}"))
            .status()?;
        ensure!(status.success(), "smtp-source failed ({status})");
        Ok(per_second(N_MAILS, started.elapsed()))
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"))
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
