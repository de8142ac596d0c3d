//! The real binary as a process of its own: started on a folder, listened to, signalled, killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

/// Only ever reached when something is broken.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct RealDaemon {
    child: Child,
    said: Said,
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

    /// The same below another command (`strace …`, `nsenter …`), and with more arguments.
    pub(crate) fn start_under(command: &[&OsStr], dir: &Path, arguments: &[&str]) -> Self {
        let mut words = command.to_vec();
        words.push(OsStr::new(env!("CARGO_BIN_EXE_rekindle")));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("run").arg("--config").arg(dir.join("config.toml")).args(arguments);
        command.env_remove("REKINDLE_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{} does not start: {e}", words[0].display()));
        let said = Said::default();
        let (heard, stderr) = (said.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.note(Some(line));
            }
            heard.note(None);
        });
        RealDaemon { child, said }
    }

    /// Where it listens; waits until it does.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.wait_for("listening for HTTP");
        line.rsplit("address=").next().and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }

    /// The first line that contains this; waits for it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.said.wait_for(text, self.child.id())
    }

    /// Everything that it said so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.said.0.0.lock().unwrap().lines.clone()
    }

    /// `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(done.success(), "the daemon is not there to get SIG{name}: {}", self.log().join("\n"));
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ends; waits for it. With everything that it said.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the daemon does not end: {}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        };
        self.said.wait_for_end();
        (status, self.log())
    }

    /// SIGTERM, and a good end.
    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("TERM");
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
        log
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
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

    fn wait_for(&self, text: &str, process: u32) -> String {
        let said = self.0.0.lock().unwrap();
        let open = |said: &mut Heard| !said.ended && !said.lines.iter().any(|line| line.contains(text));
        let (said, _) = self.0.1.wait_timeout_while(said, PATIENCE, open).unwrap();
        let found = said.lines.iter().find(|line| line.contains(text)).cloned();
        found.unwrap_or_else(|| panic!("process {process} did not say `{text}` but\n{}", said.lines.join("\n")))
    }

    fn wait_for_end(&self) {
        let said = self.0.0.lock().unwrap();
        let (said, _) = self.0.1.wait_timeout_while(said, PATIENCE, |said| !said.ended).unwrap();
        drop(said);
    }
}

/// Waits until `done` says so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One of the two files, to look at while the daemon runs or after it.
pub(crate) async fn look_into(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

/// A client that gives up as late as a patient library, and never by a proxy.
pub(crate) fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap()
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

/// A folder with a configuration, the templates `offer` and `receipt`, and these rules; webhooks go to `webhooks`.
pub(crate) fn install(dir: &Path, webhooks: SocketAddr, rules: &[(&str, &str)], store: &str) {
    crate::world::write_templates(dir);
    std::fs::create_dir_all(dir.join("rules")).unwrap();
    for (name, text) in rules {
        std::fs::write(dir.join("rules").join(name), text).unwrap();
    }
    let config = format!(
        r#"
        [store]
        path = "data"
        {store}
        [http]
        listen = "127.0.0.1:0"
        public_url = "http://127.0.0.1:1"
        [contact]
        quiet_hours = false
        [webhook]
        kind = "http"
        [[webhook.endpoints]]
        name = "crm"
        url = "http://{webhooks}/hook"
        secret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "#
    );
    std::fs::write(dir.join("config.toml"), config).unwrap();
}

/// Every cart is a webhook.
pub(crate) const CARTS: (&str, &str) = (
    "carts.rhai",
    "const RULE = #{ trigger: on(\"Cart Abandoned\") };\n\
     fn when(customer) { true }\n\
     fn then(customer) { webhook(\"crm\", #{ n_orders: customer.n_orders }); }\n",
);

/// One of them, under this message id.
pub(crate) fn cart(message: &str) -> Value {
    serde_json::json!({ "type": "track", "userId": "ada", "event": "Cart Abandoned", "messageId": message })
}

/// The states of all deliveries in the store below `data`, in the order of their decisions.
pub(crate) async fn states(data: &Path) -> Vec<String> {
    let store = look_into(&data.join("store.db")).await;
    let states = sqlx::query_scalar("SELECT state FROM deliveries ORDER BY decided_at, id").fetch_all(&store).await;
    store.close().await;
    states.unwrap()
}

/// The message ids of all events in the store below `data`.
pub(crate) async fn messages(data: &Path) -> Vec<String> {
    let store = look_into(&data.join("store.db")).await;
    let ids = sqlx::query_scalar("SELECT fact ->> 'message_id' FROM events ORDER BY position").fetch_all(&store).await;
    store.close().await;
    ids.unwrap()
}
