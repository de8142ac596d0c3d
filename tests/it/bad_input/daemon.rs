//! The real binary: an installation in a temporary folder, and a daemon on it that is killed when the test ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Log, ReadStore};
use serde_json::Value;
use tempfile::TempDir;

/// Fails a test that waits for something that never comes; decides nothing else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Configuration, rules and templates on the disk.
pub(crate) struct Installation {
    pub(crate) dir: TempDir,
}

impl Installation {
    /// With more sections of configuration, and rules by file name. Templates are `receipt` (transactional) and `offer`
    /// (marketing), whose texts greet by first name.
    pub(crate) fn new(sections: &str, rules: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let config = format!(
            "[business]\nname = \"Test shop\"\n[store]\nkind = \"sqlite\"\npath = \"data\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\nwrite_keys = [{{ key = \"dev\", source = \"app\" }}]\n{sections}"
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        let installation = Installation { dir };
        fs::create_dir_all(installation.path("rules")).unwrap();
        for (name, text) in rules {
            fs::write(installation.path("rules").join(name), text).unwrap();
        }
        let hello = "Hello {{ customer.first_name | default(\"there\") }}";
        let offer = format!("{hello}, {{{{ unsubscribe_url }}}}");
        installation.template("receipt", "class = \"transactional\"\n", hello, &format!("<p>{hello}</p>"));
        installation.template(
            "offer",
            "class = \"marketing\"\ntopic = \"offers\"\n",
            &offer,
            &format!("<p>{offer}</p>"),
        );
        installation
    }

    pub(crate) fn template(&self, name: &str, card: &str, text: &str, html: &str) {
        let folder = self.path("templates").join(name);
        fs::create_dir_all(&folder).unwrap();
        let subject = "For {{ customer.first_name | default(\"you\") }}";
        for (file, content) in
            [("template.toml", card), ("subject.txt", subject), ("body.txt", text), ("body.html", html)]
        {
            fs::write(folder.join(file), content).unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with these arguments and this configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.args(arguments).arg("--config").arg(self.path("config.toml")).stdin(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and standard error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.output(arguments);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[], &[])
    }

    /// Runs it until it listens.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(&[&["run"], arguments].concat());
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let (sender, listens) = std::sync::mpsc::channel();
        let (stderr, kept) = (child.stderr.take().unwrap(), heard.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("listening for HTTP") {
                    sender.send(address_in(&line)).ok();
                }
                let mut heard = kept.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        let address = listens.recv_timeout(PATIENCE);
        let address = address.unwrap_or_else(|_| panic!("it does not listen: {}", heard.lock().unwrap()));
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Daemon { child, address, heard, client, data: self.path("data") }
    }

    /// Records put aside, by reason, over all sources.
    pub(crate) async fn quarantined(&self) -> Vec<(String, u64)> {
        let files = SqliteFiles::open(&self.path("data"), Access::Look).await.unwrap();
        let mut counts = BTreeMap::new();
        for (_, reason, n) in files.log.quarantine_counts().await.unwrap() {
            *counts.entry(reason).or_default() += n;
        }
        counts.into_iter().collect()
    }
}

fn address_in(line: &str) -> String {
    let from = line.find("127.0.0.1:").unwrap_or_else(|| panic!("no address in {line}"));
    line[from..].chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect()
}

pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: String,
    heard: Arc<Mutex<String>>,
    pub(crate) client: reqwest::Client,
    data: PathBuf,
}

impl Daemon {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).basic_auth("dev", Some(""))
    }

    /// Posts; the status.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> u16 {
        self.request(path).body(body).send().await.unwrap().status().as_u16()
    }

    /// Posts a batch that must be accepted.
    pub(crate) async fn batch(&self, items: &[Value]) {
        let batch = serde_json::json!({ "batch": items });
        assert_eq!(self.post("/v1/batch", batch.to_string()).await, 200);
    }

    pub(crate) async fn metrics(&self) -> String {
        self.client.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap()
    }

    /// Everything on standard error so far.
    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it in order.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        until("the daemon to end", async || (!self.is_running()).then_some(())).await;
    }

    /// The titles of the tasks that rules opened, oldest first, once there are so many.
    pub(crate) async fn tasks(&self, n: usize) -> Vec<String> {
        until("tasks", async || {
            let files = SqliteFiles::open(&self.data, Access::Look).await.ok()?;
            let mut tasks: Vec<String> = files.store.open_tasks(100).await.ok()?.into_iter().map(|t| t.title).collect();
            tasks.reverse();
            (tasks.len() >= n).then_some(tasks)
        })
        .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A rule that does this when an order is completed.
pub(crate) fn on_order(then: &str) -> String {
    format!(
        "const RULE = #{{ trigger: on(\"Order Completed\") }};\nfn when(customer) {{ true }}\nfn then(customer) {{ {then} }}\n"
    )
}
