//! Configuration: taken, or diagnostics that each say something.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use rekindle::config::Config;

fuzz_target!(|text: &str| {
    if let Err(problems) = Config::parse(text, "config.toml", &BTreeMap::new()) {
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.message.is_empty()));
    }
});
