//! CSV: every record is in a fact, a duplicate, or put aside, whatever the bytes are.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use futures_util::FutureExt;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use rekindle::connectors::SourceConfig;
use rekindle::domain::clock::{Business, Timestamp};

static CONFIG: LazyLock<SourceConfig> = LazyLock::new(|| {
    toml::from_str(
        "name = 's'\nkind = 'csv'\nmax_line_bytes = 256\n[mapping]\ngroup_by = 'order'\nevent = 'Order Completed'\n\
         time = 'day'\ntotal = 'amount'\nidentities = { user_id = 'who' }\nproperties = { order_id = 'order' }",
    )
    .unwrap()
});
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("rekindle-fuzz-{}.csv", std::process::id())));

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, [b"order,day,amount,who\n", data].concat()).unwrap();
    let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
    let Ok(mut connector) = CONFIG.open(Some(&FILE), &business) else { return };
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let mut cursor = None;
    loop {
        let Ok(batch) = connector.pull(cursor.as_deref(), now).now_or_never().expect("files are not waited for") else {
            return;
        };
        assert_eq!(batch.counts.n_facts, batch.facts.len() as u64);
        assert_eq!(batch.counts.n_quarantined, batch.quarantined.len() as u64);
        if batch.done {
            return;
        }
        cursor = Some(batch.cursor);
    }
});
