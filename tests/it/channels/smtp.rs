//! Mail through a real server, and what becomes of it when that server misbehaves at each step.

use std::process::{Command, Stdio};

use rekindle::channels::Channel;
use rekindle::domain::delivery::{Doubt, Outcome};

use super::mail::Mail;
use super::*;
use crate::not_run::not_run;
use crate::servers::smtp::{AUTHORITY, Behaviour, SmtpServer, Tls};
use crate::until::{patiently, until};

/// The channel to a server on `port`, with short waits; `more` is added to the section.
fn channel(port: u16, more: &str) -> Result<Box<dyn Channel>, String> {
    let tls = if more.contains("tls =") { "" } else { "tls = 'none'" };
    let host = if more.contains("host =") { "" } else { "host = 'localhost'" };
    let waits = "connect_timeout = '5s'\ncommand_timeout = '150ms'\ncontent_timeout = '150ms'";
    let waits = if more.contains("timeout =") { "" } else { waits };
    open_email(&format!(
        "kind = 'smtp'\n{host}\nport = {port}\n{tls}\nfrom = 'Shop <shop@mueller.example>'\nhello = 'client.example'\n{waits}\n{more}"
    ))
}

fn serve(behaviour: Behaviour) -> (SmtpServer, Box<dyn Channel>) {
    let server = SmtpServer::start(behaviour, Happenings::default());
    // Generous: a loaded machine must not turn an answer into a timeout. Tests of timeouts say so.
    let channel = channel(server.address.port(), "command_timeout = '60s'\ncontent_timeout = '60s'").unwrap();
    (server, channel)
}

async fn outcome_of(behaviour: Behaviour) -> Outcome {
    let (_server, channel) = serve(behaviour);
    channel.deliver(&win_back(1), &Intent::durable()).await
}

fn retry(outcome: Outcome) -> String {
    match outcome {
        Outcome::Retry { after: None, why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_intent_is_durable_after_the_server_is_ready_and_before_the_first_byte_of_content() {
    let (server, channel) = serve(Behaviour::default());
    let outcome = channel.deliver(&win_back(1), &Intent::noted(&server.happenings)).await;
    assert_eq!(outcome, Outcome::Sent { receipt: "250 2.0.0 Ok: queued as 4711".to_owned() });
    assert_eq!(
        server.happenings.all(),
        [
            "connected",
            "< EHLO client.example",
            "< MAIL FROM:<shop@mueller.example>",
            "< RCPT TO:<ana@customer.example>",
            "< DATA",
            "> 354",
            "commit",
            "content begins",
            "dot",
        ]
    );
    assert_eq!(channel.doubt(), Doubt::Hold);
}

#[tokio::test]
async fn when_the_intent_cannot_be_made_durable_not_one_byte_of_content_leaves() {
    let (server, channel) = serve(Behaviour::default());
    let intent = Intent { happenings: server.happenings.clone(), ..Intent::failing() };
    let why = retry(channel.deliver(&win_back(1), &intent).await);
    assert_eq!(why, "not sent: the lease was lost");
    server.wait_for_closed(1).await;
    assert_eq!(server.happenings.all()[5..], ["> 354", "commit", "closed"]);
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_is_unknown_and_before_the_content_a_retry() {
    for behaviour in
        [Behaviour { dot: "", ..Behaviour::default() }, Behaviour { closes_in_content: true, ..Behaviour::default() }]
    {
        let outcome = outcome_of(behaviour).await;
        assert!(matches!(&outcome, Outcome::Unknown { why } if why.contains("no answer came")), "{outcome:?}");
    }
    for behaviour in [
        Behaviour { greeting: "", ..Behaviour::default() },
        Behaviour { mail: "", ..Behaviour::default() },
        Behaviour { rcpt: "", ..Behaviour::default() },
        Behaviour { data: "", ..Behaviour::default() },
    ] {
        let why = retry(outcome_of(behaviour).await);
        assert!(why.starts_with("connection to the mail server lost"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_only_a_sent_content_is_unknown() {
    let outcome = async |behaviour| {
        let server = SmtpServer::start(behaviour, Happenings::default());
        let channel = channel(server.address.port(), "").unwrap();
        patiently("it is given up", channel.deliver(&win_back(1), &Intent::durable())).await
    };
    let unknown = outcome(Behaviour { dot: "hang", ..Behaviour::default() }).await;
    assert!(matches!(&unknown, Outcome::Unknown { why } if why.contains("took longer than 150ms")), "{unknown:?}");
    for behaviour in [
        Behaviour { greeting: "hang", ..Behaviour::default() },
        Behaviour { mail: "hang", ..Behaviour::default() },
        Behaviour { data: "hang", ..Behaviour::default() },
    ] {
        let why = retry(outcome(behaviour).await);
        assert!(why.contains("took longer than 150ms"), "{why}");
    }
}

#[tokio::test]
async fn a_temporary_refusal_at_any_step_is_a_retry_with_the_servers_words() {
    let no = "451 4.7.1 greylisted";
    for behaviour in [
        Behaviour { greeting: no, ..Behaviour::default() },
        Behaviour { mail: no, ..Behaviour::default() },
        Behaviour { rcpt: no, ..Behaviour::default() },
        Behaviour { data: no, ..Behaviour::default() },
        Behaviour { dot: no, ..Behaviour::default() },
    ] {
        assert_eq!(retry(outcome_of(behaviour).await), no);
    }
}

#[tokio::test]
async fn a_lasting_refusal_of_the_recipient_or_the_content_is_final_and_of_ourselves_a_loud_retry() {
    let no = "550-5.1.1 no such user\r\n550 5.1.1 here";
    let said = "550 5.1.1 no such user here".to_owned();
    for behaviour in [
        Behaviour { rcpt: no, ..Behaviour::default() },
        Behaviour { data: no, ..Behaviour::default() },
        Behaviour { dot: no, ..Behaviour::default() },
    ] {
        assert_eq!(outcome_of(behaviour).await, Outcome::Failed { why: said.clone() });
    }
    let greeting = retry(outcome_of(Behaviour { greeting: "554 go away", ..Behaviour::default() }).await);
    assert_eq!(greeting, "the mail server refuses us at its greeting, check `[email]`: 554 go away");
    let sender = retry(outcome_of(Behaviour { mail: no, ..Behaviour::default() }).await);
    assert_eq!(sender, format!("the mail server refuses us at MAIL, check `[email]`: {said}"));
}

#[tokio::test]
async fn an_answer_out_of_step_is_never_taken_for_success() {
    let early = retry(outcome_of(Behaviour { data: "250 Ok", ..Behaviour::default() }).await);
    assert!(early.contains("out of step: it said `250 Ok` where [354] was due"), "{early}");
    let late = outcome_of(Behaviour { dot: "354 more", ..Behaviour::default() }).await;
    assert!(matches!(late, Outcome::Unknown { .. }), "{late:?}");
    let rubbish = outcome_of(Behaviour { dot: "HTTP/1.1 200 OK", ..Behaviour::default() }).await;
    assert!(matches!(rubbish, Outcome::Unknown { .. }), "{rubbish:?}");
}

#[tokio::test]
async fn connections_are_reused_also_after_a_refusal_and_a_dead_one_is_replaced_before_mail() {
    let (server, reusing) = serve(Behaviour::default());
    for n in 1..=3 {
        assert!(matches!(reusing.deliver(&win_back(n), &Intent::durable()).await, Outcome::Sent { .. }));
    }
    assert_eq!((server.happenings.count("connected"), server.happenings.count("< MAIL")), (1, 3));

    let (server, refused) = serve(Behaviour { rcpt: "550 no", ..Behaviour::default() });
    for n in 1..=3 {
        assert!(matches!(refused.deliver(&win_back(n), &Intent::durable()).await, Outcome::Failed { .. }));
    }
    assert_eq!((server.happenings.count("connected"), server.happenings.count("< RSET")), (1, 3));

    let (server, left) = serve(Behaviour { closes_after: Some(1), ..Behaviour::default() });
    for n in 1..=3 {
        assert!(matches!(left.deliver(&win_back(n), &Intent::durable()).await, Outcome::Sent { .. }));
        server.wait_for_closed(usize::from(n)).await;
    }
    assert_eq!((server.happenings.count("connected"), server.mails().len()), (3, 3));
}

#[tokio::test]
async fn a_connection_says_goodbye_after_a_hundred_mails() {
    let (server, channel) = serve(Behaviour::default());
    for n in 0..101 {
        assert!(matches!(channel.deliver(&win_back(n), &Intent::durable()).await, Outcome::Sent { .. }));
    }
    server.wait_for_closed(1).await;
    assert_eq!((server.happenings.count("connected"), server.happenings.count("< QUIT")), (2, 1));
}

#[tokio::test]
async fn what_arrives_is_byte_for_byte_what_a_folder_gets_and_the_same_at_each_attempt() {
    let mut dispatch = win_back(1);
    let hostile = "a\n.\nb\r.\rc\r\n.\r\nMAIL FROM:<x@y.example>\r\n..";
    dispatch.customer = object(json!({ "first_name": hostile }));
    let dir = tempfile::tempdir().unwrap();
    let folder = open_email(&format!("kind = 'folder'\npath = {:?}\nfrom = 'Shop <shop@mueller.example>'", dir.path()));
    folder.unwrap().deliver(&dispatch, &Intent::durable()).await;
    let eml = std::fs::read(dir.path().join(format!("{}.eml", dispatch.delivery.idempotency_key()))).unwrap();
    let (server, channel) = serve(Behaviour::default());
    for _ in 0..2 {
        assert!(matches!(channel.deliver(&dispatch, &Intent::durable()).await, Outcome::Sent { .. }));
    }
    assert_eq!(server.mails(), [eml.clone(), eml.clone()]);
    assert_eq!(server.happenings.count("< MAIL"), 2, "the content was not taken for commands");
    let id = format!("<{}@mueller.example>", dispatch.delivery.idempotency_key());
    assert_eq!(Mail::parse(&eml).header("Message-ID"), id);
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_says_it_can() {
    let mut dispatch = win_back(1);
    dispatch.email = Some("jörg@bücher.example".to_owned());
    let (server, channel) = serve(Behaviour::default());
    let outcome = channel.deliver(&dispatch, &Intent::durable()).await;
    let why = "the mail server cannot write to `jörg@xn--bcher-kva.example`: it does not offer SMTPUTF8".to_owned();
    assert_eq!(outcome, Outcome::Failed { why });
    assert_eq!(server.happenings.count("< MAIL"), 0);
    let (server, channel) = serve(Behaviour { offers: vec!["8BITMIME", "SMTPUTF8"], ..Behaviour::default() });
    assert!(matches!(channel.deliver(&dispatch, &Intent::durable()).await, Outcome::Sent { .. }));
    assert_eq!(server.happenings.count("< MAIL FROM:<shop@mueller.example> SMTPUTF8 BODY=8BITMIME"), 1);
}

fn serve_tls(behaviour: Behaviour, section: &str) -> (SmtpServer, Box<dyn Channel>) {
    let server = SmtpServer::start(behaviour, Happenings::default());
    let section = format!("{section}\nca_file = {AUTHORITY:?}\ncommand_timeout = '60s'\ncontent_timeout = '60s'");
    let channel = channel(server.address.port(), &section).unwrap();
    (server, channel)
}

const LOGIN: &str = "user = 'shop'\npassword = 'hunter2'";

#[tokio::test]
async fn starttls_protects_everything_that_is_said_after_it() {
    let behaviour = Behaviour { tls: Tls::Starttls, offers: vec!["AUTH PLAIN LOGIN"], ..Behaviour::default() };
    let (server, channel) = serve_tls(behaviour, LOGIN.replace("user", "tls = 'starttls'\nuser").as_str());
    let outcome = channel.deliver(&win_back(1), &Intent::durable()).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    let said = server.happenings.all();
    assert_eq!(said[1..4], ["< EHLO client.example", "< STARTTLS", "< EHLO client.example"]);
    assert_eq!(said[4], "< AUTH PLAIN AHNob3AAaHVudGVyMg==");
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn implicit_tls_protects_from_the_first_byte() {
    let (server, channel) = serve_tls(Behaviour { tls: Tls::Implicit, ..Behaviour::default() }, "tls = 'implicit'");
    for n in 1..=2 {
        let outcome = channel.deliver(&win_back(n), &Intent::durable()).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    }
    assert_eq!((server.happenings.count("connected"), server.mails().len()), (1, 2));
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_to_a_server_without_starttls() {
    let (server, channel) = serve_tls(Behaviour::default(), &format!("tls = 'starttls'\n{LOGIN}"));
    let why = retry(channel.deliver(&win_back(1), &Intent::durable()).await);
    assert!(why.starts_with("localhost does not offer STARTTLS"), "{why}");
    server.wait_for_closed(1).await;
    assert_eq!(server.happenings.all(), ["connected", "< EHLO client.example", "closed"]);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_or_for_another_name_is_refused() {
    for tls in [Tls::Starttls, Tls::Implicit] {
        let word = if tls == Tls::Starttls { "starttls" } else { "implicit" };
        let server = SmtpServer::start(Behaviour { tls, ..Behaviour::default() }, Happenings::default());
        let unknown = channel(server.address.port(), &format!("tls = '{word}'\ncommand_timeout = '60s'")).unwrap();
        let named = format!("host = '127.0.0.1'\ntls = '{word}'\nca_file = {AUTHORITY:?}\ncommand_timeout = '60s'");
        let other_name = channel(server.address.port(), &named).unwrap();
        for channel in [unknown, other_name] {
            let why = retry(channel.deliver(&win_back(1), &Intent::durable()).await);
            assert!(why.contains("certificate"), "{why}");
        }
        assert_eq!(server.happenings.count("< MAIL"), 0);
    }
}

#[tokio::test]
async fn answers_slipped_in_before_the_handshake_get_nothing_sent() {
    let injected = "250-evil\r\n250 AUTH PLAIN\r\n";
    let offers = vec!["AUTH PLAIN"];
    let behaviour = Behaviour { tls: Tls::Starttls, injected, offers, ..Behaviour::default() };
    for login in ["", LOGIN] {
        let (server, channel) = serve_tls(behaviour.clone(), &format!("tls = 'starttls'\n{login}"));
        retry(channel.deliver(&win_back(1), &Intent::durable()).await);
        server.wait_for_closed(1).await;
        assert_eq!(server.happenings.count("content begins"), 0);
    }
}

#[tokio::test]
async fn a_refused_or_impossible_login_names_the_configuration() {
    let refused = Behaviour { auth: "535 5.7.8 bad password", offers: vec!["AUTH PLAIN"], ..Behaviour::default() };
    let (server, _) = serve(refused);
    let channel_to =
        |server: &SmtpServer| channel(server.address.port(), &format!("{LOGIN}\ncommand_timeout = '60s'")).unwrap();
    let why = retry(channel_to(&server).deliver(&win_back(1), &Intent::durable()).await);
    assert_eq!(why, "the mail server refuses us at AUTH, check `[email]`: 535 5.7.8 bad password");
    let (server, _) = serve(Behaviour::default());
    let why = retry(channel_to(&server).deliver(&win_back(1), &Intent::durable()).await);
    assert!(why.contains("No compatible authentication mechanism"), "{why}");
}

#[tokio::test]
async fn nobody_at_the_port_is_a_retry_that_says_where() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let why = retry(channel(port, "").unwrap().deliver(&win_back(1), &Intent::durable()).await);
    assert!(why.starts_with(&format!("cannot reach localhost:{port}: ")), "{why}");
}

#[test]
fn a_wrong_smtp_section_says_which_key_to_change() {
    let error = |more: &str| channel(2525, more).err().unwrap();
    assert!(error("host = 'mail.example'").contains("allow_plaintext"));
    assert!(channel(2525, "host = 'mail.example'\nallow_plaintext = true").is_ok());
    assert!(error("user = 'x'").contains("`user` is given without `password`"));
    assert!(error("user = 'x'\npassword = { env = 'MISSING' }").contains("`MISSING` is not set"));
    assert!(
        error("command_timeout = '2m'").contains("`command_timeout` must be more than nothing and at most 1m, not 2m")
    );
    assert!(error("connections = 0").contains("`connections`"));
    assert!(error("tls = 'starttls'\nca_file = '/nowhere.pem'").contains("/nowhere.pem"));
}

/// Postfix's own test server, where the environment variable `REKINDLE_SMTP_SINK` names it.
#[tokio::test]
async fn postfix_takes_our_mail() {
    let Some(sink) = std::env::var_os("REKINDLE_SMTP_SINK") else {
        not_run("smtp-sink", "REKINDLE_SMTP_SINK does not name Postfix's smtp-sink");
        return;
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(sink);
    command.args(["-u", "nobody", "-D", "dump", &format!("127.0.0.1:{port}"), "10"]).current_dir(dir.path());
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut running = command.stdout(Stdio::null()).spawn().unwrap();
    until("smtp-sink listens", async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    let section = "command_timeout = '60s'\ncontent_timeout = '60s'";
    let channel = channel(port, section).unwrap();
    for n in 1..=3 {
        let outcome = channel.deliver(&win_back(n), &Intent::durable()).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let dump = std::fs::read_to_string(dir.path().join("dump")).unwrap();
    assert_eq!(dump.matches("\nMessage-ID: <dlv_").count(), 3, "{dump}");
}
