//! Reload: what people change in the rules and templates folders is taken over whole, without a restart. What is broken
//! keeps its last good version, and the reason is shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::notify::Notifier;
use super::{Engine, Written, read_written, schedules};
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::id::short_hash;
use crate::rules::RuleBook;

/// How often the folders are looked at. A change is taken over when two looks in a row saw the same: whoever copies files
/// in needs a moment.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Folders in folders: `rules/shared`, `templates/NAME`.
const MAX_DEPTH: usize = 3;

impl Engine {
    /// Reads rules and templates again and takes them over, for everything that is decided or rendered from now on. Gives
    /// back what is wrong with them.
    pub fn reload(&self) -> Vec<Diagnostic> {
        let before = self.pipeline.context().book.clone();
        let templates = self.templates.current();
        let Written { book, templates, diagnostics } = read_written(&self.config, Some((&before, &templates)));
        let wrong: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        for problem in &wrong {
            tracing::warn!(file = %problem.file, "kept as it was: {problem}");
        }
        let business = self.pipeline.context().business.clone();
        match schedules(&book, &self.config, &business) {
            Ok(schedules) => {
                tracing::info!(changes = %changes(&before, &book), n_problems = wrong.len(), "rules and templates were read again");
                let book = Arc::new(book);
                self.pipeline.replace_context(|context| {
                    context.book = book;
                    context.templates = templates.cards().clone();
                    context.schedules = schedules;
                });
                self.templates.replace(templates);
            }
            Err(error) => tracing::error!(error = %error, "rules and templates stay as they were"),
        }
        self.pipeline.metrics.reloaded(wrong.len() as u64);
        // Whoever decides must look at the new calendar, and settle edited segments.
        self.arrived.notify_one();
        diagnostics
    }

    /// Until `stop`: looks whether the files have changed. SIGHUP takes them over at once.
    pub(super) async fn keep_watching(self: Arc<Self>, notifier: Notifier, stop: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let folders = [self.config.files.rules.clone(), self.config.files.templates.clone()];
        let mut in_force = look(folders.clone()).await;
        let mut seen = in_force.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => {
                    in_force = look(folders.clone()).await;
                    self.reload_and_tell(&notifier);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let now = look(folders.clone()).await;
                    if now != in_force && now == seen {
                        in_force.clone_from(&now);
                        self.reload_and_tell(&notifier);
                    }
                    seen = now;
                }
            }
        }
    }

    fn reload_and_tell(&self, notifier: &Notifier) {
        notifier.reloading();
        self.reload();
        notifier.ready(&self.status());
    }
}

/// What the folders hold: a hash of all names and contents.
async fn look(folders: [PathBuf; 2]) -> String {
    let read = move || {
        let mut files = BTreeMap::new();
        for folder in &folders {
            read_below(folder, MAX_DEPTH, &mut files);
        }
        let parts: Vec<&[u8]> =
            files.iter().flat_map(|(path, bytes)| [path.as_os_str().as_encoded_bytes(), bytes.as_slice()]).collect();
        short_hash(&parts)
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn read_below(folder: &Path, depth: usize, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 0 {
            read_below(&path, depth - 1, files);
        } else if entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= 1 << 20) {
            files.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
        }
    }
}

/// For the log: which rules came, changed and went.
fn changes(before: &RuleBook, after: &RuleBook) -> String {
    let versions = |book: &RuleBook| -> BTreeMap<String, String> {
        book.rules().map(|rule| (rule.id.clone(), rule.version.clone())).collect()
    };
    let (before, after) = (versions(before), versions(after));
    let came = after.keys().filter(|id| !before.contains_key(*id)).map(|id| format!("+{id}"));
    let changed = after.iter().filter(|(id, version)| before.get(*id).is_some_and(|b| b != *version));
    let changed = changed.map(|(id, version)| format!("{id} is now {version}"));
    let went = before.keys().filter(|id| !after.contains_key(*id)).map(|id| format!("-{id}"));
    let all: Vec<String> = came.chain(changed).chain(went).collect();
    if all.is_empty() { "no rule changed".to_owned() } else { all.join(", ") }
}
