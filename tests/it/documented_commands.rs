//! The commands that documents show are run, on a small prepared shop, as a reader would type them into a shell: every
//! `sh` block of README.md and the guides that begins with `rekindle`, `cargo run` or `curl`; the last with a daemon behind
//! it. A `text` block right below one is what it prints; `UPDATE=1 ./test documents` rewrites it.
//!
//! A block that cannot be run here is preceded by `<!-- not run: why -->`, one that is to end with another exit code than 0
//! by `<!-- exits 1 -->`. In an output, `...` on a line of its own stands for any number of lines.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::not_run::not_run;
use crate::prepared_shop::PreparedShop;
use crate::real_daemon::RealDaemon;
use crate::repository::{ROOT, files_under, page};

/// One block of a document.
struct Block {
    /// Its first line's number.
    line: usize,
    code: String,
    not_run: Option<String>,
    exit_code: i32,
    output: Option<String>,
}

fn documents() -> Vec<String> {
    ["README.md".to_owned()].into_iter().chain(files_under("docs/guide", "md")).collect()
}

/// The `sh` blocks of `text` that this test is about.
fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut n = 0;
    while n < lines.len() {
        let start = n;
        n += 1;
        if lines[start] != "```sh" {
            continue;
        }
        let end = start + 1 + lines[start + 1..].iter().position(|l| *l == "```").expect("the block ends");
        n = end + 1;
        let code = lines[start + 1..end].join("\n");
        if !["rekindle", "cargo run", "curl"].iter().any(|program| code.starts_with(program)) {
            continue;
        }
        let line_before = lines[..start].iter().rev().find(|l| !l.trim().is_empty()).copied().unwrap_or_default();
        let marked =
            |what: &str| line_before.strip_prefix(what)?.strip_suffix("-->").map(|rest| rest.trim().to_owned());
        let output = (lines.get(end + 1) == Some(&"") && lines.get(end + 2) == Some(&"```text")).then(|| {
            let below = lines[end + 3..].iter().take_while(|l| **l != "```");
            below.copied().collect::<Vec<_>>().join("\n")
        });
        let exit_code = marked("<!-- exits ").map_or(0, |code| code.parse().expect("a number"));
        blocks.push(Block { line: start + 1, code, not_run: marked("<!-- not run: "), exit_code, output });
    }
    blocks
}

#[tokio::test]
async fn the_commands_in_the_documents_do_what_they_say() {
    let shop = PreparedShop::open().await;
    let update = std::env::var_os("UPDATE").is_some();
    let mut problems = Vec::new();
    for document in documents() {
        let text = page(&document);
        let blocks: Vec<Block> = blocks(&text).into_iter().filter(|block| block.not_run.is_none()).collect();
        if blocks.is_empty() {
            continue;
        }
        // Every document has the shop for itself, so what one changes does not surprise the next.
        let folder = workplace(&shop);
        let mut updated = text.clone();
        for block in blocks {
            let daemon = block.code.contains(ADDRESS).then(|| daemon(&folder));
            let code = match &daemon {
                Some(daemon) => block.code.replace(ADDRESS, &daemon.address().to_string()),
                None => block.code.clone(),
            };
            let (code, out, err) = run(&folder, &shop.known(&code));
            if code != Some(block.exit_code) {
                problems.push(format!("{document}:{}: exit code {code:?}\n{}\n{out}{err}", block.line, block.code));
                continue;
            }
            let Some(expected) = &block.output else { continue };
            if agree(&normal(expected), &normal(&out)) {
                continue;
            }
            let below = |output: &str| format!("{}\n```\n\n```text\n{}\n```", block.code, output.trim_end());
            if update && !expected.lines().any(|line| line == "...") {
                updated = updated.replace(&below(expected), &below(&out));
            } else {
                problems.push(format!("{document}:{}: prints\n{out}\nnot\n{expected}", block.line));
            }
        }
        if updated != text {
            fs::write(Path::new(ROOT).join(&document), updated).unwrap();
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n\n"));
}

/// So that nobody has to wonder how much of the documents is held to anything.
#[test]
fn commands_of_documents_that_are_not_run_are_counted() {
    let of = |document: &String| -> Vec<(bool, String)> {
        let shown = |b: Block| (b.not_run.is_some(), b.not_run.unwrap_or_default());
        blocks(&page(document)).into_iter().map(shown).collect()
    };
    let all: Vec<(bool, String)> = documents().iter().flat_map(of).collect();
    let mut reasons: Vec<&str> = all.iter().filter(|(skipped, _)| *skipped).map(|(_, why)| why.as_str()).collect();
    assert!(reasons.iter().all(|why| why.len() > 10), "say why a block cannot be run");
    assert!(all.len() > 10, "the blocks are found");
    let n = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    if n > 0 {
        not_run(&format!("{n} of {} blocks of commands in the documents", all.len()), &reasons.join("; "));
    }
}

/// A folder as a reader of the documents has it: the repository's examples, the files that they speak of, the shop's data.
fn workplace(shop: &PreparedShop) -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    copy_all(shop.folder(), folder.path());
    copy_all(&Path::new(ROOT).join("docs/guide/examples"), &path("docs/guide/examples"));
    let fixture = |name: &str| fs::read(Path::new(ROOT).join("tests/fixtures/import").join(name)).unwrap();
    for (name, content) in [
        ("online_retail.csv.gz", "online_retail.csv"),
        ("cdnow_master.csv.gz", "cdnow.csv"),
        ("orders.csv.gz", "online_retail.csv"),
    ] {
        let mut file = GzEncoder::new(File::create(path(name)).unwrap(), Compression::fast());
        file.write_all(&fixture(content)).unwrap();
        file.finish().unwrap();
    }
    let example = fs::read_to_string(path("docs/guide/examples/online_retail.toml")).unwrap();
    fs::write(path("shop.toml"), example.replace("../../../", "")).unwrap();
    // The demo leaves a folder of the same form.
    fs::create_dir_all(path("demo-data")).unwrap();
    let config = fs::read_to_string(path("config.toml")).unwrap();
    let config = config.replace("= \"rules\"", "= \"../rules\"").replace("= \"templates\"", "= \"../templates\"");
    fs::write(path("demo-data/config.toml"), config.replace("\"rekindle-data", "\"../rekindle-data")).unwrap();
    let bin = path("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_rekindle"), bin.join("the-program")).unwrap();
    script(&bin.join("rekindle"), REKINDLE);
    script(&bin.join("cargo"), CARGO);
    folder
}

/// Where the daemon of the documents listens.
const ADDRESS: &str = "127.0.0.1:7700";

/// A daemon for the commands that talk to one, where nobody else listens.
fn daemon(folder: &TempDir) -> RealDaemon {
    let settings = ["env", "REKINDLE__HTTP__LISTEN=127.0.0.1:0", "REKINDLE__STORE__BALLAST_MB=0"];
    RealDaemon::start_under(&settings.map(OsStr::new), folder.path(), &[])
}

/// `rekindle run` goes on until it is stopped: here it is, as soon as it says that it runs.
const REKINDLE: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1" in
run)
  "$here/the-program" "$@" 2>"$here/log" & daemon=$!
  until grep -q "rekindle is running" "$here/log"; do
    kill -0 $daemon 2>/dev/null || { cat "$here/log" >&2; exit 1; }
    sleep 0.02
  done
  kill -TERM $daemon
  wait $daemon ;;
*) exec "$here/the-program" "$@" ;;
esac
"#;

/// `cargo run --release -- check` is `rekindle check`.
const CARGO: &str =
    "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$(dirname \"$0\")/rekindle\" \"$@\"\n";

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn run(folder: &TempDir, code: &str) -> (Option<i32>, String, String) {
    let code = format!("export PATH=\"$PWD/bin:$PATH\"\n{code}");
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", &code])
        .current_dir(folder.path())
        .env("REKINDLE__HTTP__LISTEN", "127.0.0.1:0")
        .env("REKINDLE__STORE__BALLAST_MB", "0")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Line by line, without what differs from run to run: ids, hashes, dates, seconds, and the widths of columns.
fn normal(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_seconds = |n: usize| words.get(n + 1) == Some(&"s") && words[n].parse::<f64>().is_ok();
        let normal = |(n, text): (usize, &&str)| if is_seconds(n) { "N".to_owned() } else { word(text) };
        words.iter().enumerate().map(normal).collect::<Vec<_>>().join(" ")
    };
    text.trim_end().lines().map(line).collect()
}

fn word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '…');
    let is_id = core.split_once('_').is_some_and(|(kind, rest)| {
        kind.len() == 3 && (rest == "…" || (rest.len() == 26 && rest.chars().all(|c| c.is_ascii_alphanumeric())))
    });
    let is_hash = core.len() == 16 && core.chars().all(|c| c.is_ascii_hexdigit());
    let has = |mark: char, n: usize| core.matches(mark).count() == n && core.starts_with(|c: char| c.is_ascii_digit());
    let replacement = match () {
        () if is_id => format!("{}_…", &core[..3]),
        () if is_hash => "HASH".to_owned(),
        () if has('-', 2) => "DATE".to_owned(),
        () if has(':', 2) => "TIME".to_owned(),
        () => return word.to_owned(),
    };
    word.replace(core, &replacement)
}

/// Whether `found` is what was `expected`, in which `...` stands for any lines.
fn agree(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => (0..=found.len()).any(|skipped| agree(rest, &found[skipped..])),
        Some((first, rest)) => found.first() == Some(first) && agree(rest, &found[1..]),
    }
}
