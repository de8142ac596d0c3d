//! Rule source: a rule or diagnostics, as a rule, as segments and as shared helpers.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rekindle::rules::{RuleBook, Vocabulary};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("rekindle-fuzz-rules-{}", std::process::id()));
    fs::create_dir_all(folder.join("shared")).unwrap();
    folder
});

fuzz_target!(|text: &str| {
    for file in ["fuzz.rhai", "segments.rhai", "shared/common.rhai"] {
        fs::write(FOLDER.join(file), text).unwrap();
    }
    let book = RuleBook::load(&FOLDER, &Vocabulary::default(), None);
    assert!(book.rule("fuzz").is_some() || book.has_errors());
});
