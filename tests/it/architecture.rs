//! Holds `src/` to ARCHITECTURE.md: the import table and the crate table are read out of the page itself, so the page
//! cannot say one thing and the code do another.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository::{files_under, page};
use crate::rust_source::{Path as RustPath, Token, paths, shipped};

const MAX_LINES: usize = 450;

/// What the two tables of ARCHITECTURE.md say.
#[derive(Debug, Default)]
struct Rules {
    /// Folder → what it may import of ours.
    imports: BTreeMap<String, Vec<Allowed>>,
    /// Outside crate → the folders or modules that it lives in.
    homes: BTreeMap<String, Vec<Vec<String>>>,
}

/// One entry of the import table.
#[derive(Debug)]
struct Allowed {
    folder: String,
    /// Only what the folder's `mod.rs` offers, none of its modules.
    contract: bool,
}

/// One source file, read.
struct Source {
    /// `src/pipeline/deliver.rs`.
    path: String,
    /// `["pipeline", "deliver"]`; of a `mod.rs` its folder.
    module: Vec<String>,
    tokens: Vec<Token>,
}

/// All of `src/`, and which modules there are.
struct Tree {
    sources: Vec<Source>,
    modules: BTreeSet<Vec<String>>,
}

#[test]
fn imports_run_one_way() {
    let rules = Rules::read(&page("ARCHITECTURE.md"));
    let tree = Tree::read();
    let violations: Vec<String> = tree.sources.iter().flat_map(|s| violations(s, &rules, &tree.modules)).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_import_table_names_every_folder_and_no_other() {
    let in_table: BTreeSet<String> = Rules::read(&page("ARCHITECTURE.md")).imports.into_keys().collect();
    let in_tree: BTreeSet<String> =
        Tree::read().sources.iter().map(|s| s.module[0].clone()).filter(|name| name != "lib").collect();
    assert_eq!(in_table, in_tree);
}

#[test]
fn the_crate_table_names_only_crates_that_we_depend_on() {
    let dependencies = dependencies();
    let rules = Rules::read(&page("ARCHITECTURE.md"));
    let strange: Vec<&String> = rules.homes.keys().filter(|name| !dependencies.contains(*name)).collect();
    assert!(strange.is_empty(), "not in Cargo.toml: {strange:?}");
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_in_one_sitting() {
    let mut complaints = Vec::new();
    for path in files_under("src", "rs") {
        let text = page(&path);
        if !text.trim_start().starts_with("//!") {
            complaints.push(format!("{path} does not begin with a module doc (`//!`)"));
        }
        let n_lines = text.lines().count();
        if n_lines > MAX_LINES {
            complaints.push(format!("{path} has {n_lines} lines; split it, {MAX_LINES} is the limit"));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

impl Rules {
    /// Reads the table whose first heading is `folder`, and the one whose first heading is `crate`.
    fn read(architecture: &str) -> Self {
        let mut rules = Rules::default();
        for row in table(architecture, "folder") {
            for folder in quoted(&row[0]) {
                let allowed = row[1].split(',').filter_map(Allowed::read).collect();
                rules.imports.insert(folder, allowed);
            }
        }
        for row in table(architecture, "crate") {
            let homes: Vec<Vec<String>> =
                quoted(&row[1]).map(|home| home.split('/').map(str::to_owned).collect()).collect();
            for name in quoted(&row[0]) {
                rules.homes.insert(name.replace('-', "_"), homes.clone());
            }
        }
        assert!(rules.imports.len() > 5 && rules.homes.len() > 5, "ARCHITECTURE.md has lost a table: {rules:?}");
        rules
    }
}

impl Allowed {
    fn read(entry: &str) -> Option<Self> {
        let folder = quoted(entry).next()?;
        Some(Allowed { folder, contract: entry.contains("(contract)") })
    }

    fn permits(&self, path: &[String], modules: &BTreeSet<Vec<String>>) -> bool {
        let enters_module = path.len() > 1 && modules.contains(&path[..2].to_vec());
        self.folder == path[0] && !(self.contract && enters_module)
    }
}

impl Tree {
    fn read() -> Self {
        let mut sources = Vec::new();
        let mut test_only = Vec::new();
        for path in files_under("src", "rs") {
            let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
            let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
            if module.last().is_some_and(|name| name == "mod") {
                module.pop();
            }
            let shipped = shipped(&page(&path));
            test_only
                .extend(shipped.test_modules.iter().map(|name| [&module[..], std::slice::from_ref(name)].concat()));
            sources.push(Source { path, module, tokens: shipped.tokens });
        }
        sources.retain(|source| !test_only.iter().any(|t| source.module.starts_with(t)));
        let modules = sources.iter().map(|s| s.module.clone()).collect();
        Tree { sources, modules }
    }
}

/// Everything in `source` that the tables do not allow, one sentence each.
fn violations(source: &Source, rules: &Rules, modules: &BTreeSet<Vec<String>>) -> Vec<String> {
    let own = &source.module[0];
    let none = Vec::new();
    let allowed = rules.imports.get(own).unwrap_or(&none);
    let mut found = BTreeSet::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = paths(&source.tokens);
    for path in &all {
        if let (Some(name), Some(ours)) = (&path.imported_as, of_ours(path, source, &BTreeMap::new())) {
            names.insert(name.clone(), ours);
        }
    }
    for path in &all {
        if let Some(ours) = of_ours(path, source, &names) {
            let known = ours.first().is_some_and(|folder| rules.imports.contains_key(folder));
            if known && ours[0] != *own && !allowed.iter().any(|a| a.permits(&ours, modules)) {
                let shown = if modules.contains(&ours.iter().take(2).cloned().collect::<Vec<_>>()) { 2 } else { 1 };
                let what = ours[..shown.min(ours.len())].join("::");
                let permitted = permission(allowed, &ours[0]);
                found.insert((
                    path.line,
                    format!("imports {what}; allowed: {permitted} (ARCHITECTURE.md, import table)"),
                ));
            }
        } else if let Some(homes) = rules.homes.get(&path.segments[0])
            && !homes.iter().any(|home| source.module.starts_with(home))
        {
            let name = &path.segments[0];
            let homes = homes.iter().map(|home| home.join("/")).collect::<Vec<_>>().join(", ");
            found.insert((path.line, format!("uses {name}; it lives in {homes} only (ARCHITECTURE.md, crate table)")));
        }
    }
    found.into_iter().map(|(line, complaint)| format!("{}:{line} {complaint}", source.path)).collect()
}

fn permission(allowed: &[Allowed], folder: &str) -> String {
    if allowed.iter().any(|a| a.contract && a.folder == folder) {
        return "contracts only".to_owned();
    }
    if allowed.is_empty() {
        return "nothing of ours".to_owned();
    }
    let name = |a: &Allowed| if a.contract { format!("{} (contract)", a.folder) } else { a.folder.clone() };
    allowed.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The path from the crate's root, if it leads to one of our modules. `names` are what the file's `use`s call things.
fn of_ours(path: &RustPath, source: &Source, names: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let segments = &path.segments;
    let n_supers = segments.iter().take_while(|s| *s == "super").count();
    match segments[0].as_str() {
        "crate" | "rekindle" => Some(segments[1..].to_vec()),
        "self" => None,
        "super" => {
            let base = &source.module[..source.module.len().checked_sub(n_supers)?];
            Some([base, &segments[n_supers..]].concat())
        }
        name if path.imported_as.is_none() => Some([names.get(name)?, &segments[1..]].concat()),
        _ => None,
    }
    .filter(|ours| !ours.is_empty())
}

/// The rows of the table that is headed `first_heading`, cell by cell.
fn table<'a>(page: &'a str, first_heading: &str) -> impl Iterator<Item = Vec<String>> + 'a {
    let heading = format!("| {first_heading} |");
    let rows = page.lines().skip_while(move |line| !line.starts_with(&heading)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// What stands in back quotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The crates in Cargo.toml, as Rust spells them.
fn dependencies() -> BTreeSet<String> {
    let manifest = page("Cargo.toml");
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.replace('-', "_")).collect()
}

mod tests {
    use super::*;

    const TABLES: &str = "
| folder | may import |
|---|---|
| `domain` | — |
| `script`, `schedule` | `domain` |
| `models` | `domain` |
| `channels` | `domain` |
| `rules` | `domain`, `script` |
| `pipeline` | `domain`, `rules`, `channels` (contract) |

| crate | lives in |
|---|---|
| `sqlx`, `axum`, `tokio`, `clap` | `stores` |
| `tower-http` | `api` |
| `toml` | `rules/testing` |
";

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let module = path.trim_start_matches("src/").trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let source = Source { path: path.to_owned(), module, tokens: shipped(text).tokens };
        let modules = [["channels", "smtp"], ["rules", "load"]].map(|m| m.map(str::to_owned).to_vec()).into();
        violations(&source, &Rules::read(TABLES), &modules)
    }

    #[test]
    fn a_verb_that_knows_a_concrete_kind_is_named() {
        let expected = [
            "src/pipeline/deliver.rs:1 imports channels::smtp; allowed: contracts only (ARCHITECTURE.md, import table)",
        ];
        assert_eq!(complaints("src/pipeline/deliver.rs", "use crate::channels::{Channel, smtp::Smtp};"), expected);
        assert_eq!(complaints("src/pipeline/deliver.rs", "fn f(x: crate::channels::smtp::Smtp) {}"), expected);
        assert_eq!(complaints("src/pipeline/deliver.rs", "use super::super::channels::smtp as s;"), expected);
        assert_eq!(
            complaints("src/pipeline/deliver.rs", "use crate::channels; fn f(x: channels::smtp::Smtp) {}"),
            expected
        );
        assert!(
            complaints("src/pipeline/deliver.rs", "use crate::channels::Channel; use crate::rules::load::x;")
                .is_empty()
        );
    }

    #[test]
    fn a_noun_or_a_kind_that_looks_up_or_aside_is_named() {
        let expected =
            ["src/domain/event.rs:2 imports models; allowed: nothing of ours (ARCHITECTURE.md, import table)"];
        assert_eq!(complaints("src/domain/event.rs", "\nuse crate::models::Model;"), expected);
        let expected = ["src/models/rfm.rs:1 imports channels; allowed: domain (ARCHITECTURE.md, import table)"];
        assert_eq!(complaints("src/models/rfm.rs", "use crate::channels::Channel;"), expected);
        assert!(complaints("src/models/rfm.rs", "use super::Model; use crate::domain::event::Event;").is_empty());
    }

    #[test]
    fn a_crate_away_from_home_is_named() {
        let expected = ["src/models/rfm.rs:1 uses sqlx; it lives in stores only (ARCHITECTURE.md, crate table)"];
        assert_eq!(complaints("src/models/rfm.rs", "fn f() { sqlx::query(\"\") }"), expected);
        let expected = ["src/rules/load.rs:1 uses toml; it lives in rules/testing only (ARCHITECTURE.md, crate table)"];
        assert_eq!(complaints("src/rules/load.rs", "use toml::Value;"), expected);
        assert!(complaints("src/rules/testing.rs", "use toml::Value;").is_empty());
        assert!(complaints("src/models/rfm.rs", "#[cfg(test)] mod tests { use sqlx::query; }").is_empty());
    }
}
