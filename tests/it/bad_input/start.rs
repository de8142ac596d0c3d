//! What stands in the way of a start is said with what to do, and the exit code is 1.

use std::fs;

use crate::real_daemon::installation::Installation;
use crate::rules::on_order;

#[test]
fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
    let installation = Installation::new("[contact]\nquiet_hors = false\n", &[]);
    let (code, said) = installation.refused(&["run"]);
    assert_eq!(code, Some(1), "{said}");
    for part in ["config.toml:10:1: error:", "`quiet_hors`", "did you mean `quiet_hours`?"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn a_missing_configuration_or_folder_is_named_with_a_way_out() {
    let installation = Installation::new("", &[]);
    fs::rename(installation.path("config.toml"), installation.path("other.toml")).unwrap();
    let (code, said) = installation.refused(&["run"]);
    assert!(
        code == Some(1) && said.contains("config.toml: error: cannot be read") && said.contains("--config"),
        "{said}"
    );
    fs::rename(installation.path("other.toml"), installation.path("config.toml")).unwrap();
    fs::remove_dir_all(installation.path("rules")).unwrap();
    let output = installation.output(&["check"]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("rules: error: the folder cannot be read"), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let installation = Installation::new("", &[]);
    let output = installation.command(&["run"]).env("REKINDLE__HTTP__LISTEN", &address).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("http.listen"), "{said}");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_data_is_sent_away_and_the_first_goes_on() {
    let installation = Installation::new("", &[("thanks.rhai", &on_order("task(\"thank\");"))]);
    let daemon = installation.start();
    let (code, said) = installation.refused(&["run"]);
    assert!(code == Some(1) && said.contains("another rekindle is running on it"), "{said}");
    let order = serde_json::json!({ "type": "track", "userId": "u", "event": "Order Completed" });
    daemon.batch(&[order]).await;
    assert_eq!(installation.tasks(1).await, ["thank"]);
}

#[tokio::test]
async fn a_broken_rule_file_costs_only_itself_and_an_endless_one_only_its_own_action() {
    let endless = on_order("task(\"never\");").replace("{ true }", "{ loop { } }");
    let rules = [
        ("broken.rhai", "fn when(customer { true"),
        ("commented.rhai", "// const RULE = #{ trigger: daily(\"09:00\") };\n"),
        ("endless.rhai", &*endless),
        ("thanks.rhai", &*on_order("task(\"thank\");")),
    ];
    let installation = Installation::new("", &rules);
    let daemon = installation.start();
    let log = daemon.log();
    for problem in ["broken.rhai:1:", "commented.rhai: error: the file has no card"] {
        assert!(log.contains(problem), "{problem} is missing in {log}");
    }
    let order = |user: &str| serde_json::json!({ "type": "track", "userId": user, "event": "Order Completed" });
    daemon.batch(&[order("a"), order("b")]).await;
    assert_eq!(installation.tasks(2).await, ["thank", "thank"]);
    let metrics = daemon.metrics().await;
    for line in [
        "rekindle_evaluations_total{rule=\"endless\",result=\"failed\"} 2",
        "rekindle_evaluations_total{rule=\"thanks\",result=\"yes\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    assert!(metrics.contains("rekindle_problems ") && !metrics.contains("rekindle_problems 0"), "{metrics}");
}
