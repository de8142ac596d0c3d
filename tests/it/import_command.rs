//! `rekindle import` as it is run: the real binary, real files, and a real kill.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::tz::TimeZone;
use rekindle::domain::clock::Business;
use rekindle::domain::profile::Profile;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Log, ReadStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::not_run::data_set;
use crate::until::until;

/// Net revenue of Online Retail: what was paid less what went back, each invoice summed exactly and rounded once. Computed
/// independently from the rows (see `tests/it/connectors.rs` for the parts).
const NET_PENCE: i64 = 973_706_901;

/// A copy of a shipped example whose data folder lies in `dir`.
fn example(name: &str, dir: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/guide/examples").join(name)).unwrap();
    let text = text.replace("\"../../../", &format!("\"{}/", root.display()));
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn command(config: &Path, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(["import", "--json", "--config"]).arg(config).arg("--file").arg(file).stdin(Stdio::null());
    command
}

fn import(config: &Path, file: &Path) -> Value {
    let output = command(config, file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What all stored events come to, whoever's they are: orders and net revenue in minor units.
async fn books(data: &Path, currency: &str) -> (usize, i64) {
    let files = SqliteFiles::open(data, Access::Look).await.unwrap();
    let business = Business { zone: TimeZone::UTC, currency: currency.parse().unwrap() };
    let events = files.store.scan_events(0, usize::MAX).await.unwrap();
    let all = Profile::fold(events.iter().map(|(_, event)| event), &business);
    (all.orders.placed().count(), all.orders.net_minor(business.currency))
}

#[tokio::test]
async fn a_year_of_real_invoices_is_in_the_books_to_the_penny_and_twice_is_once() {
    let Some(file) = data_set("import of Online Retail", "online_retail.csv.gz") else { return };
    let dir = TempDir::new().unwrap();
    let config = example("online_retail.toml", dir.path());
    let report = import(&config, &file);
    let number = |report: &Value, key: &str| report[key].as_u64().unwrap();
    assert_eq!(number(&report, "rows"), 541_909);
    assert_eq!(number(&report, "duplicate_rows"), 5_268);
    assert_eq!(
        report["quarantined_by_reason"],
        serde_json::json!({"not_a_sale": 3, "stock_adjustment": 1336, "zero_price": 1174})
    );
    assert_eq!((number(&report, "orders"), number(&report, "refunds")), (19_960, 3_836));
    let data = dir.path().join("online_retail-data");
    let first = books(&data, "GBP").await;
    // One invoice stands in two places of the file and is one order.
    assert_eq!(first, (19_959, NET_PENCE));

    // The same data under another name: read again from the start, and nothing of it is new.
    let elsewhere = dir.path().join("the same.csv.gz");
    fs::copy(&file, &elsewhere).unwrap();
    let again = import(&config, &elsewhere);
    assert_eq!((number(&again, "rows"), number(&again, "new_events")), (541_909, 0));
    assert_eq!(books(&data, "GBP").await, first);
}

/// An export with the columns of Online Retail, of invented invoices.
fn invented_invoices(path: &Path, n_invoices: u32) -> (usize, i64) {
    let mut text = String::from("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n");
    let mut pence = 0;
    for n in 0..n_invoices {
        for line in 0..6 {
            let (quantity, price) = (1 + (n + line) % 7, 101 + n % 900);
            pence += i64::from(quantity * price);
            let (day, customer) = (1 + n % 28, n % 211);
            let at = format!("2011-05-{day:02} 10:{:02}:00", n % 60);
            let price = format!("{}.{:02}", price / 100, price % 100);
            writeln!(text, "{},S{line},THING {line},{quantity},{at},{price},{customer},Utopia", 500_000 + n).unwrap();
        }
    }
    fs::write(path, text).unwrap();
    (n_invoices as usize, pence)
}

#[tokio::test]
async fn an_import_killed_in_the_middle_goes_on_and_counts_everything_once() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("invoices.csv");
    let expected = invented_invoices(&file, 12_000);
    let config = example("online_retail.toml", dir.path());
    let data = dir.path().join("online_retail-data");

    let mut n_killed_midway = 0;
    for n_batches in [1, 3] {
        let mut running = command(&config, &file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("so many batches are in the log, or it is through", async || {
            running.try_wait().unwrap().is_some() || log_end(&data).await >= n_batches * 2_000
        })
        .await;
        running.kill().unwrap();
        running.wait().unwrap();
        n_killed_midway += usize::from(log_end(&data).await < 12_000);
    }
    assert!(n_killed_midway > 0, "the import was always faster than the kill; give it more to do");
    let report = import(&config, &file);
    assert_eq!(books(&data, "GBP").await, expected);
    assert_eq!(report["quarantined"], 0);
}

async fn log_end(data: &Path) -> i64 {
    // Not there yet, or just being made: nothing was written.
    match SqliteFiles::open(data, Access::Look).await {
        Ok(files) => files.log.end().await.unwrap_or(0),
        Err(_) => 0,
    }
}

#[test]
fn what_is_wrong_with_an_import_is_said_clearly() {
    let dir = TempDir::new().unwrap();
    let config = example("online_retail.toml", dir.path());
    let said = |file: &Path| {
        let output = command(&config, file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = said(&dir.path().join("no such file.csv"));
    assert!(missing.contains("no such file.csv"), "{missing}");
    let other = dir.path().join("other.csv");
    fs::write(&other, "Invoice,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n").unwrap();
    let wrong = said(&other);
    assert!(wrong.contains("InvoiceNo") && wrong.contains("did you mean"), "{wrong}");
}
