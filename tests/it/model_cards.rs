//! The model cards, as the command shows them: what a fit learned, and whether it can be believed.

use std::process::Command;

use rekindle::domain::event::names;
use serde_json::{Value, json};

use crate::world::{DAY, World};

fn models(world: &World, arguments: &[&str]) -> (bool, String) {
    world.config();
    let output = Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .arg("models")
        .args(arguments)
        .arg("--config")
        .arg(world.dir.path().join("config.toml"))
        .output()
        .unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_young_shop_is_told_what_its_models_cannot_say_yet() {
    let mut world = World::with_rules(&[]).await;
    assert!(models(&world, &["show", "tier"]).1.contains("has not been fitted yet"));
    world.happens("ada", names::ORDER_COMPLETED, json!({ "order_id": "1", "total": 10 })).await;
    world.advance(DAY).await;

    let (_, list) = models(&world, &["list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let kinds: Vec<&str> = list["items"].as_array().unwrap().iter().map(|m| m["model"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["churn_risk", "lifetime_value", "rfm", "tier"]);

    let (_, card) = models(&world, &["show", "churn_risk"]);
    assert!(card.starts_with("churn_risk, fitted 2026-06-02 03:00:00\n"), "{card}");
    assert!(card.contains("  holdout    not enough data: two complete windows are needed"), "{card}");
    assert!(card.contains("\nCells\nrecency_days  order_days"), "{card}");

    let (found, error) = models(&world, &["show", "chrun_risk"]);
    assert!(!found && error.contains("did you mean `churn_risk`?"), "{error}");
}
