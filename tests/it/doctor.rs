//! What the doctor finds, by the real binary: nothing where all is well, and each fault under its own name.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::looking::{look, shop};
use crate::servers::Happenings;
use crate::servers::smtp::{Behaviour, SmtpServer};
use crate::world::World;

/// The exit code, and every check.
async fn doctor(world: &World) -> (i32, Value) {
    let said = look(world, &["doctor", "--json"]).await;
    (said.code, said.json())
}

fn check<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name && check["verdict"] != "ok").unwrap_or_else(|| {
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {answer:#}"))
    })
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_where_nothing_is() {
    let mut world = shop("[http]\nlisten = \"127.0.0.1:1\"\n").await;
    // Noted before the daemon goes, for the doctor to know the time by.
    look(&world, &["tasks", "list"]).await;
    world.engine.take().unwrap().close().await;
    let (code, answer) = doctor(&world).await;
    assert_eq!(code, 0, "{answer:#}");
    assert_eq!(answer["fail"], 0);
    for name in ["config", "folder", "store", "log", "due", "ledger", "quarantine", "schedules", "clock", "rules"] {
        assert_eq!(check(&answer, name)["verdict"], "ok", "{answer:#}");
    }
    assert_eq!(check(&answer, "daemon")["verdict"], "warn", "none runs");
    let unused = check(&answer, "unused")["found"].as_str().unwrap();
    assert_eq!(unused, "no rule names: segment forgotten, template receipt");
    let checks = answer["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| (check["verdict"] == "ok") == check["remedy"].is_null()), "{answer:#}");
    let text = look(&world, &["doctor"]).await.text;
    assert!(text.contains("warn  daemon     no daemon runs on this folder\n                 -> start it"), "{text}");
}

#[tokio::test]
async fn the_doctor_names_a_daemon_that_holds_the_folder_and_does_not_answer() {
    let world = shop("[http]\nlisten = \"127.0.0.1:1\"\n").await;
    let (code, answer) = doctor(&world).await;
    assert_eq!(code, 1);
    let found = check(&answer, "daemon")["found"].as_str().unwrap();
    assert!(found.contains("holds the folder, and 127.0.0.1:1 is not ready"), "{found}");
    #[cfg(target_os = "linux")]
    assert!(found.contains(&format!("process {}", std::process::id())), "{found}");
}

#[tokio::test]
async fn the_doctor_sees_a_mail_server_that_is_away_and_links_that_lead_nowhere() {
    let section = |port: u16| {
        format!(
            "[http]\nlisten = \"127.0.0.1:1\"\n[email]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             tls = \"none\"\nfrom = \"Shop <shop@example.com>\"\n[webhook]\nkind = \"http\"\n\
             [[webhook.endpoints]]\nname = \"crm\"\nurl = \"http://127.0.0.1:9/\"\nsecret = {{ env = \"NO_SUCH_SECRET\" }}\n"
        )
    };
    let server = SmtpServer::start(Behaviour::default(), Happenings::default());
    let world = shop("").await;
    let path = world.dir.path().join("config.toml");
    let plain = fs::read_to_string(&path).unwrap();
    for (port, verdict) in [(server.address.port(), "ok"), (1, "fail")] {
        fs::write(&path, format!("{plain}{}", section(port))).unwrap();
        let (code, answer) = doctor(&world).await;
        assert_eq!(code, 1);
        assert_eq!(check(&answer, "smtp")["verdict"], verdict, "{answer:#}");
        assert_eq!(check(&answer, "links")["verdict"], "fail", "{answer:#}");
        let webhooks = check(&answer, "webhooks")["found"].as_str().unwrap();
        assert_eq!(webhooks, "crm: the environment variable `NO_SUCH_SECRET` is not set");
    }
    assert!(server.mails().is_empty(), "looking sends nothing");
}

#[tokio::test]
async fn the_doctor_tells_damage_a_newer_version_and_a_broken_file_apart() {
    let mut world = shop("[http]\nlisten = \"127.0.0.1:1\"\n").await;
    world.write_rule("broken.rhai", "const RULE = #{ trigger: dialy(\"09:00\") };\n");
    world.engine.take().unwrap().close().await;
    let (code, answer) = doctor(&world).await;
    assert_eq!((code, &check(&answer, "rules")["verdict"]), (1, &json!("fail")), "{answer:#}");

    let store = world.dir.path().join("data/store.db");
    let sound = fs::read(&store).unwrap();
    // The inside of the second half of the file: pages of tables, none of them the first.
    let mut damaged = sound.clone();
    let half = damaged.len() / 2 / 4096 * 4096;
    damaged[half..half + 8192].fill(0xAA);
    fs::write(&store, damaged).unwrap();
    let (_, answer) = doctor(&world).await;
    let found = check(&answer, "store")["found"].as_str().unwrap();
    assert!(found.contains("store.db is damaged") || found.contains("malformed"), "{answer:#}");
    fs::write(&store, sound).unwrap();

    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", store.display())).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'from the future', true, x'00', 0)";
    sqlx::query(newer).execute(&pool).await.unwrap();
    pool.close().await;
    let (_, answer) = doctor(&world).await;
    let found = check(&answer, "store")["found"].as_str().unwrap();
    assert!(found.contains("written by a newer rekindle (migration 9999"), "{answer:#}");

    fs::write(world.dir.path().join("config.toml"), "[stoer]\npath = \"x\"\n").unwrap();
    let (code, answer) = doctor(&world).await;
    assert_eq!(code, 1);
    let found = check(&answer, "config")["found"].as_str().unwrap();
    assert!(found.contains("did you mean `store`?"), "{found}");
    let distinct: BTreeSet<&str> =
        answer["checks"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(distinct, BTreeSet::from(["config"]), "nothing else can be looked at");
}
