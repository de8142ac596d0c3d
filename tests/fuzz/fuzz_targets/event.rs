//! See `tests/fuzz/laws/event.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws/event.rs"]
mod law;

fuzz_target!(|data: &[u8]| law::holds(data));
