//! What nobody sees from outside but in a stopwatch: whether a socket holds a small answer back until there is more to send.
//! `strace` sees whether it was told not to.

use std::collections::BTreeSet;

use serde_json::json;

use crate::real_daemon::installation::{Installation, mail_and_webhooks};
use crate::rules::on_order;
use crate::servers::http::{Behaviour as Answers, Receiver};
use crate::servers::smtp::{Behaviour, SmtpServer};
use crate::strace::Traced;
use crate::until::until;

#[tokio::test]
async fn neither_answers_nor_mails_nor_webhooks_wait_for_more_to_send() {
    let server = SmtpServer::start(Behaviour::default(), crate::servers::Happenings::default());
    let receiver = Receiver::start(Answers::status(200)).await;
    let sections = mail_and_webhooks(&server, &[("crm", &receiver)]);
    let then = on_order("email(\"receipt\"); webhook(\"crm\", #{});");
    let installation = Installation::new(&sections, &[("thanks.rhai", &then)]);
    let calls = "accept,accept4,connect,setsockopt";
    let Some(traced) = Traced::start("Small answers wait for nothing", calls, installation.dir.path()) else { return };
    let own = traced.daemon.address().port();
    let identify = json!({ "type": "identify", "userId": "ana", "traits": { "email": "ana@example.com" } });
    let order = json!({ "type": "track", "userId": "ana", "event": "Order Completed" });
    traced.daemon.batch(&[identify, order]).await;
    until("mail and webhook are sent", async || !server.mails().is_empty() && !receiver.received().is_empty()).await;

    let calls = traced.stop().await;
    // `setsockopt(12<TCP:[127.0.0.1:7700->127.0.0.1:53168]>, SOL_TCP, TCP_NODELAY, [1], 4) = 0`
    let told = calls.iter().filter(|c| c.name == "setsockopt" && c.text.contains("TCP_NODELAY, [1]"));
    let told: BTreeSet<String> = told.map(|call| call.first_argument().to_owned()).collect();
    let (from_us, to_mail, to_hook) =
        (format!(":{own}->"), format!("->127.0.0.1:{}]", server.address.port()), format!("->{}]", receiver.address));
    let ends = [("answers", from_us), ("mails", to_mail), ("webhooks", to_hook)];
    let wait = ends.iter().filter(|(_, end)| !told.iter().any(|socket| socket.contains(end)));
    assert_eq!(wait.collect::<Vec<_>>(), Vec::<&(&str, String)>::new(), "wait; told not to: {told:?}, {calls:#?}");
}
