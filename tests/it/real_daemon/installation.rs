//! An installation in a temporary folder: what the daemon runs on, and what commands say of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Log, ReadStore};
use tempfile::TempDir;

use super::{RealDaemon, program};
use crate::servers::http::Receiver;
use crate::servers::smtp::SmtpServer;
use crate::until::until;

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

    /// The program with these arguments and this configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        program(self.dir.path(), arguments)
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

    pub(crate) fn start(&self) -> RealDaemon {
        self.start_with(&[], &[])
    }

    /// Runs it until it listens.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> RealDaemon {
        let settings: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let words: Vec<&OsStr> =
            ["env"].into_iter().chain(settings.iter().map(String::as_str)).map(OsStr::new).collect();
        RealDaemon::start_under(&words, self.dir.path(), arguments).listening()
    }

    /// The titles of the tasks that rules opened, oldest first, once there are so many.
    pub(crate) async fn tasks(&self, n: usize) -> Vec<String> {
        until("there are so many tasks", async || {
            let files = SqliteFiles::open(&self.path("data"), Access::Look).await.ok()?;
            let mut tasks: Vec<String> = files.store.open_tasks(100).await.ok()?.into_iter().map(|t| t.title).collect();
            tasks.reverse();
            (tasks.len() >= n).then_some(tasks)
        })
        .await
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

/// The sections for this mail server and these receivers of webhooks, by name.
pub(crate) fn mail_and_webhooks(mail: &SmtpServer, endpoints: &[(&str, &Receiver)]) -> String {
    let endpoint = |(name, receiver): &(&str, &Receiver)| {
        let secret = "A".repeat(43);
        let url = format!("http://{}/", receiver.address);
        format!("[[webhook.endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"whsec_{secret}=\"\n")
    };
    format!(
        "[email]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Shop <shop@shop.example>\"\n\
         [webhook]\nkind = \"http\"\n{}",
        mail.address.port(),
        endpoints.iter().map(endpoint).collect::<String>()
    )
}
