//! The configuration as its writer meets it: what is wrong is said at once and at its place, the environment overrides any
//! value, every value's origin can be asked for, and the schema allows exactly what is read.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use rekindle::config::{Config, schema};
use serde_json::Value;
use tempfile::TempDir;

use crate::json_schema::violations;
use crate::repository::page;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::parse(text, "config.toml", &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn refused_by_schema(text: &str) -> Vec<String> {
    violations(&schema(), &toml::from_str::<Value>(text).unwrap())
}

const CSV: &str = "[[sources]]\nname = \"orders\"\nkind = \"csv\"\n[sources.mapping]\n";

#[test]
fn every_configuration_that_ships_is_read_and_is_valid_by_the_schema() {
    for name in ["config.toml", "docs/guide/examples/online_retail.toml", "docs/guide/examples/cdnow.toml"] {
        let text = page(name);
        assert_eq!(load(&text, &[]).err(), None, "{name}");
        assert_eq!(refused_by_schema(&text), [""; 0], "{name}");
    }
    // The alternatives that are commented out, so that nobody has to write them from memory.
    let smtp = "[email]\nkind = \"smtp\"\nhost = \"smtp.example.com\"\nfrom = \"Our shop <hello@shop.example>\"\n\
                user = \"rekindle\"\npassword = { env = \"SMTP_PASSWORD\" }\nconnect_timeout = \"10s\"\n\
                [webhook]\nkind = \"http\"\n[[webhook.endpoints]]\nname = \"crm\"\nurl = \"https://crm.example.com/\"\n\
                secret = { file = \"/run/secrets/crm\" }\n[contact]\ncap = false\n";
    assert_eq!(load(smtp, &[]).err(), None);
    assert_eq!(refused_by_schema(smtp), [""; 0]);
}

#[test]
fn what_the_schema_refuses_is_refused_when_read_and_the_other_way_round() {
    let csv = |mapping: &str| format!("{CSV}{mapping}");
    let wrong = [
        (
            "[htpp]\nlisten = \"127.0.0.1:1\"".to_owned(),
            "config.toml:1:2: error: there is no section `htpp`\n  help: did you mean `http`?",
        ),
        (
            "[http]\nlisen = \"127.0.0.1:1\"".to_owned(),
            "config.toml:2:1: error: there is no key `lisen`\n  help: did you mean `listen`?",
        ),
        (
            "[store]\nkind = \"sqlit\"".to_owned(),
            "config.toml:2:8: error: unknown variant `sqlit`, expected `sqlite`\n  help: did you mean `sqlite`?",
        ),
        ("[email]\nkind = \"smtp\"\nfrom = \"a@b.example\"".to_owned(), "missing field `host`"),
        (
            "[email]\nkind = \"folder\"\npath = \"x\"\nfrom = \"a@b.example\"\nhost = \"h\"".to_owned(),
            "config.toml:5:1: error: there is no key `host`",
        ),
        (
            "[email]\nkind = \"smtp\"\nhost = 7\nfrom = \"a@b.example\"".to_owned(),
            "invalid type: integer `7`, expected a string",
        ),
        ("[email]\nkind = \"pigeon\"".to_owned(), "unknown variant `pigeon`"),
        ("[contact]\ncap = { messages = 2 }".to_owned(), "missing field `days`"),
        ("[contact]\nquiet_hours = { from = \"21:00\", til = \"08:00\" }".to_owned(), "there is no key `til`"),
        ("[contact]\ncap = true".to_owned(), "`true` alone says nothing"),
        ("[models.tier]\nby = \"thresholds\"\ntiers = []\nels = \"x\"".to_owned(), "there is no key `els`"),
        ("[models]\nrfm = {}".to_owned(), "there is no key `rfm`"),
        ("[models.churn_risk]\nhorizon_days = -1".to_owned(), "invalid value: integer `-1`"),
        ("[http]\nwrite_keys = [{ key = { env = \"A\", file = \"b\" }, source = \"app\" }]".to_owned(), "one source"),
        (csv("time = { colum = \"at\" }\nevent = \"A\""), "there is no key `colum`"),
        (
            csv(
                "time = \"at\"\nevent = \"A\"\nquarantine = [{ when = { colum = \"b\", empty = true }, reason = \"x\" }]",
            ),
            "there is no key `colum`",
        ),
        (csv("event = \"A\""), "missing field `time`"),
        (csv("time = \"at\"\nevent = \"A\"\nduplicates = \"keeep\""), "did you mean `keep`?"),
    ];
    for (text, expected) in wrong {
        let said = load(&text, &[]).expect_err(&text);
        assert!(said.contains(expected), "{text}\n\n{said}");
        assert!(!refused_by_schema(&text).is_empty(), "the schema allows:\n{text}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_at_its_place() {
    let text = "[http]\nlisten = \"nowhere\"\nporrt = 7\n[business]\ntime_zone = \"Europe/Berln\"\n\
                [models.tier]\nby = \"quantiles\"\ntiers = [[\"gold\", 10]]\n\
                [[sources]]\nname = \"Orders\"\nkind = \"csv\"\n[[sources]]\nname = \"x\"\nkind = \"cvs\"\n";
    let said = load(text, &[("REKINDLE__STORE__PAHT", "x"), ("REKINDLE__CONTACT__CAP__DAYS", "many")]).unwrap_err();
    insta::assert_snapshot!(said, @r#"
    environment variable REKINDLE__CONTACT__CAP__DAYS: error: `many` is not a whole number
    environment variable REKINDLE__STORE__PAHT: error: there is no key `paht` here
      help: did you mean `PATH`?
    config.toml:3:1: error: there is no key `porrt`
      help: keys are listen, public_url, write_keys
    config.toml:2:10: error: invalid socket address syntax
    config.toml:10:1: error: sources[0].name: `Orders` may only have a-z, 0-9, `_` and `-`
    config.toml:9:3: error: sources[0].mapping: a CSV source needs `[sources.mapping]`, which says what its columns mean
    config.toml:14:8: error: unknown variant `cvs`, expected one of `csv`, `jsonl`, `plugin`
      help: did you mean `csv`?
    config.toml:5:1: error: business.time_zone: `Europe/Berln` is not an IANA zone such as Europe/Berlin
    config.toml:6:9: error: models.tier: the share 10 of `gold` is not between 0 and 1; write 0.1 for a tenth
    "#);
}

#[test]
fn any_single_value_can_be_set_from_the_environment() {
    let config = load(
        &page("config.toml"),
        &[
            ("REKINDLE__MODELS__TIER__OTHERWISE", "copper"),
            ("REKINDLE__MODELS__CHURN_RISK__HORIZON_DAYS", "30"),
            ("REKINDLE__CONTACT__CAP__MESSAGES", "5"),
            ("REKINDLE__CONTACT__QUIET_HOURS", "false"),
            ("REKINDLE__HTTP__LISTEN", "127.0.0.1:8080"),
            ("REKINDLE__BUSINESS__NAME", "7"),
            ("REKINDLE_LOG", "debug"),
        ],
    );
    let config = config.unwrap();
    let settings = serde_json::to_value(&config).unwrap();
    assert_eq!(settings["models"]["tier"]["otherwise"], "copper");
    assert_eq!(settings["models"]["tier"]["tiers"][0][0], "gold", "the rest of the table stands");
    assert_eq!(settings["models"]["churn_risk"]["horizon_days"], 30);
    assert_eq!((&settings["contact"]["cap"]["messages"], &settings["contact"]["cap"]["days"]), (&5.into(), &7.into()));
    assert_eq!(settings["contact"]["quiet_hours"], false);
    assert_eq!(settings["http"]["listen"], "127.0.0.1:8080");
    assert_eq!(settings["business"]["name"], "7", "a text is a text, whatever it looks like");
    // Where the file says nothing, variables alone make a section.
    let smtp = [
        ("REKINDLE__EMAIL__KIND", "smtp"),
        ("REKINDLE__EMAIL__HOST", "mail.example.com"),
        ("REKINDLE__EMAIL__FROM", "a@b.example"),
        ("REKINDLE__EMAIL__PORT", "2525"),
        ("REKINDLE__EMAIL__PASSWORD", "12345"),
    ];
    let settings = serde_json::to_value(load("", &smtp).unwrap()).unwrap();
    assert_eq!((&settings["email"]["port"], &settings["email"]["password"]), (&2525.into(), &"***".into()));
}

#[test]
fn a_variable_that_cannot_be_meant_is_named() {
    let said = |name: &str, value: &str| load(&page("config.toml"), &[(name, value)]).unwrap_err();
    let all = [
        said("REKINDLE__HTTP__LISEN", "127.0.0.1:1"),
        said("REKINDLE__HTTP__LISTEN", "nowhere"),
        said("REKINDLE__HTTP", "x"),
        said("REKINDLE__HTTP__WRITE_KEYS", "x"),
        said("REKINDLE__HTTP__LISTEN__PORT", "7"),
        said("REKINDLE__SOURCES__NAME", "x"),
        said("REKINDLE__MODELS__CHURN_RISK__HORIZON_DAYS", "soon"),
        said("REKINDLE__MODELS__CHURN_RISK__HORIZON_DAYS", "0"),
        said("REKINDLE__EMAIL__HOST", "mail.example.com"),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    environment variable REKINDLE__HTTP__LISEN: error: there is no key `lisen` here
      help: did you mean `LISTEN`?
    environment variable REKINDLE__HTTP__LISTEN: error: invalid socket address syntax
    environment variable REKINDLE__HTTP: error: `http` is a section; name a key of it
      help: there are LISTEN, PUBLIC_URL, WRITE_KEYS
    environment variable REKINDLE__HTTP__WRITE_KEYS: error: `write_keys` is a list, and lists are set in the file
    environment variable REKINDLE__HTTP__LISTEN__PORT: error: `listen` is one value, and has no key `port` to set
    environment variable REKINDLE__SOURCES__NAME: error: `sources` is a list, and has no key `name` to set
    environment variable REKINDLE__MODELS__CHURN_RISK__HORIZON_DAYS: error: `soon` is not a whole number
    environment variable REKINDLE__MODELS__CHURN_RISK__HORIZON_DAYS: error: models.churn_risk: horizon_days = 0 is not 1 to 3650
    environment variable REKINDLE__EMAIL__HOST: error: there is no key `host`
      help: keys are from, kind, path, reply_to
    "#);
}

fn rekindle(dir: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(arguments).current_dir(dir.path()).env("REKINDLE__BUSINESS__CURRENCY", "GBP");
    command.output().unwrap()
}

#[test]
fn show_says_every_key_its_value_and_who_said_so_and_never_a_secret() {
    let dir = TempDir::new().unwrap();
    let text = "[http]\nwrite_keys = [{ key = \"hunter2\", source = \"web\" }]\n[email]\nkind = \"smtp\"\nhost = \"h\"\n\
                from = \"a@b.example\"\npassword = { env = \"SMTP_PASSWORD\" }\n";
    fs::write(dir.path().join("config.toml"), text).unwrap();
    let shown = rekindle(&dir, &["config", "show", "--origin"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("no {key} in {shown}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("business.currency"),
        "business.currency \"GBP\" environment variable REKINDLE__BUSINESS__CURRENCY"
    );
    assert_eq!(line("business.time_zone"), "business.time_zone \"UTC\" default");
    assert_eq!(line("email.password"), "email.password { env = \"SMTP_PASSWORD\" } config.toml:7");
    assert_eq!(line("http.write_keys[0].key"), "http.write_keys[0].key \"***\" config.toml:2");
    assert_eq!(line("email.port"), "email.port (not set) default");
    assert!(!shown.contains("hunter2"));
    let json = rekindle(&dir, &["config", "show", "--json"]);
    let settings: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(settings.iter().find(|s| s["key"] == "store.path").unwrap()["value"], "./rekindle-data");
    let check = rekindle(&dir, &["config", "check", "--json"]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    fs::write(dir.path().join("config.toml"), format!("{text}[busines]\n")).unwrap();
    let check = rekindle(&dir, &["config", "check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8(check.stdout).unwrap().contains("config.toml:8:2: error: there is no section `busines`"));
}

#[test]
fn a_value_is_shown_as_it_can_be_written_into_the_file() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, r#"business.name = "DEL \u007F, \u0001, \" and \\, \n""#).unwrap();
    let (config, settings) = Config::load_explained(&file, &BTreeMap::new()).unwrap();
    let name = settings.iter().find(|setting| setting.key == "business.name").unwrap();
    let written: toml::Table = toml::from_str(&format!("name = {}", name.toml())).unwrap();
    assert_eq!(written["name"].as_str(), Some(config.business.name.as_str()));
}

/// A key that is in force is in the schema, and a key of the schema that holds one value can be set.
#[test]
fn the_schema_has_every_key_and_no_other() {
    let schema = schema();
    let config = serde_json::to_value(load(&page("config.toml"), &[]).unwrap()).unwrap();
    let mut without_nothing = config.clone();
    strip_null(&mut without_nothing);
    assert_eq!(violations(&schema, &without_nothing), [""; 0]);
    let sections = config.as_object().unwrap().keys();
    let described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, sections.collect::<Vec<_>>());
    for (section, keys) in config.as_object().unwrap() {
        if let Some(keys) = keys.as_object() {
            let mut unknown = serde_json::Map::new();
            let mut table = keys.clone();
            table.insert("surely_unknown".to_owned(), 1.into());
            unknown.insert(section.clone(), table.into());
            strip_null(unknown.get_mut(section).unwrap());
            assert!(!violations(&schema, &unknown.into()).is_empty(), "[{section}] takes anything");
        }
    }
}

fn strip_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(strip_null);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_null),
        _ => {}
    }
}
