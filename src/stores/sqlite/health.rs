//! Whether the files are sound and who has them, found out without taking part: nothing is locked, made or migrated.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Access, LOG_MEMORY, open_file};
use crate::stores::{StoreError, StoreResult};

/// One of the two files.
#[derive(Clone, Debug)]
pub struct FileHealth {
    /// `log.db` or `store.db`.
    pub path: PathBuf,
    /// Migrations of ours that it has not seen: the next start brings them.
    pub n_missing_migrations: usize,
    /// A migration that this version does not know: a newer version has been here.
    pub unknown_migration: Option<i64>,
    /// What `PRAGMA quick_check` found; empty when it is sound.
    pub damage: Vec<String>,
}

/// Who has the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process, where the system says.
    pub pid: Option<u32>,
}

/// Looks through both files. Reads all of them: seconds for each gigabyte.
pub async fn look_through(dir: &Path) -> StoreResult<Vec<FileHealth>> {
    let files =
        [("log.db", sqlx::migrate!("migrations/sqlite/log")), ("store.db", sqlx::migrate!("migrations/sqlite/store"))];
    let mut found = Vec::new();
    for (name, migrator) in files {
        let path = dir.join(name);
        let (_, readers) = open_file(&path, Access::Look, LOG_MEMORY).await?;
        let seen = "SELECT version FROM _sqlx_migrations WHERE success";
        let seen: Vec<i64> = sqlx::query_scalar(seen).fetch_all(&readers).await.map_err(StoreError::from)?;
        let checked = sqlx::query_scalar("PRAGMA quick_check(20)").fetch_all(&readers).await;
        let damage: Vec<String> = checked.unwrap_or_else(|error| vec![error.to_string()]);
        let ours: Vec<i64> = migrator.iter().map(|migration| migration.version).collect();
        found.push(FileHealth {
            path,
            n_missing_migrations: ours.iter().filter(|version| !seen.contains(version)).count(),
            unknown_migration: seen.iter().copied().find(|version| !ours.contains(version)),
            damage: damage.into_iter().filter(|line| line != "ok").collect(),
        });
    }
    Ok(found)
}

/// The rekindle that runs on `dir`. The list of locks is read where the system has one (Linux), so that looking does not
/// keep a daemon out that starts at this moment.
pub fn holder(dir: &Path) -> Option<Holder> {
    let file = File::open(dir.join("lock")).ok()?;
    let Ok(locks) = std::fs::read_to_string("/proc/locks") else {
        return file.try_lock().is_err().then_some(Holder { pid: None });
    };
    let inode = file.metadata().ok()?.ino().to_string();
    // `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`
    locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|words| {
        let ours = words.get(5)?.rsplit(':').next()? == inode && words.get(1) == Some(&"FLOCK");
        ours.then(|| Holder { pid: words.get(4).and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0) })
    })
}
