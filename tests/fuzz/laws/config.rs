//! Configuration: taken, or diagnostics that each say something at a place that is there. Lines `#env NAME=VALUE` are
//! comments of the file and variables of the environment at once. What is taken is shown with its origins, and reads back
//! when it is written down again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rekindle::config::{Config, Origin};
use rekindle::domain::diagnostic::Diagnostic;
use serde_json::Value;

pub(crate) fn holds(folder: &Path, text: &str) {
    let variables = text.lines().filter_map(|line| line.strip_prefix("#env ")?.split_once('='));
    let environment: BTreeMap<String, String> =
        variables.map(|(name, value)| (format!("REKINDLE__{name}"), value.to_owned())).collect();
    let parsed = Config::parse(text, "config.toml", &environment);
    let file = folder.join("config.toml");
    fs::write(&file, text).unwrap();
    let loaded = Config::load_explained(&file, &environment);
    // `check` and whoever starts agree.
    assert_eq!(parsed.is_ok(), loaded.is_ok());
    let (config, settings) = match (parsed, loaded) {
        (Ok(config), Ok((_, settings))) => (config, settings),
        (Err(problems), _) => return check_problems(&problems, text),
        _ => return,
    };

    let keys: BTreeSet<&String> = settings.iter().map(|setting| &setting.key).collect();
    assert_eq!(keys.len(), settings.len(), "a key is shown once: {settings:?}");
    for setting in &settings {
        if let Origin::File { line, .. } = &setting.origin {
            assert!((1..=n_lines(text)).contains(line), "{setting:?}");
        }
        if is_stated(&setting.value) {
            let written = format!("key = {}", setting.toml());
            let read: toml::Table = toml::from_str(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(serde_json::to_value(&read["key"]).unwrap(), setting.value, "{written}");
        }
    }

    let (shown, written) = (serde_json::to_value(&config).unwrap(), toml::to_string(&config).unwrap());
    match Config::parse(&written, "again.toml", &BTreeMap::new()) {
        Ok(again) => assert_eq!(serde_json::to_value(&again).unwrap(), shown, "{written}"),
        Err(problems) => panic!("{written}\n{problems:?}"),
    }
}

fn check_problems(problems: &[Diagnostic], text: &str) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(!problem.message.is_empty());
        assert!(problem.file == "config.toml" || problem.file.starts_with("environment variable REKINDLE__"));
        assert!(problem.line.is_none_or(|line| (1..=n_lines(text)).contains(&line)), "{problem:?}");
    }
}

fn n_lines(text: &str) -> u32 {
    u32::try_from(text.split('\n').count()).unwrap()
}

/// Whether TOML has a word for it.
fn is_stated(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().all(is_stated),
        Value::Object(fields) => fields.values().all(is_stated),
        _ => true,
    }
}
