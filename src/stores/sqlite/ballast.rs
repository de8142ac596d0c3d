//! The ballast: a file that takes up room beside the databases and is thrown away when the disk is full.
//!
//! In WAL mode a full disk refuses everything, deleting and the checkpoint included, so `SQLite` cannot make room by
//! itself. The room that the ballast gives back is enough to write down what became of the messages under way.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// Written at once where the file system cannot set room aside by itself.
const PIECE: usize = 1 << 20;

/// Room beside the databases.
#[derive(Debug)]
pub struct Ballast {
    dir: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// Of `bytes` in `dir`; nothing is done yet. Without bytes there is none, and free room is not looked at.
    pub fn new(dir: &Path, bytes: u64) -> Self {
        Ballast { dir: dir.to_owned(), bytes }
    }

    /// Free room, in bytes, below which the ballast is thrown away: what a busy minute may write.
    pub fn low(&self) -> u64 {
        self.bytes / 4
    }

    /// Free room, in bytes, from which on there is enough for the ballast and for work beside it.
    pub fn enough(&self) -> u64 {
        self.bytes + 2 * self.low()
    }

    /// Free bytes of the file system.
    pub fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Whether it lies there, or none is wanted.
    pub fn is_there(&self) -> bool {
        self.bytes == 0 || self.path().exists()
    }

    /// Takes the room up. A ballast that could not be laid whole is not there.
    pub fn lay(&self) -> io::Result<()> {
        if self.is_there() {
            return Ok(());
        }
        let half_done = self.dir.join("ballast.new");
        let laid = File::create(&half_done).and_then(|file| fill(&file, self.bytes));
        laid.and_then(|()| fs::rename(&half_done, self.path())).inspect_err(|_| {
            fs::remove_file(&half_done).ok();
        })
    }

    /// Gives the room back.
    pub fn throw_away(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Before the databases are opened: a daemon that died on a full disk must be able to start on it.
    pub fn make_room(&self) -> io::Result<()> {
        if self.bytes > 0 && self.dir.exists() && self.free()? < self.low() { self.throw_away() } else { Ok(()) }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("ballast")
    }
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        done => return Ok(done?),
    }
    let zeros = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let n = zeros.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&zeros[..n])?;
        left -= n as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_takes_room_up_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path(), 3 << 20);
        ballast.lay().unwrap();
        ballast.lay().unwrap();
        assert!(ballast.is_there());
        assert_eq!(fs::metadata(dir.path().join("ballast")).unwrap().len(), 3 << 20);
        ballast.throw_away().unwrap();
        ballast.throw_away().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
