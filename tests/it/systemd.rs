//! What the daemon tells systemd, heard on a real socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::real_daemon::RealDaemon;
use crate::real_daemon::installation::Installation;
use crate::repository::page;
use crate::rules::on_order;

struct Systemd(UnixDatagram);

impl Systemd {
    fn on(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
        Systemd(socket)
    }

    /// The next thing told that is no sign of life.
    fn hears(&self) -> String {
        loop {
            let told = self.hears_anything();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    fn hears_anything(&self) -> String {
        let mut told = [0; 1024];
        let n = self.0.recv(&mut told).expect("the daemon says something");
        String::from_utf8(told[..n].to_vec()).unwrap()
    }
}

fn start(installation: &Installation, socket: &str) -> RealDaemon {
    installation.start_with(&[], &[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "200000")])
}

#[tokio::test]
async fn systemd_is_told_of_readiness_reloads_life_and_the_end() {
    let installation = Installation::new("", &[("thanks.rhai", &on_order("task(\"thank\");"))]);
    let path = installation.path("notify");
    let systemd = Systemd::on(UnixDatagram::bind(&path).unwrap());
    let daemon = start(&installation, &path.display().to_string());
    assert_eq!(systemd.hears(), "READY=1\nSTATUS=1 rules, 2 templates");
    assert_eq!(daemon.text("/readyz").await, "ready\n");
    for _ in 0..3 {
        assert_eq!(systemd.hears_anything(), "WATCHDOG=1", "whoever decides is alive");
    }
    std::fs::remove_file(installation.path("rules/thanks.rhai")).unwrap();
    daemon.signal("HUP");
    let reloading = systemd.hears();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.split('\n').next());
    assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok_and(|n| n > 0)), "{reloading}");
    assert_eq!(systemd.hears(), "READY=1\nSTATUS=0 rules, 2 templates");
    daemon.stop().await;
    assert!(systemd.hears().starts_with("STOPPING=1\n"));
}

#[tokio::test]
async fn systemd_may_listen_under_a_name_that_no_file_has() {
    let installation = Installation::new("", &[]);
    let name = format!("rekindle-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let systemd = Systemd::on(UnixDatagram::bind_addr(&address).unwrap());
    let daemon = start(&installation, &format!("@{name}"));
    assert!(systemd.hears().starts_with("READY=1\n"), "{}", daemon.log());
}

#[test]
fn the_unit_of_the_guide_asks_for_what_the_daemon_tells() {
    let unit = page("docs/guide/rekindle.service");
    for line in [
        "Type=notify",
        "WatchdogSec=",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStart=/usr/local/bin/rekindle run ",
        // Or the filter would end the daemon when deciding lowers its priority.
        "SystemCallFilter=setpriority",
    ] {
        assert!(unit.lines().any(|found| found.starts_with(line)), "{line} is missing");
    }
    assert!(page("docs/guide/operator.md").contains("rekindle.service"));
}
