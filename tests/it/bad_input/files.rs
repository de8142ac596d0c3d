//! Files that nobody should hand in, through the real `rekindle import`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::real_daemon::installation::Installation;

const SOURCES: &str = "[[sources]]\nname = \"orders\"\nkind = \"csv\"\n[sources.mapping]\nevent = \"Order Completed\"\n\
                       time = \"day\"\ntotal = \"amount\"\nidentities = { user_id = \"who\" }\ntraits = { city = \"city\" }\n\
                       [[sources]]\nname = \"messages\"\nkind = \"jsonl\"\n";
const HEADER: &str = "day,who,amount,city\n";

fn import(installation: &Installation, source: &str, file: &str) -> Value {
    let file = installation.path(file).display().to_string();
    let said = installation.said(&["import", "--json", "--source", source, "--file", &file]);
    serde_json::from_str(&said).unwrap()
}

/// The most memory that the import took, in KiB, and what it reported.
fn import_watched(installation: &Installation, source: &str, file: &Path) -> (u64, Value) {
    let file = file.display().to_string();
    let mut command = installation.command(&["import", "--json", "--source", source, "--file", &file]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most = most.max(peak.and_then(|n| n.trim().parse().ok()).unwrap_or(0));
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    (most, serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_line_of_100_megabytes_and_a_gzip_bomb_are_put_aside_in_little_memory() {
    let installation = Installation::new(SOURCES, &[]);
    let endless = vec![b'x'; 1 << 20];
    let write = |to: &mut dyn Write, first: &str, last: &str| {
        to.write_all(first.as_bytes()).unwrap();
        for _ in 0..100 {
            to.write_all(&endless).unwrap();
        }
        to.write_all(b"\n").unwrap();
        to.write_all(last.as_bytes()).unwrap();
    };
    let csv = installation.path("orders.csv");
    let rows = (format!("{HEADER}2026-03-01,a,1,Bonn\n"), "2026-03-01,b,1,Bonn\n");
    write(&mut BufWriter::new(File::create(&csv).unwrap()), &rows.0, rows.1);
    let bomb = installation.path("messages.jsonl.gz");
    let line =
        |user: &str| format!("{{\"type\":\"page\",\"userId\":\"{user}\",\"timestamp\":\"2026-03-01T09:00:00Z\"}}\n");
    let mut gzip = GzEncoder::new(File::create(&bomb).unwrap(), Compression::best());
    write(&mut gzip, &line("a"), &line("b"));
    gzip.finish().unwrap();
    assert!(fs::metadata(&bomb).unwrap().len() < 200_000);

    for (source, file) in [("orders", &csv), ("messages", &bomb)] {
        let (n_kib, report) = import_watched(&installation, source, file);
        assert_eq!((&report["events"], &report["quarantined"]), (&2.into(), &1.into()), "{report}");
        assert_eq!(report["quarantined_by_reason"]["line_too_long"], 1, "{report}");
        assert!(n_kib > 0 && n_kib < 90 * 1024, "{source} took {n_kib} KiB for a line of 100 MiB");
    }
}

#[test]
fn a_file_in_another_encoding_is_told_which_one_it_must_have() {
    let installation = Installation::new(SOURCES, &[]);
    let latin_1 = [HEADER.as_bytes(), b"2026-03-01,a,1,K\xf6ln\n2026-03-01,b,1,Bonn\n2026-03-01,c,1,\xff\n"].concat();
    fs::write(installation.path("orders.csv"), latin_1).unwrap();
    let report = import(&installation, "orders", "orders.csv");
    assert_eq!((&report["events"], &report["quarantined_by_reason"]["not_utf8"]), (&1.into(), &2.into()), "{report}");

    for (mark, of) in [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)] {
        let text: Vec<u8> = HEADER.encode_utf16().flat_map(of).collect();
        fs::write(installation.path("utf16.csv"), [&mark[..], &text].concat()).unwrap();
        let file = installation.path("utf16.csv").display().to_string();
        let (code, said) = installation.refused(&["import", "--source", "orders", "--file", &file]);
        assert!(code == Some(1) && said.contains("is written in UTF-16") && said.contains("iconv"), "{said}");
    }
}

#[tokio::test]
async fn json_lines_hold_to_the_rules_of_http() {
    let installation = Installation::new(SOURCES, &[]);
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let message = |user: &str, properties: &str| {
        format!(
            "{{\"type\":\"track\",\"event\":\"E\",\"userId\":\"{user}\",\"timestamp\":\"2026-03-01T09:00:00Z\",\"properties\":{{{properties}}}}}\n"
        )
    };
    let lines = [
        message("good", r#""n":-0"#),
        message("twice", r#""n":1,"n":2"#),
        message("deep", &format!(r#""n":{}"#, nested(100))),
        message("deepest", &format!(r#""n":{}"#, nested(10_000))),
        message("big", r#""n":1e400"#),
        message("half", r#""n":"\ud800""#),
        message("nul", r#""n":"\u0000""#),
        "[1]\n".to_owned(),
        "{\"type\":\n".to_owned(),
    ];
    fs::write(installation.path("messages.jsonl"), lines.concat()).unwrap();
    let report = import(&installation, "messages", "messages.jsonl");
    assert_eq!((&report["events"], &report["quarantined"]), (&2.into(), &7.into()), "{report}");
    let expected = [("bad_json", 4), ("not_an_object", 1), ("nul_in_text", 1), ("too_deep", 1)];
    assert_eq!(installation.quarantined().await, expected.map(|(reason, n)| (reason.to_owned(), n)));
}

#[tokio::test]
async fn a_nul_in_a_cell_puts_its_row_aside_by_the_rule_of_all_doors() {
    let installation = Installation::new(SOURCES, &[]);
    let rows = format!("{HEADER}2026-03-01,a,1,Bo\0nn\n2026-03-01,b,1,Bonn\n");
    fs::write(installation.path("orders.csv"), rows).unwrap();
    let report = import(&installation, "orders", "orders.csv");
    assert_eq!((&report["events"], &report["quarantined"], &report["new_events"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(installation.quarantined().await, [("nul_in_text".to_owned(), 1)]);
}
