//! A customer with hostile fields, from the door through rule and template to a real mail, a webhook and the operator's
//! terminal: everywhere the fields are text and nothing else.

use serde_json::{Value, json};

use crate::channels::mail::Mail;
use crate::real_daemon::installation::{Installation, mail_and_webhooks};
use crate::rules::on_order;
use crate::servers::http::{Behaviour as Answers, Receiver};
use crate::servers::smtp::{Behaviour, SmtpServer};
use crate::until::until;

const NAME: &str =
    "Bob\r\nBcc: x@y.example\r\n\r\n{{7*7}}${7*7}</script><script>alert(1)</script>\u{1b}[2J\u{9b}31m\u{202e}";

/// The decoded part of a mail that begins with this content type.
fn part(mail: &Mail, kind: &str) -> String {
    let part = mail.body.split(&format!("Content-Type: {kind}")).nth(1).unwrap().split_once("\r\n\r\n").unwrap().1;
    let part = part.split("\r\n--").next().unwrap().replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let pair = (byte == b'=').then(|| behind.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = pair.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn hostile_fields_reach_mail_webhook_and_terminal_as_mere_text() {
    let server = SmtpServer::start(Behaviour::default(), crate::servers::Happenings::default());
    let receiver = Receiver::start(Answers::status(200)).await;
    let sections = mail_and_webhooks(&server, &[("crm", &receiver)]);
    let then = "email(\"receipt\"); webhook(\"crm\", #{ name: customer.first_name, formula: customer.formula }); \
                task(`Call ${customer.first_name ?? \"\"}`);";
    let installation = Installation::new(&sections, &[("thanks.rhai", &on_order(then))]);
    let daemon = installation.start();
    let traits =
        json!({ "first_name": NAME, "email": "bob@example.com", "formula": "=cmd|' /C calc'!A0", "k\u{1b}[1m": NAME });
    daemon
        .batch(&[
            json!({ "type": "identify", "userId": "bob", "traits": traits }),
            json!({ "type": "track", "userId": "bob", "event": "Order Completed", "properties": { "order_id": "1" } }),
        ])
        .await;

    let mail = until("the mail is there", async || server.mails().pop()).await;
    let mail = Mail::parse(&mail);
    let mut names: Vec<&str> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"];
    assert_eq!(names, expected, "the headers are ours alone");
    assert!(mail.header("To").ends_with("<bob@example.com>"), "{}", mail.header("To"));
    assert_eq!(server.happenings.count("< RCPT"), 1, "one recipient: {:?}", server.happenings.all());
    let (text, html) = (part(&mail, "text/plain"), part(&mail, "text/html"));
    assert!(text.contains("{{7*7}}") && !text.contains("49") && !text.contains('\u{1b}'), "{text:?}");
    assert!(html.contains("{{7*7}}") && html.contains("&lt;script&gt;") && !html.contains("<script"), "{html:?}");

    let webhook = until("the webhook is there", async || receiver.received().pop()).await;
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["data"]["properties"], json!({ "name": NAME, "formula": "=cmd|' /C calc'!A0" }));

    installation.tasks(1).await;
    let listings: [&[&str]; 6] = [
        &["customers", "list"],
        &["customers", "list", "--json"],
        &["customers", "show", "bob"],
        &["customers", "show", "bob", "--json"],
        &["tasks", "list"],
        &["deliveries", "list"],
    ];
    for arguments in listings {
        let said = installation.said(arguments);
        assert!(!said.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{arguments:?} {said:?}");
        assert!(!said.lines().any(|line| line.starts_with("Bcc:")), "{arguments:?} {said}");
        if arguments.contains(&"--json") {
            assert!(serde_json::from_str::<Value>(&said).unwrap().to_string().contains("Bcc: x@y.example"));
        }
    }
}

#[tokio::test]
async fn a_field_that_would_become_a_script_behind_a_link_stops_its_mail() {
    let installation = Installation::new("", &[("thanks.rhai", &on_order("email(\"link\"); task(\"thank\");"))]);
    let html = "<a href=\"{{ customer.website | default('https://shop.example') }}\">your page</a>";
    installation.template("link", "class = \"transactional\"\n", "Hello", html);
    let daemon = installation.start();
    let order = |user: &str| json!({ "type": "track", "userId": user, "event": "Order Completed" });
    let known = |user: &str, website: &str| {
        let traits = json!({ "email": format!("{user}@example.com"), "website": website });
        json!({ "type": "identify", "userId": user, "traits": traits })
    };
    let hostile = ["javascript:alert(1)", " JaVa\tscript:alert(1)", "data:text/html,x", "vbscript:x"];
    let mut items = vec![known("good", "https://good.example/?a=b:c"), order("good")];
    for (n, website) in hostile.into_iter().enumerate() {
        items.extend([known(&format!("bad{n}"), website), order(&format!("bad{n}"))]);
    }
    daemon.batch(&items).await;
    installation.tasks(5).await;
    let waiting = until("every mail was attempted", async || {
        let all = installation.said(&["deliveries", "list", "--json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let all = all["items"].as_array().unwrap().clone();
        let mails: Vec<Value> = all.into_iter().filter(|d| d["action"]["kind"] == "email").collect();
        mails.iter().all(|d| d["n_attempts"] != 0).then_some(mails)
    })
    .await;
    let sent = waiting.iter().filter(|d| d["state"] == "sent").count();
    let refused =
        waiting.iter().filter(|d| d["reason"].as_str().is_some_and(|r| r.contains("would run a script"))).count();
    assert_eq!((sent, refused), (1, hostile.len()), "{waiting:#?}");
}
