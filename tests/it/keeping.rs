//! What an operator changes or saves, with the real binary beside a daemon and without one.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::DeliveryState;
use rekindle::domain::event::names;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{DeliveryFilter, ProfileStore, ReadStore};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

use crate::real_daemon::{RealDaemon, program};
use crate::rules::on_order;
use crate::world::{DAY, World};

pub(crate) fn rekindle(folder: &Path, args: &[&str]) -> Output {
    program(folder, args).output().unwrap()
}

/// Its output, where it must go well.
pub(crate) fn well(folder: &Path, args: &[&str]) -> String {
    let output = rekindle(folder, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn well_json(folder: &Path, args: &[&str]) -> Value {
    let text = well(folder, args);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}

/// What it says when it finds something wrong.
pub(crate) fn wrong(folder: &Path, args: &[&str]) -> String {
    let output = rekindle(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn close(world: &mut World) {
    world.engine.take().unwrap().close().await;
}

async fn tamper(folder: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("data/store.db"));
    let mut connection = options.connect().await.unwrap();
    assert!(sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected() > 0);
    connection.close().await.unwrap();
}

/// Ada with an order, somebody at a browser, and two who were joined by an event.
async fn shop() -> World {
    let mut world = World::with_rules(&[("thanks.rhai", &on_order("task(\"say thanks\");"))]).await;
    for user in ["ada", "bob"] {
        world.consenting(user).await;
        world.happens(user, names::ORDER_COMPLETED, json!({ "order_id": user, "total": 12.5 })).await;
    }
    let mut visit = world.fact("x", "Product Viewed", json!({ "category": "Books" }));
    visit.identities = vec![Identity::new(IdentityKind::AnonymousId, "browser").unwrap()];
    let mut known = world.fact("bob", names::IDENTIFIED, json!({}));
    known.identities.extend(visit.identities.clone());
    world.ingest(vec![visit]).await;
    world.ingest(vec![known]).await;
    world
}

#[tokio::test]
async fn what_is_derived_again_is_what_was_derived_live_also_with_merges_and_undone_ones() {
    let mut world = shop().await;
    close(&mut world).await;
    let folder = world.dir.path().to_owned();
    well(&folder, &["merges", "join", "ada", "bob"]);
    let listed = well_json(&folder, &["merges", "list", "--customer", "ada", "--json"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let absorbed = listed["items"][0]["absorbed"].as_str().unwrap().to_owned();
    well(&folder, &["merges", "undo", &absorbed]);
    // And one that an event made.
    let by_event = well_json(&folder, &["merges", "list", "--customer", "bob", "--json"]);
    well(&folder, &["merges", "undo", by_event["items"][0]["event"].as_str().unwrap()]);
    assert!(well(&folder, &["rebuild", "--check"]).contains("everything is as it is stored"));
    world.start().await;
    assert!(well(&folder, &["rebuild", "--check"]).contains("everything is as it is stored"), "beside a daemon");
    assert!(wrong(&folder, &["rebuild"]).contains("in use"));
    assert!(!folder.join("data/rebuild").exists());
}

#[tokio::test]
async fn a_rebuild_names_what_differs_puts_it_right_and_sends_nothing() {
    let mut world = shop().await;
    let ledger = world.ledger().await;
    close(&mut world).await;
    let folder = world.dir.path().to_owned();
    let falsify = "UPDATE customers SET profile = json_set(profile, '$.traits.first_name.value', 'Eve')
                   WHERE profile ->> '$.traits.first_name.value' = 'ada'";
    tamper(&folder, falsify).await;
    tamper(
        &folder,
        "UPDATE identities SET customer = (SELECT customer FROM identities WHERE value = 'bob') WHERE value = 'ada'",
    )
    .await;
    tamper(&folder, "UPDATE deliveries SET customer = (SELECT customer FROM identities WHERE value = 'bob')").await;
    let found = wrong(&folder, &["rebuild", "--check"]);
    assert!(found.contains("profile.traits.first_name.value: stored \"Eve\", derived \"ada\""), "{found}");
    assert!(found.contains("handle user_id ada belongs to: stored cus_"), "{found}");
    assert!(found.contains("delivery dlv_") && found.contains("nothing was changed"), "{found}");
    let again = wrong(&folder, &["rebuild"]);
    assert!(again.contains("now as derived"), "{again}");
    assert!(well(&folder, &["rebuild", "--check", "--json"]).contains("\"equal\": true"));
    world.start().await;
    assert_eq!(world.ledger().await, ledger, "the ledger is as it was");
    assert_eq!(world.customer("ada").await.profile.trait_text("first_name"), Some("ada"));
}

#[tokio::test]
async fn joining_is_previewed_nonsense_is_refused_and_what_it_takes_is_told() {
    let mut world = shop().await;
    close(&mut world).await;
    let folder = world.dir.path().to_owned();
    let preview = well_json(&folder, &["merges", "preview", "ada", "bob", "--json"]);
    assert_eq!(preview["joined"]["n_orders"], 2);
    assert_eq!(preview["joined"]["net_revenue_minor"], 2_500);
    assert_eq!(preview["ledger_that_follows"]["deliveries"], 1);
    let conflicts = preview["conflicts"].as_array().unwrap();
    let name = conflicts.iter().find(|c| c["what"] == "first_name").unwrap();
    assert_eq!(name["holds"], "bob", "the newer statement holds");
    assert!(preview["warnings"][0].as_str().unwrap().contains("your own numbering says that these are two"));
    assert!(wrong(&folder, &["merges", "preview", "ada", "ada"]).contains("one customer already"));
    assert!(wrong(&folder, &["merges", "preview", "ada", "nobody"]).contains("nobody is known as `nobody`"));
    assert!(wrong(&folder, &["merges", "undo", "ada"]).contains("nobody was merged into"));
    let joined = well_json(&folder, &["merges", "join", "ada", "bob", "--json"]);
    assert_eq!((&joined["carried_out"], &joined["joined"]), (&json!(true), &preview["joined"]));
    // Bob brought a browser along, so it must be said which of the two is to be parted.
    assert!(wrong(&folder, &["merges", "undo", "ada"]).contains("2 customers were merged into"));
    let absorbed = joined["absorbed"]["customer"].as_str().unwrap();
    let parted = well_json(&folder, &["merges", "undo", absorbed, "--preview", "--json"]);
    let n_events = parted["customers"].as_array().unwrap().iter().map(|c| c["n_events"].as_u64().unwrap());
    let mut n_events: Vec<u64> = n_events.collect();
    n_events.sort_unstable();
    assert_eq!((n_events, &parted["stated"]), (vec![3, 5], &json!(false)));
}

#[tokio::test]
async fn a_running_daemon_takes_up_what_an_operator_states_beside_it() {
    let mut world = shop().await;
    close(&mut world).await;
    let folder = world.dir.path().to_owned();
    let anywhere = ["env", "REKINDLE__HTTP__LISTEN=127.0.0.1:0"].map(OsStr::new);
    let _daemon = RealDaemon::start_under(&anywhere, &folder, &[]).listening();
    let said = well(&folder, &["merges", "join", "ada", "bob"]);
    assert!(said.contains("the running daemon has taken it up"), "{said}");
    let listed = well_json(&folder, &["merges", "list", "--json", "--limit", "1"]);
    assert_eq!(listed["items"][0]["source"], "operator");
    let next = listed["next"].as_str().unwrap();
    let rest = well_json(&folder, &["merges", "list", "--json", "--after", next]);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1, "{rest}");
    let both = well_json(&folder, &["merges", "list", "--json", "--limit", "2"]);
    assert_eq!(both["next"], Value::Null, "a page that is just full is the last one");
    // A task is taken off the list and put back, all beside the daemon.
    let tasks = well_json(&folder, &["tasks", "list", "--json"]);
    let task = tasks["items"][0]["delivery"].as_str().unwrap();
    well(&folder, &["tasks", "done", task]);
    assert!(wrong(&folder, &["tasks", "done", task]).contains("there is no open task"));
    assert_eq!(well_json(&folder, &["tasks", "list", "--json"])["items"].as_array().unwrap().len(), 1);
    well(&folder, &["tasks", "reopen", task]);
    assert_eq!(well_json(&folder, &["tasks", "list", "--json"]), tasks);
}

const WIN_BACK: (&str, &str) = (
    "win_back.rhai",
    r#"
//! Ten quiet days bring a mail.
const RULE = #{ trigger: daily("09:00"), cooldown: days(30), max_lateness: hours(12) };
fn when(customer) { customer.n_orders >= 1 && customer.days_since("Order Completed") >= 10 }
fn then(customer) { email("offer"); }
"#,
);
const AT_NIGHT: (&str, &str) = (
    "visit.rhai",
    r#"
//! A mail for a visit, which waits out the night.
const RULE = #{ trigger: on("Product Viewed") };
fn when(customer) { true }
fn then(customer) { email("offer"); }
"#,
);

#[tokio::test]
async fn a_restored_backup_sends_nothing_that_may_have_been_sent_since_and_goes_on_afterwards() {
    let quiet = "[contact]\nquiet_hours = { from = \"20:00\", to = \"08:00\" }\n";
    let mut world = World::with(quiet, &[WIN_BACK, AT_NIGHT]).await;
    world.consenting("ada").await;
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.consenting("bob").await;
    world.advance(crate::world::HOUR * 10).await;
    world.happens("bob", "Product Viewed", json!({})).await;
    assert_eq!(world.deliveries().await[0].state, DeliveryState::Held);
    let folder = world.dir.path().to_owned();
    let saved = folder.join("saved");
    let saved_text = saved.to_str().unwrap().to_owned();
    let made = well_json(&folder, &["backup", "--to", &saved_text, "--json"]);
    assert_eq!((&made["manifest"]["stopped"], &made["manifest"]["n_open_deliveries"]), (&json!(false), &json!(1)));
    // Bob's mail leaves in the morning, Ada's after ten days; the backup knows of neither.
    world.advance(DAY * 12).await;
    assert_eq!(world.mails().len(), 2);

    assert!(well(&folder, &["backup", "verify", &saved_text]).contains("whole and sound"));
    let to = folder.join("restored");
    let restore = ["backup", "restore", &saved_text, "--to", to.to_str().unwrap()];
    assert!(wrong(&folder, &[&restore[..], &["--resume"]].concat()).contains("made while the daemon ran"));
    assert!(well(&folder, &restore).contains("1 deliveries that may have been sent since are unknown now"));
    assert!(wrong(&folder, &restore).contains("nothing is overwritten"));
    close(&mut world).await;

    let config = rekindle::config::Config::load(&to.join("config.toml"), &std::collections::BTreeMap::new()).unwrap();
    let engine = rekindle::daemon::Engine::open(&config, world.clock.clone(), &|_| None).await.unwrap();
    let again = world.now().plus(DAY * 20);
    engine.live_until(&world.clock, again).await.unwrap();
    let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    let mut ledger: Vec<String> = engine
        .pipeline
        .store
        .list_deliveries(&filter)
        .await
        .unwrap()
        .iter()
        .map(|d| format!("{} {}", d.rule, d.state))
        .collect();
    ledger.sort();
    assert_eq!(ledger, ["visit unknown", "win_back unknown"], "neither again, and the cooldown holds");
    assert!(!to.join("data/mailbox").exists() || std::fs::read_dir(to.join("data/mailbox")).unwrap().count() == 0);
    engine.live_until(&world.clock, again.plus(DAY * 20)).await.unwrap();
    let sent = DeliveryFilter { state: Some(DeliveryState::Sent), ..filter };
    let sent = engine.pipeline.store.list_deliveries(&sent).await.unwrap();
    assert_eq!(sent.len(), 1, "after its cooldown the rule is alive");
    engine.close().await;
}

#[tokio::test]
async fn a_backup_of_a_stopped_installation_resumes_and_a_damaged_one_is_recognised() {
    let mut world = shop().await;
    let n_events = world.store().event_counts().await.unwrap();
    close(&mut world).await;
    let folder = world.dir.path().to_owned();
    let saved = folder.join("saved");
    let text = saved.to_str().unwrap().to_owned();
    well(&folder, &["backup", "--to", &text]);
    assert!(wrong(&folder, &["backup", "--to", &text]).contains("not empty"));
    let to = folder.join("restored");
    assert!(
        well(&folder, &["backup", "restore", &text, "--to", to.to_str().unwrap(), "--resume"])
            .contains("what was due is due")
    );
    let files = SqliteFiles::open(&to.join("data"), Access::Look).await.unwrap();
    assert_eq!(files.store.event_counts().await.unwrap(), n_events);
    let store = &files.store;
    assert_eq!(store.position().await.unwrap(), rekindle::stores::Log::end(&files.log).await.unwrap());
    files.close().await;
    assert!(well(&to, &["rebuild", "--check"]).contains("everything is as it is stored"));

    std::fs::write(saved.join("rules/thanks.rhai"), "// another").unwrap();
    std::fs::remove_file(saved.join("log.db")).unwrap();
    let found = wrong(&folder, &["backup", "verify", &text]);
    assert!(found.contains("log.db is missing") && found.contains("thanks.rhai is not what was backed up"), "{found}");
    assert!(wrong(&folder, &["backup", "restore", &text, "--to", "/nowhere"]).contains("not to be relied on"));
}
