//! Receivers that never answer, and templates that cannot be filled in: what concerns one of them concerns no other.

use rekindle::domain::delivery::DeliveryState;
use rekindle::stores::sqlite::{Access, SqliteFiles};
use rekindle::stores::{DeliveryFilter, ReadStore};
use serde_json::json;

use crate::real_daemon::RealDaemon;
use crate::real_daemon::installation::{Installation, mail_and_webhooks};
use crate::rules::on_order;
use crate::servers::http::{Behaviour as Answers, Receiver};
use crate::servers::smtp::{Behaviour, SmtpServer};
use crate::until::until;

/// `subject state reason` of every delivery.
async fn ledger(installation: &Installation) -> Vec<(String, DeliveryState, String)> {
    let files = SqliteFiles::open(&installation.path("data"), Access::Look).await.unwrap();
    let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
    let all = files.store.list_deliveries(&filter).await.unwrap();
    all.into_iter().map(|d| (d.action.subject().to_owned(), d.state, d.reason.unwrap_or_default())).collect()
}

async fn anas_first_order(daemon: &RealDaemon) {
    daemon
        .batch(&[
            json!({ "type": "identify", "userId": "ana", "traits": { "email": "ana@example.com" } }),
            json!({ "type": "track", "userId": "ana", "event": "Order Completed" }),
        ])
        .await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let silent_mail =
        SmtpServer::start(Behaviour { mail: "hang", ..Behaviour::default() }, crate::servers::Happenings::default());
    let (silent, good) = (Receiver::start(Answers::Hangs).await, Receiver::start(Answers::status(200)).await);
    let sections = mail_and_webhooks(&silent_mail, &[("silent", &silent), ("good", &good)]);
    let then = "email(\"receipt\"); webhook(\"silent\", #{}); webhook(\"good\", #{}); task(\"thank\");";
    let installation = Installation::new(&sections, &[("thanks.rhai", &on_order(then))]);
    let daemon = installation.start();
    anas_first_order(&daemon).await;
    installation.tasks(1).await;
    until("the one that answers has its webhook", async || !good.received().is_empty()).await;
    until("the mail server and the other receiver are asked", async || {
        silent_mail.happenings.count("< MAIL") == 1 && silent.received().len() == 1
    })
    .await;
    // Both silent ones are still being waited for, and events are taken in and decided on all the same.
    let second =
        json!({ "type": "track", "userId": "ana", "event": "Order Completed", "properties": { "order_id": "2" } });
    daemon.batch(&[second]).await;
    installation.tasks(2).await;
    until("it has the second webhook", async || good.received().len() == 2).await;
    until("both silent ones hold two each, and nobody else's", async || {
        let metrics = daemon.metrics().await;
        let holds =
            |channel: &str| metrics.contains(&format!("rekindle_deliveries_in_flight{{channel=\"{channel}\"}} 2"));
        holds("email") && holds("webhook")
    })
    .await;
}

#[tokio::test]
async fn a_template_that_names_what_nobody_has_waits_and_says_what_is_missing() {
    let rules = on_order("email(\"wrong\"); email(\"receipt\"); task(\"thank\");");
    let installation = Installation::new("", &[("thanks.rhai", &rules)]);
    installation.template("wrong", "class = \"transactional\"\n", "Dear {{ customer.shoe_size }}", "<p>x</p>");
    let daemon = installation.start();
    anas_first_order(&daemon).await;
    installation.tasks(1).await;
    let ledger = until("both mails were attempted", async || {
        let all = ledger(&installation).await;
        let tried = all.iter().all(|(_, state, reason)| *state == DeliveryState::Sent || !reason.is_empty());
        tried.then_some(all)
    })
    .await;
    let of = |name: &str| ledger.iter().find(|(subject, ..)| subject == name).unwrap();
    assert_eq!(of("receipt").1, DeliveryState::Sent);
    let (_, state, reason) = of("wrong");
    assert_eq!(*state, DeliveryState::Due, "it is tried again, for somebody may repair the template: {reason}");
    assert!(
        reason.contains("wrong/body.txt") && reason.contains("shoe_size") && reason.contains("default("),
        "{reason}"
    );
}
