//! Mail into a folder: one `.eml` file per mail, which any mail program opens. For the demo, for rehearsals, and for a mail
//! system that picks mails up from a folder.
//!
//! A file is named by the idempotency key and appears complete or not at all (temporary name, sync, rename, sync of the
//! folder). A mail that is already there is left alone, so in doubt the attempt is simply made again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::email::{Composer, Letter, Sender};
use super::template::{Letterhead, SharedTemplates};
use super::{Channel, CommitPoint, Dispatch};
use crate::domain::delivery::{Doubt, Outcome};

/// `[email] kind = "folder"`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Where the `.eml` files go; created when missing. No default: mail should not pile up in a place nobody named.
    pub path: PathBuf,
    /// Who writes: `Shop <hello@shop.example>`. No default: it is the company's name. Its domain also names our Message-IDs.
    pub from: String,
    /// Where answers go. Default: to `from`.
    #[serde(default)]
    pub reply_to: Option<String>,
}

/// The channel.
pub(super) struct Folder {
    path: PathBuf,
    composer: Composer,
}

impl Folder {
    pub(super) fn open(
        config: &FolderConfig,
        templates: SharedTemplates,
        letterhead: Letterhead,
    ) -> Result<Self, String> {
        let sender = Sender::parse(&config.from, config.reply_to.as_deref())?;
        let path = config.path.clone();
        fs::create_dir_all(&path).map_err(|e| format!("cannot create the mail folder {}: {e}", path.display()))?;
        Ok(Folder { path, composer: Composer { sender, templates, letterhead } })
    }

    async fn put(&self, key: &str, letter: Letter, commit_point: &dyn CommitPoint) -> Result<(), String> {
        let target = self.path.join(format!("{key}.eml"));
        let draft = self.path.join(format!(".{key}.draft"));
        let cannot = |what: &str, e: io::Error| format!("cannot {what} a mail in {}: {e}", self.path.display());
        let there = target.clone();
        if blocking(move || there.try_exists()).await.map_err(|e| cannot("look for", e))? {
            return commit_point.commit().await;
        }
        let to_write = draft.clone();
        blocking(move || write_synced(&to_write, &letter.bytes)).await.map_err(|e| cannot("write", e))?;
        if let Err(why) = commit_point.commit().await {
            blocking(move || fs::remove_file(&draft)).await.ok(); // a later attempt would overwrite it anyway
            return Err(why);
        }
        let folder = self.path.clone();
        let rename = move || fs::rename(&draft, &target).and_then(|()| File::open(&folder)?.sync_all());
        blocking(rename).await.map_err(|e| cannot("store", e))
    }
}

#[async_trait]
impl Channel for Folder {
    fn name(&self) -> &'static str {
        "email"
    }

    fn doubt(&self) -> Doubt {
        Doubt::Resend
    }

    /// Enough for commit points and syncs to share their waits.
    fn concurrency(&self) -> usize {
        16
    }

    async fn deliver(&self, dispatch: &Dispatch, commit_point: &dyn CommitPoint) -> Outcome {
        let letter = match self.composer.compose(dispatch) {
            Ok(letter) => letter,
            Err(outcome) => return outcome,
        };
        let key = dispatch.delivery.idempotency_key();
        match self.put(&key, letter, commit_point).await {
            Ok(()) => Outcome::Sent { receipt: format!("{key}.eml") },
            Err(why) => Outcome::Retry { after: None, why },
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Files wait for the disk; that must not stop the tasks beside this one.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}
