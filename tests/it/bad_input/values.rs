//! Values that no sender should send, through the daemon's door and into its books.

use jiff::{SignedDuration, Timestamp};
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::names;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{CustomerState, ProfileStore};

use crate::real_daemon::installation::Installation;
use crate::rules::on_order;
use crate::until::until;

/// An order of `user` with this text as its properties.
fn order(user: &str, properties: &str) -> String {
    format!(r#"{{"type":"track","userId":"{user}","event":"Order Completed","properties":{{{properties}}}}}"#)
}

async fn customer(installation: &Installation, user: &str) -> CustomerState {
    let files = SqliteFiles::open(&installation.path("data"), Access::Look).await.unwrap();
    let handle = Identity::new(IdentityKind::UserId, user).unwrap();
    let id = files.store.find_identities(std::slice::from_ref(&handle)).await.unwrap()[&handle];
    files.store.load_customers(&[id]).await.unwrap().remove(&id).unwrap()
}

#[tokio::test]
async fn strange_values_are_kept_or_put_aside_and_deciding_goes_on() {
    let rule = on_order("if customer.last_name == \"last\" { task(\"decided\"); }");
    let installation = Installation::new("", &[("thanks.rhai", &rule)]);
    let daemon = installation.start();
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let long = "9".repeat(400);
    let items = [
        // Kept.
        order("zero", r#""order_id":"1","total":-0"#),
        order("tiny", r#""order_id":"1","total":1e-400"#),
        order("twice", r#""order_id":"1","total":1,"total":2"#),
        order("most", r#""order_id":"1","total":999999999999"#),
        order("most", r#""order_id":"2","total":999999999999"#),
        order("digits", r#""order_id":"1","total":5,"number":12345678901234567890123"#),
        // As deep as JSON is read at all: what is wrapped once more could not be read back.
        format!(r#"{{"type":"group","userId":"group","groupId":"g","traits":{{"t":{}}}}}"#, nested(120)),
        format!(r#"{{"type":"identify","userId":"deep","traits":{{"t":{}}}}}"#, nested(120)),
        format!(r#"{{"type":"identify","userId":"deepest","traits":{{"t":{}}}}}"#, nested(10_000)),
        order("big", r#""total":1e400"#),
        order("long", &format!(r#""total":{long}"#)),
        order("beyond", r#""total":99999999999999999999"#),
        order("words", r#""total":"a lot""#),
        order("half", r#""note":"\ud800""#),
        order("nul", r#""note":"a\u0000b""#),
        r#"{"type":"track","userId":"u","event":"a\u001b[2Jb"}"#.to_owned(),
        format!(r#"{{"type":"identify","userId":"last","traits":{{"last_name":"last","t":{}}}}}"#, nested(31)),
        order("last", r#""order_id":"1","total":1"#),
    ];
    for item in &items {
        assert_eq!(daemon.post("/v1/batch", format!(r#"{{"batch":[{item}]}}"#)).await, 200, "{item}");
    }
    assert_eq!(installation.tasks(1).await, ["decided"]);
    let expected = [("bad_amount", 2), ("bad_field", 1), ("bad_json", 4), ("nul_in_text", 1), ("too_deep", 2)]
        .map(|(r, n)| (r.to_owned(), n));
    assert_eq!(installation.quarantined().await, expected);
    let eur = "EUR".parse().unwrap();
    for (user, net) in [("zero", 0), ("tiny", 0), ("twice", 200), ("most", 199_999_999_999_800), ("digits", 500)] {
        assert_eq!(customer(&installation, user).await.profile.orders.net_minor(eur), net, "{user}");
    }
    // What is in the books can be read by whoever comes next.
    daemon.stop().await;
    let daemon = installation.start();
    daemon.post("/v1/batch", format!(r#"{{"batch":[{}]}}"#, order("last", r#""order_id":"2","total":1"#))).await;
    assert_eq!(installation.tasks(2).await.len(), 2);
}

#[tokio::test]
async fn nobodys_last_order_lies_in_1970_or_2100() {
    let mapping = "[[sources]]\nname = \"orders\"\nkind = \"csv\"\n[sources.mapping]\nevent = \"Order Completed\"\n\
                   time = \"day\"\nidentities = { user_id = \"who\" }\n\
                   [[sources]]\nname = \"messages\"\nkind = \"jsonl\"\n";
    let installation = Installation::new(mapping, &[]);
    let tomorrow = (installation_clock() + SignedDuration::from_hours(20)).to_string();
    let years = ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"];
    let good = ["2019-05-05T10:00:00Z", &tomorrow];

    let rows: Vec<String> = years.iter().chain(&good).map(|at| format!("{at},csv")).collect();
    std::fs::write(installation.path("orders.csv"), format!("day,who\n{}\n", rows.join("\n"))).unwrap();
    let lines = years.iter().chain(&good).map(|at| {
        format!(r#"{{"type":"track","userId":"jsonl","event":"Order Completed","timestamp":"{at}"}}"#) + "\n"
    });
    std::fs::write(installation.path("messages.jsonl"), lines.collect::<String>()).unwrap();
    for (source, file) in [("orders", "orders.csv"), ("messages", "messages.jsonl")] {
        let file = installation.path(file).display().to_string();
        installation.said(&["import", "--source", source, "--file", &file]);
    }
    let http = years
        .iter()
        .chain(&good)
        .map(|at| format!(r#"{{"type":"track","userId":"http","event":"Order Completed","timestamp":"{at}"}}"#));
    let daemon = installation.start();
    let batch = format!(r#"{{"batch":[{}]}}"#, http.collect::<Vec<_>>().join(","));
    assert_eq!(daemon.post("/v1/batch", batch).await, 200);
    until("two events are accepted", async || daemon.metrics().await.contains("accepted_total 2")).await;

    assert_eq!(installation.quarantined().await, [("bad_time".to_owned(), 12)]);
    for user in ["csv", "jsonl", "http"] {
        let last = customer(&installation, user).await.profile.last_at(names::ORDER_COMPLETED).unwrap();
        assert!(last.to_jiff() <= installation_clock(), "{user}: {last}");
    }
}

/// The machine's clock, which the daemon lives by.
#[expect(clippy::disallowed_methods, reason = "the daemon under test reads the same clock")]
fn installation_clock() -> Timestamp {
    Timestamp::now()
}
