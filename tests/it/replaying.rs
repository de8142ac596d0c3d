//! Records that were put aside: looked at, read again after the mapping was changed, dropped.

use std::path::Path;

use rekindle::domain::event::names;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{Columns, ProfileStore, ReadStore};
use serde_json::json;
use tempfile::TempDir;

use crate::keeping::{well, well_json, wrong};

const ORDERS: &str = "\
invoice,item,quantity,price,day,customer,mail,state
1,Tea,2,3.00,2026-01-05,7,seven@example.com,done
1,Pot,1,20.00,2026-01-05,7,seven@example.com,open
2,Cup,4,5.00,2026-01-05,8,eight@example.com,open
2,Jug,1,9.00,2026-01-05,8,eight@example.com,open
3,Free,1,0.00,2026-01-06,9,nine@example.com,done
";

const OPEN: &str = r#"{ when = { column = "state", equals = "open" }, reason = "open", message = "not paid yet" }, "#;

fn configure(folder: &Path, aside: &str) {
    let text = format!(
        r#"
[business]
name = "Shop"
time_zone = "Europe/Berlin"
currency = "EUR"
[store]
kind = "sqlite"
path = "data"
[files]
rules = "rules"
templates = "templates"
[[sources]]
name = "orders"
kind = "csv"
path = "orders.csv"
[sources.mapping]
group_by = "invoice"
event = "Order Completed"
time = {{ column = "day" }}
identities = {{ user_id = "customer", email = "mail" }}
properties = {{ order_id = "invoice" }}
products = {{ name = "item", quantity = "quantity", price = "price" }}
quarantine = [{aside}{{ when = {{ column = "price", equals = 0 }}, reason = "free", message = "nothing was paid" }}]
"#
    );
    std::fs::write(folder.join("config.toml"), text).unwrap();
}

async fn orders(folder: &Path) -> (u64, i64) {
    let files = SqliteFiles::open(&folder.join("data"), Access::Look).await.unwrap();
    let n = files.store.event_counts().await.unwrap().get(names::ORDER_COMPLETED).copied().unwrap_or(0);
    let everybody = files.store.scan_customers(Columns::All, None, None, 100).await.unwrap();
    let eur = "EUR".parse().unwrap();
    let net = everybody.iter().map(|c| c.profile.orders.net_minor(eur)).sum();
    files.close().await;
    (n, net)
}

#[tokio::test]
async fn after_the_mapping_was_corrected_rows_are_read_again_and_count_once() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    for name in ["rules", "templates"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("orders.csv"), ORDERS).unwrap();
    configure(folder, OPEN);
    well(folder, &["import"]);
    assert_eq!(orders(folder).await, (1, 600), "order 1 without its second line");
    let counts =
        json!([{ "source": "orders", "reason": "free", "n": 1 }, { "source": "orders", "reason": "open", "n": 3 }]);
    assert_eq!(well_json(folder, &["quarantine", "list", "--count", "--json"]), counts);
    let first = well_json(folder, &["quarantine", "list", "--json", "--limit", "3"]);
    let rest = well_json(folder, &["quarantine", "list", "--json", "--after", first["next"].as_str().unwrap()]);
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (3, 1));
    let free = well_json(folder, &["quarantine", "list", "--reason", "free", "--json"]);
    let shown = well(folder, &["quarantine", "show", &free["items"][0]["key"].as_str().unwrap()[..10]]);
    assert!(
        shown.contains("3,Free,1,0.00,2026-01-06,9,nine@example.com,done") && shown.contains("orders.csv:6"),
        "{shown}"
    );

    let before = wrong(folder, &["quarantine", "replay"]);
    assert!(before.contains("0 records became 0 events") && before.contains("4 records stay aside"), "{before}");
    configure(folder, "");
    let after = wrong(folder, &["quarantine", "replay", "--source", "orders"]);
    assert!(after.contains("3 records became 2 events") && after.contains("free: nothing was paid"), "{after}");
    // The line joins its order as a further part; order 2, of which nothing was known, is whole.
    assert_eq!(orders(folder).await, (3, 600 + 2_000 + 2_900));
    let customers = well_json(folder, &["customers", "show", "7", "--json"]);
    assert_eq!(customers["profile"]["orders"]["1"]["parts"].as_object().unwrap().len(), 2);
    // Neither a second replay nor the whole file once more counts anything again.
    wrong(folder, &["quarantine", "replay"]);
    well(folder, &["import", "--from-start"]);
    assert_eq!(orders(folder).await, (3, 600 + 2_000 + 2_900));

    assert!(wrong(folder, &["quarantine", "drop"]).contains("say which"));
    assert!(wrong(folder, &["quarantine", "drop", "--reason", "free"]).contains("1 records would be dropped"));
    assert!(well(folder, &["quarantine", "drop", "--reason", "free", "--yes"]).contains("1 records dropped"));
    assert!(well(folder, &["rebuild", "--check"]).contains("everything is as it is stored"));
}
