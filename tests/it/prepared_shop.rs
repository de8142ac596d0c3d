//! A small shop that documents can speak of: the shipped configuration, rules and templates, three customers, sixteen days
//! in which the daemon ran, a mail that left and one that was not let through.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use rekindle::config::Config;
use rekindle::daemon::Engine;
use rekindle::domain::clock::{Clock, ManualClock, Timestamp};
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::event::{Fact, names};
use rekindle::pipeline::ingest::Intake;
use rekindle::stores::DeliveryFilter;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::repository::ROOT;
use crate::world::live_fact;

pub(crate) struct PreparedShop {
    dir: TempDir,
    /// Kind of id → one that is in the books.
    ids: BTreeMap<&'static str, String>,
}

const START: &str = "2026-05-04T07:00:00Z";

impl PreparedShop {
    pub(crate) async fn open() -> Self {
        let dir = TempDir::new().unwrap();
        for part in ["config.toml", "rules", "templates"] {
            copy(&Path::new(ROOT).join(part), &dir.path().join(part));
        }
        // No ballast: the folder is copied for every document.
        let environment = BTreeMap::from([("REKINDLE__STORE__BALLAST_MB".to_owned(), "0".to_owned())]);
        let config = Config::load(&dir.path().join("config.toml"), &environment).unwrap();
        let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
        let engine = Engine::open(&config, clock.clone(), &|_| None).await.unwrap();
        engine.step().await.unwrap();
        engine.inbox.submit(history(clock.now()), Vec::new()).await.unwrap();
        engine.step().await.unwrap();
        let until = clock.now().plus(SignedDuration::from_hours(16 * 24));
        engine.live_until(&clock, until).await.unwrap();
        let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
        let deliveries = engine.pipeline.store.list_deliveries(&filter).await.unwrap();
        let delivery = deliveries.iter().find(|d| d.rule == "second_order_nudge").expect("Ana was written to");
        let ids = BTreeMap::from([
            ("dlv", delivery.id.to_string()),
            ("cus", delivery.customer.to_string()),
            ("fir", delivery.firing.to_string()),
        ]);
        engine.close().await;
        PreparedShop { dir, ids }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// `code` with the ids of this shop in place of those that the document shows.
    pub(crate) fn known(&self, code: &str) -> String {
        let word = |word: &str| {
            let (kind, rest) = word.split_once('_').unwrap_or_default();
            let shown = rest == "…" || (rest.len() == 26 && rest.chars().all(|c| c.is_ascii_alphanumeric()));
            self.ids.get(kind).filter(|_| shown).cloned().unwrap_or_else(|| word.to_owned())
        };
        let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
        code.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Ana agreed to mails and bought once, Ben never agreed, Mia has a cart and no address.
fn history(now: Timestamp) -> Vec<Fact> {
    let mut n = 0;
    let mut fact = |user: &str, name: &str, traits: Value, properties: Value| {
        n += 1;
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Fact { traits: object(traits), properties: object(properties), ..live_fact(user, name, n, now) }
    };
    let order = |id: &str, total: f64| json!({ "order_id": id, "total": total, "currency": "EUR" });
    let mut facts = Vec::new();
    for (user, name) in [("42", "Ana"), ("43", "Ben")] {
        let email = format!("{}@example.com", name.to_lowercase());
        facts.push(fact(user, names::IDENTIFIED, json!({ "first_name": name, "email": email }), json!({})));
    }
    facts.push(fact("42", names::CONSENT_GIVEN, json!({}), json!({ "channel": "email" })));
    facts.push(fact("42", "Product Viewed", json!({}), json!({ "product_id": "mug", "category": "kitchen" })));
    facts.push(fact("42", names::ORDER_COMPLETED, json!({}), order("1001", 59.9)));
    facts.push(fact("43", names::ORDER_COMPLETED, json!({}), order("1002", 120.0)));
    facts.push(fact("44", "Product Added", json!({ "first_name": "Mia" }), json!({ "product_id": "lamp" })));
    for fact in &mut facts {
        let email = fact.traits.get("email").and_then(Value::as_str);
        let email = email.and_then(|text| Identity::new(IdentityKind::Email, text));
        fact.identities.extend(email);
    }
    facts
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
