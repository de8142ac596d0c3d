//! See `tests/fuzz/laws/cron.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws/cron.rs"]
mod law;

fuzz_target!(|text: &str| law::holds(text));
