//! What a mail looks like, read back from the folder.

use std::collections::BTreeMap;
use std::fs;

use rekindle::channels::Channel;
use rekindle::channels::template::{SharedTemplates, Templates};
use rekindle::domain::action::Action;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::delivery::{Doubt, Outcome};
use serde_json::json;

use super::*;

struct Mailbox {
    dir: tempfile::TempDir,
    channel: Box<dyn Channel>,
}

impl Mailbox {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/mailbox");
        let path = path.display();
        let from = "Müller <shop@mueller.example>";
        let channel = open_email(&format!(
            "kind = 'folder'\npath = '{path}'\nfrom = '{from}'\nreply_to = 'help@mueller.example'"
        ));
        Mailbox { dir, channel: channel.unwrap() }
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("new/mailbox")).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn bytes(&self, dispatch: &Dispatch) -> Vec<u8> {
        fs::read(self.dir.path().join(format!("new/mailbox/{}.eml", dispatch.delivery.idempotency_key()))).unwrap()
    }

    async fn mail(&self, dispatch: &Dispatch) -> Mail {
        let outcome = self.channel.deliver(dispatch, &Intent::durable()).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
        Mail::parse(&self.bytes(dispatch))
    }
}

/// A mail as a program that never met lettre reads it: headers unfolded, in order.
pub(crate) struct Mail {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Mail {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("a mail is ASCII").to_owned();
        assert!(text.is_ascii());
        // No line end but CRLF, no line above the 998 of RFC 5322, and none that a server could take for the end.
        assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
        assert!(text.split("\r\n").all(|line| line.len() <= 998));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let headers = unfolded.split("\r\n").map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Mail { headers: headers.collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = &found.next().unwrap_or_else(|| panic!("no {name}")).1;
        assert!(found.next().is_none(), "two {name}");
        value
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

const MARKETING_HEADERS: [&str; 11] = [
    "Content-Type",
    "Date",
    "From",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Message-ID",
    "Reply-To",
    "Subject",
    "To",
];

#[tokio::test]
async fn a_marketing_mail_says_who_writes_and_how_to_leave_with_one_click() {
    let mailbox = Mailbox::open();
    let dispatch = win_back(1);
    let mail = mailbox.mail(&dispatch).await;
    assert_eq!(mail.names(), MARKETING_HEADERS);
    assert_eq!(mail.header("Date"), "Sun, 01 Mar 2026 09:05:00 +0000");
    assert_eq!(mail.header("Message-ID"), format!("<{}@mueller.example>", dispatch.delivery.idempotency_key()));
    assert_eq!(mail.header("From"), "=?utf-8?b?TcO8bGxlcg==?= <shop@mueller.example>");
    assert!(mail.header("To").ends_with("<ana@customer.example>"), "{}", mail.header("To"));
    assert_eq!(mail.header("List-Unsubscribe"), format!("<{LEAVE}>"));
    assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(mail.header("List-Id"), "<offers.mueller.example>");
    assert_eq!(mail.header("Subject"), "Ana, 20% off if you would like to come back");
    assert!(mail.header("Content-Type").starts_with("multipart/alternative;"));
    let (text, html) = (mail.body.find("text/plain").unwrap(), mail.body.find("text/html").unwrap());
    assert!(text < html, "the plain text comes first, so that the HTML is preferred");
}

#[tokio::test]
async fn a_service_mail_is_marked_as_automatic_and_has_no_list() {
    let mailbox = Mailbox::open();
    let mail = mailbox.mail(&apology(1)).await;
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.names().iter().all(|name| !name.starts_with("List-")));
}

#[tokio::test]
async fn the_same_delivery_gives_the_same_bytes_and_one_file_however_often_it_is_tried() {
    let (one, other) = (Mailbox::open(), Mailbox::open());
    let dispatch = win_back(1);
    one.mail(&dispatch).await;
    one.mail(&dispatch).await;
    other.mail(&dispatch).await;
    assert_eq!(one.channel.doubt(), Doubt::Resend);
    assert_eq!(one.files(), [format!("{}.eml", dispatch.delivery.idempotency_key())]);
    assert_eq!(one.bytes(&dispatch), other.bytes(&dispatch));
}

#[tokio::test]
async fn nothing_appears_in_the_folder_before_the_intent_is_durable() {
    let mailbox = Mailbox::open();
    let intent = Intent::failing();
    let outcome = mailbox.channel.deliver(&win_back(1), &intent).await;
    assert_eq!(outcome, Outcome::Retry { after: None, why: "the lease was lost".to_owned() });
    assert_eq!((intent.n_commits(), mailbox.files().len()), (1, 0));
}

#[tokio::test]
async fn no_name_or_subject_can_begin_a_header() {
    let long = "x".repeat(5_000);
    let hostile = [
        "Bob\r\nBcc: x@y.example",
        "Bob\nBcc: x@y.example",
        "Bob\rBcc: x@y.example",
        "Bob\0\r\n\r\n<html>",
        "Bob\u{2028}Bcc: x@y.example\u{85}Cc: z",
        "=?utf-8?q?Bob=0D=0ABcc:_x@y.example?=",
        "\"Bob\" <x@y.example>, \\\"",
        "\r\n.\r\nMAIL FROM:<x@y.example>\r\n",
        "a\n.\nb\r.\rc",
        "Zoë \u{202e}moc.elpmaxe",
        &long,
        &"ä ".repeat(2_500),
        &"é".repeat(2_500),
    ];
    for text in hostile {
        let mailbox = Mailbox::open();
        let mut dispatch = win_back(1);
        dispatch.customer = object(json!({ "first_name": text, "last_name": text }));
        let Action::Email { vars, .. } = &mut dispatch.delivery.action else { unreachable!() };
        vars.insert("percent".to_owned(), json!(text));
        vars.insert("code".to_owned(), json!(text));
        let mail = mailbox.mail(&dispatch).await;
        assert_eq!(mail.names(), MARKETING_HEADERS, "{text:?}");
        assert!(mail.header("To").ends_with("<ana@customer.example>"), "{}", mail.header("To"));
    }
}

#[tokio::test]
async fn an_unusable_address_is_final_and_a_unicode_domain_is_written_in_ascii() {
    let mailbox = Mailbox::open();
    let long = format!("{}@b.example", "x".repeat(5_000));
    for address in
        ["nobody", "a@b\r\nBcc: x@y", "a\0@b.example", "a@b.example>, <x@y.example", "@b.example", "a@", &long]
    {
        let mut dispatch = win_back(1);
        dispatch.email = Some(address.to_owned());
        let outcome = mailbox.channel.deliver(&dispatch, &Intent::durable()).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{address:?}: {outcome:?}");
    }
    assert!(mailbox.files().is_empty());
    let mut dispatch = win_back(1);
    dispatch.email = Some("info@bücher.example".to_owned());
    let mail = mailbox.mail(&dispatch).await;
    assert!(mail.header("To").ends_with("<info@xn--bcher-kva.example>"), "{}", mail.header("To"));
}

#[tokio::test]
async fn what_the_house_got_wrong_waits_to_be_repaired() {
    let mailbox = Mailbox::open();
    let retry = async |dispatch: Dispatch| match mailbox.channel.deliver(&dispatch, &Intent::durable()).await {
        Outcome::Retry { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let mut unlinked = win_back(1);
    unlinked.unsubscribe_url = None;
    assert!(retry(unlinked).await.contains("without an unsubscribe link"));
    for url in ["https://shop.example/u/A>\r\nBcc: x@y", "javascript:alert(1)", "https://shop.example/ü"] {
        let mut forged = win_back(1);
        forged.unsubscribe_url = Some(url.to_owned());
        assert!(retry(forged).await.contains("cannot be an unsubscribe link"));
    }
    let mut unfilled = win_back(1);
    unfilled.delivery.action =
        Action::Email { template: "win_back".to_owned(), vars: object(json!({ "percent": 10 })) };
    let why = retry(unfilled).await;
    assert!(why.contains("win_back/body.html:9:") && why.contains("`code` is undefined"), "{why}");
    let mut unknown = win_back(1);
    unknown.delivery.action = Action::Email { template: "win_bak".to_owned(), vars: object(json!({})) };
    assert!(retry(unknown).await.contains("did you mean `win_back`?"));
    assert!(mailbox.files().is_empty());
}

#[tokio::test]
async fn a_mail_that_nobody_admitted_as_marketing_never_leaves_as_marketing() {
    let mailbox = Mailbox::open();
    for class in [None, Some(MessageClass::Transactional), Some(MessageClass::Service)] {
        let mut dispatch = win_back(1);
        dispatch.delivery.class = class;
        let outcome = mailbox.channel.deliver(&dispatch, &Intent::durable()).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }
    assert!(mailbox.files().is_empty());
}

#[tokio::test]
async fn templates_can_be_replaced_while_the_channel_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("templates/review_apology");
    fs::create_dir_all(&folder).unwrap();
    let write = |subject: &str| {
        for (file, text) in
            [("template.toml", "class = 'service'"), ("subject.txt", subject), ("body.html", "H"), ("body.txt", "T")]
        {
            fs::write(folder.join(file), text).unwrap();
        }
        let (templates, problems) = Templates::load(&dir.path().join("templates"), None);
        assert_eq!(problems, []);
        templates
    };
    let shared = SharedTemplates::new(write("before"));
    let path = dir.path().join("mailbox");
    let config =
        toml::from_str(&format!("kind = 'folder'\npath = {path:?}\nfrom = '\"Müller & Sons, Ltd\" <shop@localhost>'"))
            .unwrap();
    let channel = rekindle::channels::open_email(&config, shared.clone(), letterhead(), &no_environment).unwrap();
    let mut subjects = BTreeMap::new();
    for (n, subject) in [(1, "before"), (2, "after")] {
        shared.replace(write(subject));
        channel.deliver(&apology(n), &Intent::durable()).await;
        let file = path.join(format!("{}.eml", apology(n).delivery.idempotency_key()));
        subjects.insert(n, Mail::parse(&fs::read(file).unwrap()).header("Subject").to_owned());
    }
    assert_eq!(subjects, BTreeMap::from([(1, "before".to_owned()), (2, "after".to_owned())]));
}

#[test]
fn a_wrong_mail_section_says_which_key_to_change() {
    let error = |toml: &str| open_email(toml).err().unwrap();
    assert!(
        error("kind = 'folder'\npath = 'unused'\nfrom = 'not an address'")
            .starts_with("`from = \"not an address\"` is not a mail address")
    );
    assert!(error("kind = 'folder'\nfrm = 'a@b.example'").contains("unknown field `frm`"));
    assert!(error("kind = 'pigeon'").contains("unknown variant `pigeon`"));
}
