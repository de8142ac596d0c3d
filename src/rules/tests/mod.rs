//! The rules that we ship, the gallery of wrong ones, and the promises of the language.

mod promises;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::testing::{Outcome, run_tests};
use super::{RuleBook, Vocabulary};
use crate::domain::clock::Business;
use crate::domain::consent::MessageClass;
use crate::domain::template::TemplateCard;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn business(zone: &str) -> Business {
    Business { zone: TimeZone::get(zone).unwrap(), currency: "EUR".parse().unwrap() }
}

fn vocabulary() -> Vocabulary {
    let template = |name: &str, class, needs: &[&str]| {
        let needs = needs.iter().map(ToString::to_string).collect();
        (
            name.to_owned(),
            TemplateCard { class, topic: None, needs, optional: BTreeSet::new(), version: "v".to_owned() },
        )
    };
    let templates = [
        template("win_back", MessageClass::Marketing, &["percent", "code"]),
        template("second_order", MessageClass::Marketing, &["percent"]),
        template("cart_rescue", MessageClass::Marketing, &[]),
        template("review_apology", MessageClass::Service, &["rating"]),
    ];
    Vocabulary { templates: templates.into(), webhooks: BTreeSet::from(["crm".to_owned()]), events: BTreeSet::new() }
}

fn shown(book: &RuleBook, dir: &Path) -> String {
    let prefix = format!("{}/", dir.display());
    let lines: Vec<String> = book.diagnostics().iter().map(|d| d.to_string().replace(&prefix, "")).collect();
    lines.join("\n")
}

#[test]
fn the_shipped_rules_are_free_of_problems_and_pass_their_tests_in_any_zone() {
    let dir = root().join("rules");
    let book = RuleBook::load(&dir, &vocabulary(), None);
    assert_eq!(shown(&book, &dir), "");
    assert_eq!(book.rules().count(), 5);
    let by_rhai = book.rules().filter(|rule| !rule.is_compiled()).map(|rule| rule.id.as_str());
    let segments = book.segment_names().filter(|name| !book.is_segment_compiled(name));
    assert_eq!(by_rhai.chain(segments).collect::<Vec<_>>(), [""; 0], "these are not compiled");
    for zone in ["UTC", "Europe/Berlin", "America/Los_Angeles"] {
        let reports = run_tests(&book, &dir, None, &business(zone));
        assert!(reports.len() >= 20, "{}", reports.len());
        for report in reports {
            assert_eq!(report.outcome, Outcome::Passed, "in {zone}: {report}");
        }
    }
}

/// Each file of the gallery stands beside the shipped segments and helpers, as a rule of a company would. `UPDATE=1`
/// rewrites what is expected.
#[test]
fn every_mistake_of_the_gallery_is_named_with_its_place_and_a_way_out() {
    let gallery = root().join("tests/fixtures/bad_rules");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&gallery).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "rhai"));
    names.sort();
    assert!(names.len() >= 12);
    for path in names {
        let dir = tempfile::tempdir().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        std::fs::create_dir(dir.path().join("shared")).unwrap();
        for shipped in ["segments.rhai", "shared/common.rhai"] {
            std::fs::copy(root().join("rules").join(shipped), dir.path().join(shipped)).unwrap();
        }
        let place = match name {
            "segments.rhai" => "segments.rhai".to_owned(),
            "common.rhai" => "shared/common.rhai".to_owned(),
            rule => rule.to_owned(),
        };
        std::fs::copy(&path, dir.path().join(place)).unwrap();
        let book = RuleBook::load(dir.path(), &vocabulary(), None);
        let got = shown(&book, dir.path()) + "\n";
        let expected = path.with_extension("diagnostics.txt");
        #[expect(clippy::disallowed_methods, reason = "a switch of the test itself, not a setting")]
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&expected, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}");
        assert!(book.rules().next().is_none(), "{name} should not have loaded");
    }
}

#[test]
fn the_page_about_the_language_is_true() {
    let page = std::fs::read_to_string(root().join("rules/README.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("shared")).unwrap();
    std::fs::copy(root().join("rules/shared/common.rhai"), dir.path().join("shared/common.rhai")).unwrap();
    // Every block says in its first line which file it is.
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    for block in &blocks {
        let (_, content) = block.split_once('\n').unwrap();
        let (name, _) = content.split_once('\n').unwrap();
        let name = name.trim_start_matches(['/', '#', ' ']).strip_prefix("rules/").unwrap();
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    assert_eq!(blocks.len(), 3);
    let book = RuleBook::load(dir.path(), &vocabulary(), None);
    assert_eq!(shown(&book, dir.path()), "");
    let reports = run_tests(&book, dir.path(), None, &business("Europe/Berlin"));
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!(report.outcome, Outcome::Passed, "{report}");
    }
    // What the tables name exists, and what exists is in the tables.
    for owned in &super::host::answer::OWNED {
        assert!(page.contains(&format!("`{}`", owned.name)), "the page does not mention {}", owned.name);
    }
    for (method, ..) in super::host::customer::METHODS {
        assert!(page.contains(&format!("`{method}(")), "the page does not mention {method}");
    }
    for key in super::card::KEYS {
        assert!(page.contains(&format!("| `{key}`")), "the page does not mention {key}");
    }
}
