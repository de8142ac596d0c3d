//! The real binary, started in a folder of its own.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::http::get;

/// What `cargo bench` built; `REKINDLE_BINARY` names another one, to compare.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("REKINDLE_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_rekindle")), PathBuf::from)
}

/// For anything that the daemon is waited for.
const PATIENCE: Duration = Duration::from_mins(30);

/// A folder with configuration, rules and templates; removed at the end.
pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    /// Put in front of the C library.
    pub(crate) preload: Option<PathBuf>,
}

impl House {
    /// `sections` are added to `config.toml`; `rules` are files besides the shipped ones when `shipped`.
    pub(crate) fn build(sections: &str, shipped: bool, rules: &[(String, String)]) -> anyhow::Result<House> {
        let dir = tempfile::Builder::new().prefix("rekindle-bench").tempdir_in(scratch())?;
        let address = free_address()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&root.join("templates"), &dir.path().join("templates"))?;
        if shipped {
            copy(&root.join("rules"), &dir.path().join("rules"))?;
        }
        std::fs::create_dir_all(dir.path().join("rules"))?;
        for (name, text) in rules {
            std::fs::write(dir.path().join("rules").join(name), text)?;
        }
        let mut config = format!(
            "[store]\nkind = \"sqlite\"\npath = \"data\"\n[http]\nlisten = \"{address}\"\n\
             [business]\ntime_zone = \"UTC\"\ncurrency = \"EUR\"\n"
        );
        writeln!(config, "{sections}")?;
        std::fs::write(dir.path().join("config.toml"), config)?;
        Ok(House { dir, address, preload: None })
    }

    /// Starts the daemon; says how long it took until `/readyz` answered 200.
    pub(crate) fn start(&self) -> anyhow::Result<(Daemon, Duration)> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("daemon.log"))?;
        let started = Instant::now();
        let preload = self.preload.iter().map(|library| ("LD_PRELOAD", library));
        let child = Command::new(binary())
            .envs(preload)
            .args(["run", "--config", "config.toml"])
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary().display()))?;
        let mut daemon = Daemon { child, address: self.address };
        while get(self.address, "/readyz").is_none_or(|(status, _)| status != 200) {
            if daemon.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                bail!("the daemon did not become ready: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((daemon, started.elapsed()))
    }

    /// The end of what the daemon logged.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default();
        text.lines().rev().take(3).collect::<Vec<_>>().join(" / ")
    }
}

/// On the disk that the build is on: a folder in memory would know no sync.
pub(crate) fn scratch() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_rekindle")).parent().unwrap_or(Path::new(".")).join("measure");
    std::fs::create_dir_all(&target).ok();
    target
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
}

/// Of a process, in megabytes (10^6 bytes).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) resident: f64,
    /// Of that, what is no page of a file.
    pub(crate) anonymous: f64,
}

impl Daemon {
    /// A sample of `/metrics`, summed over all labels that contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let Some((_, text)) = get(self.address, "/metrics") else { return 0.0 };
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until `done`; asks every 20 ms.
    pub(crate) fn wait_until(&mut self, what: &str, mut done: impl FnMut(&Daemon) -> bool) -> anyhow::Result<Duration> {
        let started = Instant::now();
        while !done(self) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended ({status}) before {what}");
            }
            if started.elapsed() > PATIENCE {
                bail!("{what} did not come about");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(started.elapsed())
    }

    /// Waits until `n` events are in profiles.
    pub(crate) fn wait_for_events(&mut self, n: usize) -> anyhow::Result<Duration> {
        let n = f64::from(u32::try_from(n)?);
        self.wait_until("all events were derived from", |d| d.metric("rekindle_events_accepted_total", "") >= n)
    }

    pub(crate) fn memory(&self) -> Memory {
        self.looking()()
    }

    /// [`Daemon::memory`] for another thread.
    pub(crate) fn looking(&self) -> impl Fn() -> Memory + Send + 'static {
        let path = format!("/proc/{}/status", self.child.id());
        move || {
            let status = std::fs::read_to_string(&path).unwrap_or_default();
            let read = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name));
                let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
                kib.unwrap_or_default() * 1_024.0 / 1e6
            };
            Memory { resident: read("VmRSS"), anonymous: read("RssAnon") }
        }
    }

    /// Processor seconds used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // Fields 14 and 15, in ticks of which Linux has 100 a second.
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).map(drop)?;
        }
    }
    Ok(())
}
