//! Documents are held to the repository: what they name is there, what they show is what ships.

use std::fs;
use std::path::{Path, PathBuf};

use crate::repository::{ROOT, files_under, page};

/// A document is wrong from the day on which a file that it names is moved, so it fails on that day.
#[test]
fn documents_name_only_files_that_exist() {
    let mut missing = Vec::new();
    for document in documents() {
        let folder = Path::new(&document).parent().unwrap_or(Path::new("")).to_owned();
        for (number, line) in page(&document).lines().enumerate() {
            for named in links(line).map(|link| folder.join(link)).chain(source_paths(line).map(PathBuf::from)) {
                if !Path::new(ROOT).join(&named).exists() {
                    missing.push(format!("{document}:{}: {} does not exist", number + 1, named.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

/// Whoever copies a rule out of a document gets one that works: it is a shipped one to the letter, and those are tested.
#[test]
fn whole_rules_in_documents_are_shipped_ones() {
    let tested = files_under("rules", "rhai").into_iter().chain(files_under("docs/guide/examples", "rhai"));
    let shipped: Vec<String> = tested.map(|path| page(&path).trim().to_owned()).collect();
    let mut strange = Vec::new();
    for document in documents() {
        let text = page(&document);
        let blocks = text.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::trim);
        for rule in blocks.filter(|block| block.starts_with("//!") && !shipped.iter().any(|s| s == block)) {
            strange.push(format!("{document}: this rule is not in rules/ as it stands here:\n{rule}\n"));
        }
    }
    assert!(strange.is_empty(), "\n{}\n", strange.join("\n"));
}

/// All documents, from the root of the repository.
fn documents() -> Vec<String> {
    let beside_manifest = fs::read_dir(ROOT).unwrap().flatten().map(|entry| PathBuf::from(entry.file_name()));
    let pages = beside_manifest.filter(|path| path.extension().is_some_and(|e| e == "md"));
    pages.map(|path| path.display().to_string()).chain(files_under("docs", "md")).collect()
}

/// Relative targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|t| t.split('#').next().unwrap_or_default()).filter(|t| !t.is_empty() && !t.contains("://"))
}

/// Whole words in back quotes that are paths into the repository, without patterns.
fn source_paths(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let folders = ["src/", "tests/", "rules/", "docs/", "templates/", "migrations/", ".ci/"];
    quoted.filter(move |word| {
        let ours = folders.iter().any(|folder| word.starts_with(folder));
        ours && !word.contains(['*', '{', '<', ' ', '…']) && !word.contains("NAME") && !word.contains("NNNN")
    })
}
