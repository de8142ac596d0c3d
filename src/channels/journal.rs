//! Webhooks into a file, one JSON line each: what would have been sent, readable by people and by `jq`. For the demo and for
//! rehearsals; no receiver is asked.
//!
//! A line is known by its `webhook_id`, and what is in the file already is not written again, so in doubt the attempt is
//! simply made again.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::mailbox::blocking;
use super::webhook::payload;
use super::{Channel, CommitPoint, Dispatch};
use crate::domain::action::Action;
use crate::domain::delivery::{Doubt, Outcome};

/// `[webhook] kind = "journal"`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    /// The file; created when missing, with its folder. No default: it should be a place that somebody looks at.
    pub path: PathBuf,
    /// The names that rules may use, as if these were receivers. Default `["crm"]`, which the shipped rules name.
    #[serde(default = "default_endpoints")]
    pub endpoints: Vec<String>,
}

/// What the shipped rules name.
pub fn default_endpoints() -> Vec<String> {
    vec!["crm".to_owned()]
}

/// The channel.
pub(super) struct Journal {
    file: Arc<Mutex<Lines>>,
    path: PathBuf,
}

struct Lines {
    file: File,
    keys: HashSet<String>,
    /// Where the last whole line ends.
    end: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    webhook_id: &'a str,
    endpoint: &'a str,
    written_at: String,
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct KeyOfLine {
    webhook_id: String,
}

impl Journal {
    pub(super) fn open(config: &JournalConfig) -> Result<Self, String> {
        let path = config.path.clone();
        let lines =
            open_lines(&path).map_err(|e| format!("cannot open the webhook journal {}: {e}", path.display()))?;
        Ok(Journal { file: Arc::new(Mutex::new(lines)), path })
    }
}

#[async_trait]
impl Channel for Journal {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn doubt(&self) -> Doubt {
        Doubt::Resend
    }

    /// Commit points share their syncs; the lines themselves are written one after the other.
    fn concurrency(&self) -> usize {
        8
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let Action::Webhook { endpoint, data } = &dispatch.delivery.action else {
            return Outcome::Failed { why: "this channel carries out webhooks only".to_owned() };
        };
        let retry = |why: String| Outcome::Retry { after: None, why };
        let key = dispatch.delivery.idempotency_key();
        let line = match line(&key, endpoint, dispatch, &payload(&dispatch.delivery, data)) {
            Ok(line) => line,
            Err(e) => return retry(format!("cannot write the webhook as a line: {e}")),
        };
        if let Err(why) = commit_point.commit().await {
            return retry(format!("not written: {why}"));
        }
        let lines = Arc::clone(&self.file);
        let known = key.clone();
        let append = move || lines.lock().unwrap_or_else(PoisonError::into_inner).append(known, &line);
        match blocking(append).await {
            Ok(()) => Outcome::Sent { receipt: key },
            Err(e) => retry(format!("cannot write to the webhook journal {}: {e}", self.path.display())),
        }
    }
}

impl Lines {
    fn append(&mut self, key: String, line: &[u8]) -> io::Result<()> {
        if self.keys.contains(&key) {
            return Ok(());
        }
        // Back to the last whole line first: an earlier attempt may have failed in the middle.
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.end += line.len() as u64;
        self.keys.insert(key);
        Ok(())
    }
}

fn line(key: &str, endpoint: &str, dispatch: &Dispatch, body: &[u8]) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::from_slice::<&RawValue>(body)?;
    let written_at = dispatch.now.to_string();
    let mut line = serde_json::to_vec(&Line { webhook_id: key, endpoint, written_at, body })?;
    line.push(b'\n');
    Ok(line)
}

/// Reads which webhooks are in the file already. A last line without its end was cut off by a crash before it was
/// acknowledged, and is dropped at the next write.
fn open_lines(path: &Path) -> io::Result<Lines> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut lines = Lines { file: file.try_clone()?, keys: HashSet::new(), end: 0 };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        lines.end += line.len() as u64;
        if let Ok(read) = serde_json::from_slice::<KeyOfLine>(&line) {
            lines.keys.insert(read.webhook_id);
        }
        line.clear();
    }
    Ok(lines)
}
