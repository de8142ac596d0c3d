//! Plugins: those that ship do what they promise, and `rekindle plugins` and `rekindle import` as they are run.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;
use rekindle::domain::clock::Business;
use rekindle::domain::event::names;
use rekindle::domain::profile::Profile;
use rekindle::stores::ReadStore;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::repository::ROOT;

/// A plugin for a loyalty program's CSV export.
const MANIFEST: &str = "name = \"points\"\nversion = \"0.1.0\"\ndescription = \"Points\"\nlicense = \"MIT\"\nprotocol = 1\n\
                        format = \"csv\"\nrecord = \"one booking\"\ncolumns = [\"member\", \"day\", \"points\"]\n";
const SCRIPT: &str = "fn map(record) {\n    user_id(record.member);\n    occurred_at(record.day);\n    \
                      track(\"Points Earned\", #{ points: parse_int(record.points) });\n}\n";

/// A folder with a configuration and the plugin `points`.
fn installation() -> TempDir {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "config.toml", "[store]\npath = \"data\"\n[business]\ncurrency = \"EUR\"\n");
    write(dir.path(), "plugins/points/plugin.toml", MANIFEST);
    write(dir.path(), "plugins/points/map.rhai", SCRIPT);
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn rekindle(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle")).current_dir(dir).args(arguments).output().unwrap()
}

/// What a command printed, after it ended with `code`.
fn said(dir: &Path, code: i32, arguments: &[&str]) -> String {
    let output = rekindle(dir, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

fn said_json(dir: &Path, code: i32, arguments: &[&str]) -> Value {
    let output = rekindle(dir, arguments);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn shipped_plugins_have_no_mistakes_and_their_fixtures_pass() {
    let root = Path::new(ROOT);
    let checked = said_json(root, 0, &["plugins", "check", "--json"]);
    assert_eq!(checked, json!({ "errors": 0, "warnings": 0, "diagnostics": [] }));
    let tested = said_json(root, 0, &["plugins", "test", "--json"]);
    let fixtures = tested["fixtures"].as_array().unwrap();
    for plugin in ["shopify", "stripe"] {
        let of_it: Vec<&Value> = fixtures.iter().filter(|one| one["plugin"] == plugin).collect();
        let n = |key: &str| of_it.iter().map(|one| one[key].as_u64().unwrap()).sum::<u64>();
        assert!(n("n_events") > 10 && n("n_quarantined") > 3 && n("n_skipped") > 1, "{plugin}: {of_it:?}");
    }
    let listed = said_json(root, 0, &["plugins", "list", "--json"]);
    assert_eq!(listed[0]["name"], "shopify");
    assert_eq!(listed[1]["usable"], true);
}

#[test]
fn a_fixture_that_comes_out_otherwise_fails_with_the_place_and_can_be_accepted() {
    let dir = installation();
    let dir = dir.path();
    assert!(said(dir, 1, &["plugins", "test"]).contains("there are no fixtures"));
    write(dir, "plugins/points/fixtures/may.in.csv", "member,day,points\nm1,2026-05-01,10\nm2,2026-05-02,many\n");
    assert!(
        said(dir, 1, &["plugins", "test", "points"]).contains("may.expect.json is missing; write it with `--update`")
    );
    assert!(
        said(dir, 0, &["plugins", "test", "--update"]).contains("new   points/may: 1 events, 1 put aside, 0 skipped")
    );
    assert!(said(dir, 0, &["plugins", "test"]).contains("ok    points/may"));

    let expected: Value =
        serde_json::from_slice(&fs::read(dir.join("plugins/points/fixtures/may.expect.json")).unwrap()).unwrap();
    let event = &expected["events"][0];
    assert_eq!((&event["event"], &event["customer"]), (&json!("Points Earned"), &json!({ "user_id": "m1" })));
    assert_eq!(
        (&event["occurred_at"], &event["properties"]),
        (&json!("2026-05-01T12:00:00Z"), &json!({ "points": 10 }))
    );
    assert_eq!(
        (&expected["quarantined"][0]["line"], &expected["quarantined"][0]["reason"]),
        (&json!(3), &json!("script_failed"))
    );

    // A comment further up changes no expectation; another meaning does.
    write(dir, "plugins/points/map.rhai", &format!("// A word.\n\n{SCRIPT}"));
    said(dir, 0, &["plugins", "test"]);
    write(dir, "plugins/points/map.rhai", &SCRIPT.replace("parse_int(record.points)", "parse_int(record.points) * 2"));
    let failed = said(dir, 1, &["plugins", "test"]);
    assert!(failed.contains("FAIL  points/may\n      events[0].properties.points: expected 10, got 20"), "{failed}");
    write(dir, "plugins/points/fixtures/june.expect.json", "{}");
    assert!(said(dir, 1, &["plugins", "test"]).contains("`june.expect.json` is neither"));
}

#[test]
fn what_is_wrong_with_a_plugin_is_said_with_its_place_and_a_suggestion() {
    let dir = installation();
    let dir = dir.path();
    write(
        dir,
        "plugins/points/plugin.toml",
        &MANIFEST.replace("license", "licence").replace("protocol = 1", "protocol = 2"),
    );
    write(dir, "plugins/points/map.rhai", &SCRIPT.replace("user_id(", "userid(").replace("fn map", "fn mapp"));
    let found = said(dir, 1, &["plugins", "check"]);
    for expected in [
        "plugin.toml:4:1: error: unknown key `licence`\n  help: did you mean `license`?",
        "plugin.toml: error: `license` is missing",
        "plugin.toml:5:12: error: this version of rekindle carries out protocol 1 only",
        "map.rhai:1:4: error: `fn mapp` is never called\n  help: did you mean `map`?",
        "map.rhai:2:5: error: unknown function `userid`\n  help: did you mean `user_id`?",
    ] {
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
    assert!(said(dir, 1, &["check"]).contains("unknown function `userid`"), "`check` looks at plugins too");
    assert!(said(dir, 1, &["plugins", "test"]).contains("did you mean `user_id`?"));
    assert!(said(dir, 0, &["plugins", "list"]).contains("cannot be used"));
    assert!(said(dir, 1, &["plugins", "check", "point"]).contains("did you mean `points`?"));
    assert!(said(dir, 1, &["plugins", "check", "../plugins/points"]).contains("there is no plugin"));

    let source =
        |more: &str| format!("[store]\npath = \"data\"\n[[sources]]\nname = \"club\"\npath = \"club.csv\"\n{more}\n");
    write(dir, "club.csv", "member,day,points\nm1,2026-05-01,10\n");
    write(dir, "config.toml", &source("kind = \"plugin\"\nplugin = \"points\""));
    let refused = said(dir, 1, &["import"]);
    assert!(refused.contains("plugin `points` cannot be used") && refused.contains("map.rhai:2:5"), "{refused}");
    for (more, expected) in [
        ("kind = \"plugin\"", "plugin: say which"),
        ("kind = \"jsonl\"\nplugin = \"points\"", "plugin: is for `kind = \"plugin\"`"),
        (
            "kind = \"plugin\"\nplugin = \"points\"\n[sources.mapping]\nevent = \"A\"\ntime = \"day\"",
            "a plugin brings its own",
        ),
    ] {
        write(dir, "config.toml", &source(more));
        assert!(said(dir, 1, &["import"]).contains(expected), "{more}");
    }
}

#[test]
fn a_csv_without_the_columns_that_a_plugin_needs_is_refused() {
    let dir = installation();
    let dir = dir.path();
    let config = "[store]\npath = \"data\"\n[[sources]]\nname = \"club\"\nkind = \"plugin\"\nplugin = \"points\"\ndelimiter = \";\"\n";
    write(dir, "config.toml", config);
    write(dir, "club.csv", "member;date;points\nm1;2026-05-01;10\n");
    let refused = said(dir, 1, &["import", "--file", "club.csv"]);
    assert!(refused.contains("`day`") && refused.contains("its columns are member, date, points"), "{refused}");
    write(dir, "club.csv", "member;day;points\nm1;2026-05-01;10\n");
    let report = said_json(dir, 0, &["import", "--file", "club.csv", "--json"]);
    assert_eq!((&report["events"], &report["quarantined"]), (&json!(1), &json!(0)));
}

/// The shipped plugin, through the real binary into a real store.
#[tokio::test]
async fn shopify_orders_are_in_the_books_once_however_often_they_are_told() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let plugins = Path::new(ROOT).join("plugins");
    let config = format!(
        "[store]\npath = \"data\"\n[business]\ncurrency = \"EUR\"\n[files]\nplugins = {plugins:?}\n\
         [[sources]]\nname = \"shop\"\nkind = \"plugin\"\nplugin = \"shopify\"\npath = \"orders.jsonl.gz\"\n"
    );
    write(dir, "config.toml", &config);
    let order = |status: &str, more: Value| {
        let mut order = json!({
            "id": 1001, "name": "#1001", "email": "ana@example.com", "created_at": "2026-03-01T10:00:00+01:00",
            "processed_at": "2026-03-01T10:00:00+01:00", "financial_status": status, "currency": "EUR",
            "total_price": "59.90", "line_items": [{ "product_id": 5, "price": "29.95", "quantity": 2 }],
            "customer": { "id": 7, "email": "ana@example.com", "email_marketing_consent":
                { "state": "subscribed", "consent_updated_at": "2026-02-28T09:00:00+01:00" } },
        });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order.to_string()
    };
    let refund = json!({ "refunds": [{ "id": 1, "created_at": "2026-03-03T12:00:00+01:00", "transactions":
        [{ "kind": "refund", "status": "success", "amount": "29.95" }] }] });
    let told = [
        order("pending", json!({})),
        order("paid", json!({})),
        order("paid", json!({ "fulfillment_status": "fulfilled", "updated_at": "2026-03-02T08:00:00+01:00" })),
        "{\"line_items\": []}".to_owned(),
        "not JSON".to_owned(),
        order("partially_refunded", refund),
    ];
    let mut packed = GzEncoder::new(fs::File::create(dir.join("orders.jsonl.gz")).unwrap(), Compression::fast());
    packed.write_all((told.join("\n") + "\n").as_bytes()).unwrap();
    packed.finish().unwrap();

    let report = said_json(dir, 0, &["import", "--json"]);
    assert_eq!((&report["rows"], &report["skipped"], &report["quarantined"]), (&json!(6), &json!(2), &json!(1)));
    assert_eq!((&report["orders"], &report["refunds"]), (&json!(1), &json!(1)));
    let again = said_json(dir, 0, &["import", "--json"]);
    assert_eq!((&again["rows"], &again["new_events"]), (&json!(0), &json!(0)));
    let anew = said_json(dir, 0, &["import", "--from-start", "--json"]);
    assert_eq!((&anew["rows"], &anew["new_events"]), (&json!(6), &json!(0)));

    let files = SqliteFiles::open(&dir.join("data"), Access::Look).await.unwrap();
    let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
    let events = files.store.scan_events(0, usize::MAX).await.unwrap();
    let all = Profile::fold(events.iter().map(|(_, event)| event), &business);
    assert_eq!((all.orders.placed().count(), all.orders.net_minor(business.currency)), (1, 2_995));
    let consents = events.iter().filter(|(_, event)| event.fact.name == names::CONSENT_GIVEN).count();
    assert_eq!(consents, 1);
}

/// The guide is followed to the letter: its files, its commands, in its order.
#[test]
fn the_guide_leads_from_an_empty_folder_to_a_plugin_that_passes_its_tests() {
    let page = crate::repository::page("docs/guide/integrator.md");
    let (_, guide) = page.split_once("## Write a connector in an afternoon").unwrap();
    let (guide, _) = guide.split_once("### What a script can say").unwrap();
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let mut last = String::new();
    let mut rest = guide;
    while let Some((before, block)) = rest.split_once("```") {
        let (block, behind) = block.split_once("```").unwrap();
        let (language, content) = block.split_once('\n').unwrap();
        let named = before.trim_end().strip_suffix("`:").and_then(|text| text.rsplit('`').next());
        match (language, named) {
            ("sh", _) => {
                for line in content.lines() {
                    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
                    if !dir.join("config.toml").exists() {
                        write(dir, "config.toml", "[store]\npath = \"data\"\n");
                    }
                    last = said(dir, 0, &arguments);
                }
            }
            (_, Some("config.toml")) => write(dir, "config.toml", &format!("[store]\npath = \"data\"\n{content}")),
            (_, Some(file)) => write(dir, file, content),
            (other, None) => panic!("a block of {other} without the name of its file"),
        }
        rest = behind;
    }
    assert!(last.contains("ok    points/may: 3 events, 2 put aside, 1 skipped"), "{last}");
    let records = fs::read_to_string(dir.join("plugins/points/fixtures/may.in.csv")).unwrap();
    write(dir, "exports/points.csv", &records);
    let report = said_json(dir, 0, &["import", "--source", "points", "--json"]);
    let reasons = json!({ "no_points": 1, "bad_time": 1 });
    assert_eq!((&report["events"], &report["quarantined_by_reason"]), (&json!(3), &reasons));
}
