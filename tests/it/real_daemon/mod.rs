//! The real binary as a process of its own: started on a folder, listened to, asked, signalled, killed. A test that fails
//! shows what its daemons said.

pub(crate) mod carts;
pub(crate) mod installation;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use crate::until::{PATIENCE, until};

/// The program with these arguments and the configuration in `dir`.
pub(crate) fn program(dir: &Path, arguments: &[&str]) -> Command {
    program_under(&[], dir, arguments)
}

/// The same below another command (`strace …`, `nsenter …`, `env …`).
pub(crate) fn program_under(command: &[&OsStr], dir: &Path, arguments: &[&str]) -> Command {
    let mut words = command.to_vec();
    words.push(OsStr::new(env!("CARGO_BIN_EXE_rekindle")));
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(arguments).arg("--config").arg(dir.join("config.toml")).stdin(Stdio::null());
    for of_whoever_runs_the_tests in ["REKINDLE_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
        command.env_remove(of_whoever_runs_the_tests);
    }
    command
}

pub(crate) struct RealDaemon {
    child: Child,
    said: Said,
    pub(crate) client: reqwest::Client,
}

/// What it wrote on standard error, and whether it can write more.
#[derive(Clone, Default)]
struct Said(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    ended: bool,
}

impl RealDaemon {
    /// `rekindle run` on the configuration in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        RealDaemon::start_under(&[], dir, &[])
    }

    /// The same below another command, and with more arguments.
    pub(crate) fn start_under(command: &[&OsStr], dir: &Path, arguments: &[&str]) -> Self {
        let mut command = program_under(command, dir, &[&["run"], arguments].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        let said = Said::default();
        let (heard, stderr) = (said.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.note(Some(line));
            }
            heard.note(None);
        });
        RealDaemon { child, said, client: client() }
    }

    /// Where it listens; waits until it does.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.wait_for("listening for HTTP");
        let from = line.find("127.0.0.1:").unwrap_or_else(|| panic!("no address in {line}"));
        let end = line[from..].find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
        line[from..end.map_or(line.len(), |end| from + end)].parse().unwrap()
    }

    /// Itself, once it listens: its files are there, and signals reach it.
    pub(crate) fn listening(self) -> Self {
        self.address();
        self
    }

    /// The first line that contains this; waits for it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let found = self.said.wait_until(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("process {} did not say `{text}`", self.child.id()))
    }

    /// Everything that it said so far, line by line.
    pub(crate) fn log(&self) -> String {
        self.said.0.0.lock().unwrap().lines.join("\n")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// What it answers to a GET.
    pub(crate) async fn text(&self, path: &str) -> String {
        self.client.get(self.url(path)).send().await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.text("/metrics").await
    }

    /// A POST with the development key.
    pub(crate) fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).basic_auth("dev", Some(""))
    }

    /// Posts; the status.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> u16 {
        self.request(path).body(body).send().await.unwrap().status().as_u16()
    }

    /// Posts a batch; the status and how long to wait.
    pub(crate) async fn offer(&self, items: &[Value]) -> (u16, Option<String>) {
        post_batch(&self.client, self.address(), items).await.unwrap()
    }

    /// Posts a batch that must be accepted.
    pub(crate) async fn batch(&self, items: &[Value]) {
        assert_eq!(self.offer(items).await.0, 200);
    }

    /// `TERM`, `HUP`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(done.success(), "the daemon is not there to get SIG{name}");
    }

    /// SIGKILL, and gone. Everything that it said.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.wait_until(|_| false);
        self.log()
    }

    /// How it ends; waits for it. With everything that it said.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let status = until("the daemon ends", async || self.child.try_wait().unwrap()).await;
        self.said.wait_until(|_| false);
        (status, self.log())
    }

    /// SIGTERM, and a good end. Everything that it said.
    pub(crate) async fn stop(self) -> String {
        self.signal("TERM");
        let (status, log) = self.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "whoever sees the test fail needs it")]
            {
                eprintln!("process {} said:\n{}", self.child.id(), self.log());
            }
        }
    }
}

impl Said {
    fn note(&self, line: Option<String>) {
        let mut said = self.0.0.lock().unwrap();
        match line {
            Some(line) => said.lines.push(line),
            None => said.ended = true,
        }
        self.0.1.notify_all();
    }

    /// The first such line, if one comes before it falls silent for good.
    fn wait_until(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let said = self.0.0.lock().unwrap();
        let open = |said: &mut Heard| !said.ended && !said.lines.iter().any(|line| is_it(line));
        let (said, _) = self.0.1.wait_timeout_while(said, PATIENCE, open).unwrap();
        said.lines.iter().find(|line| is_it(line)).cloned()
    }
}

/// A client that gives up as late as a patient library, and never by a proxy.
pub(crate) fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_mins(1)).build().unwrap()
}

/// Posts a batch with the development key; the status and how long to wait.
pub(crate) async fn post_batch(
    client: &reqwest::Client,
    address: SocketAddr,
    items: &[Value],
) -> Result<(u16, Option<String>), reqwest::Error> {
    let body = serde_json::json!({ "batch": items }).to_string();
    let request = client.post(format!("http://{address}/v1/batch")).bearer_auth("dev");
    let response = request.header("content-type", "application/json").body(body).send().await?;
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((response.status().as_u16(), retry_after))
}
