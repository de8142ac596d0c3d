//! A disk whose sync takes longer: the daemon is started with a library in front of the C library's `fsync` and `fdatasync`
//! that waits before each. So is seen what the daemon makes of a disk as clouds rent them out; on one that syncs in less
//! than a tenth of a millisecond the processor is what is measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

/// By how much each sync is lengthened: what a network disk takes, about.
pub(crate) const LONGER: Duration = Duration::from_millis(2);

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int later(const char *name, int file) {
    struct timespec wait = {0, LONGER};
    nanosleep(&wait, 0);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return later("fsync", file); }
int fdatasync(int file) { return later("fdatasync", file); }
"#;

/// Compiles it into `dir`.
pub(crate) fn library(dir: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (dir.join("slow_disk.c"), dir.join("slow_disk.so"));
    std::fs::write(&source, SOURCE)?;
    let longer = format!("-DLONGER={}", LONGER.as_nanos());
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", &longer, "-o"]).arg(&library).arg(&source).arg("-ldl").output()?;
    ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr).trim());
    Ok(library)
}
