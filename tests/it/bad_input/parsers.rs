//! Every reader of foreign text: whatever it is given, it answers (no panic, no endless run), and where there is a canonical
//! form it reads back what it wrote. CSV and JSON lines have their own in `src/connectors/tests.rs`, HTTP bodies in
//! `tests/it/tracking_api.rs`, `Retry-After` and `Authorization` beside their readers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use rekindle::channels::template::Templates;
use rekindle::config::Config;
use rekindle::connectors::{ConnectorError, SourceConfig};
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::customer::{Identity, IdentityKind};
use rekindle::domain::delivery::Outcome;
use rekindle::domain::event::{Fact, decimal};
use rekindle::domain::id::{CustomerId, DeliveryId};
use rekindle::domain::message::{self, Kind};
use rekindle::domain::money::{Currency, Money};
use rekindle::domain::occurred;
use rekindle::domain::unsubscribe::{Unsubscribe, UnsubscribeSigner};
use rekindle::rules::{RuleBook, Vocabulary};
use rekindle::schedule::Schedule;
use serde_json::{Map, Value, json};

use crate::channels::{Intent, win_back};

/// Text made of these pieces and of anything between.
fn soup(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[ -~]{0,6}",
    ];
    prop::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinities", |n| n.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,8}".prop_map(Value::from),
        Just(json!("ana@example.com")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key =
            prop_oneof![Just("email".to_owned()), Just("phone".to_owned()), Just("traits".to_owned()), any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::from(Map::from_iter(map))),
        ]
    })
}

fn item() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop::sample::select(vec![
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "messageId",
        "event",
        "traits",
        "properties",
        "context",
        "name",
    ]);
    prop::collection::btree_map(key.prop_map(str::to_owned), value(), 0..8).prop_map(Map::from_iter)
}

proptest! {
    #[test]
    fn what_is_read_of_a_message_is_stored_and_comes_back_as_it_was(item in item(), kind in 0..6usize) {
        let kinds = [Kind::Track, Kind::Identify, Kind::Page, Kind::Screen, Kind::Group, Kind::Alias];
        let id = message::message_id(&item);
        if let (Ok(id), Ok(read)) = (id, message::read(kinds[kind], item)) {
            let at = Timestamp::EPOCH;
            let fact = Fact {
                source: "s".to_owned(), message_id: id.unwrap_or_default(), name: read.name, occurred_at: at, received_at: at,
                known_at: at, imported: false, identities: read.identities, traits: read.traits,
                properties: read.properties, context: read.context,
            };
            prop_assert_eq!(fact.check(), Ok(()));
            let stored = serde_json::to_string(&fact).unwrap();
            prop_assert_eq!(serde_json::from_str::<Fact>(&stored).unwrap(), fact);
        }
    }

    #[test]
    fn a_number_with_all_its_digits_is_stored_and_comes_back_as_it_was(
        number in prop_oneof![0.0..1_000.0, any::<f64>().prop_filter("JSON has no infinities", |n| n.is_finite())],
    ) {
        let item = json!({ "userId": "u", "event": "Product Viewed", "properties": { "value": number } });
        let read = message::read(Kind::Track, item.as_object().cloned().unwrap()).unwrap();
        let stored = serde_json::to_string(&read.properties).unwrap();
        prop_assert_eq!(serde_json::from_str::<Map<String, Value>>(&stored).unwrap(), read.properties);
    }

    #[test]
    fn any_text_is_an_instant_or_none_and_an_instant_reads_back(
        text in soup(&["2026", "-", "02", "30", "T", "24:00", ":", "Z", "+01:00", "99999", "-009999", "[UTC]", "."], 8),
        micros in -62_135_596_800_000_000..253_402_207_200_000_000_i64,
    ) {
        if let Some(at) = occurred::parse(&text) {
            prop_assert!(occurred::in_file(at, Timestamp::MAX).is_err() || at <= Timestamp::MAX);
        }
        let at = Timestamp::from_micros(micros);
        prop_assert_eq!(occurred::parse(&at.to_string()), Some(at));
    }

    #[test]
    fn any_text_is_an_amount_or_none_and_money_reads_back(
        text in soup(&["1", "0", ".", ",", "-", "+", "e", "E", "400", "99999999999999999999", " ", "\u{661}"], 8),
        minor in -1_000_000_000_000..=1_000_000_000_000_i64,
        code in "[A-Z]{3}",
    ) {
        let currency: Currency = code.parse().unwrap();
        for value in [Value::from(text.clone()), serde_json::from_str(&text).unwrap_or_default()] {
            if let Some(minor) = decimal(&value).and_then(|amount| currency.minor(amount)) {
                prop_assert!(minor.abs() <= 1_000_000_000_000_000);
            }
        }
        let shown = Money { minor, currency }.to_string();
        let (amount, shown_code) = shown.split_once(' ').unwrap();
        let read = decimal(&json!(amount)).unwrap();
        prop_assert_eq!((currency.minor(read), shown_code), (Some(minor), &*code));
    }

    #[test]
    fn any_text_is_a_schedule_or_says_why_and_a_schedule_reads_back(
        text in soup(&["*", "/", "-", ",", " ", "0", "5", "59", "23", "31", "sat", "jan", "@daily", "@reboot", "99999999999"], 14),
    ) {
        match Schedule::parse(&text, TimeZone::UTC) {
            Err(why) => prop_assert!(!why.is_empty()),
            Ok(schedule) => {
                let again = Schedule::parse(schedule.as_str(), TimeZone::UTC).unwrap();
                let ticks = schedule.upcoming(Timestamp::EPOCH, 3);
                prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert_eq!(again.upcoming(Timestamp::EPOCH, 3), ticks);
            }
        }
    }

    #[test]
    fn any_text_is_a_configuration_or_says_what_is_wrong(
        text in soup(
            &["[store]\n", "[http]\n", "[[sources]]\n", "[sources.mapping]\n", "[email]\n", "kind = ", "\"sqlite\"\n",
              "\"smtp\"\n", "listen = ", "\"127.0.0.1:0\"\n", "write_keys = [", "{ key = ", "]\n", "}\n", "quiet_hours", "= false\n",
              "name = \"a\"\n", "time = \"t\"\n", "\"\"\"", "1e999\n", "9223372036854775808\n", "#", "\n", "a.b.c = 1\n"],
            16,
        ),
    ) {
        if let Err(problems) = Config::parse(&text, "config.toml", &BTreeMap::new()) {
            prop_assert!(!problems.is_empty() && problems.iter().all(|p| !p.message.is_empty() && p.file == "config.toml"));
        }
    }

    #[test]
    fn only_what_we_signed_is_a_token(text in "[A-Za-z0-9_-]{0,120}", any in any::<String>(), topic in "[a-z_]{0,20}", n in 0..1_000_000i64) {
        let signer = UnsubscribeSigner::new(*b"0123456789abcdef");
        prop_assert_eq!(signer.verify(&text), None);
        prop_assert_eq!(signer.verify(&any), None);
        let at = Timestamp::from_micros(n * 1_000);
        let what = Unsubscribe {
            customer: CustomerId::derive(at, &[b"c"]),
            delivery: DeliveryId::derive(at, &[b"d"]),
            topic: (!topic.is_empty()).then_some(topic),
        };
        prop_assert_eq!(signer.verify(&signer.sign(&what)), Some(what));
    }

    #[test]
    fn any_text_is_a_handle_or_an_id_or_none_and_they_read_back(text in soup(&["cus_", "dlv_", "@", "+49", "0", "\u{0}", "a"], 12)) {
        for kind in [IdentityKind::UserId, IdentityKind::Email, IdentityKind::Phone, IdentityKind::AnonymousId] {
            if let Some(identity) = Identity::new(kind, &text) {
                prop_assert_eq!(Identity::new(kind, &identity.value), Some(identity));
            }
        }
        if let Ok(id) = text.parse::<CustomerId>() {
            prop_assert_eq!(id.to_string().parse::<CustomerId>().ok(), Some(id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_a_rule_or_says_what_is_wrong(
        text in soup(
            &["const RULE = #{ trigger: ", "daily(\"09:00\")", " };\n", "fn when(customer) { ", "fn then(customer) { ", " }\n",
              "customer.", "email(\"x\");", "(", ")", "{", "}", "[", "]", "|", "`${", "1e999", "\"", "loop ", "if ", "??", "==",
              "//!", "/*", "fn ", "let x = ", "cron(\"* * * * *\")", "#{", "\n", ".", "=> "],
            24,
        ),
        depth in 0..2_000usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("shared")).unwrap();
        for file in ["soup.rhai", "segments.rhai", "shared/common.rhai"] {
            fs::write(dir.path().join(file), &text).unwrap();
        }
        fs::write(dir.path().join("deep.rhai"), "(".repeat(depth)).unwrap();
        let book = RuleBook::load(dir.path(), &Vocabulary::default(), None);
        prop_assert!(book.rule("soup").is_some() || book.diagnostics().iter().any(|d| d.file.ends_with("soup.rhai")));
        prop_assert!(book.diagnostics().iter().all(|d| !d.message.is_empty()));
    }

    #[test]
    fn any_text_is_a_template_or_says_what_is_wrong(
        text in soup(
            &["{{ ", " }}", "{% ", " %}", "for x in ", "customer", ".first_name", "if ", "else", "endif", "endfor", "|", "default(",
              ")", "\"", "{#", "#}", "include \"a\"", "macro m()", "range(99999999)", "7*7", "\n", "unsubscribe_url"],
            20,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("soup");
        fs::create_dir_all(&folder).unwrap();
        for file in ["subject.txt", "body.txt", "body.html"] {
            fs::write(folder.join(file), &text).unwrap();
        }
        fs::write(folder.join("template.toml"), "class = \"transactional\"\n").unwrap();
        let (templates, problems) = Templates::load(dir.path(), None);
        prop_assert!(templates.cards().contains_key("soup") || !problems.is_empty());
    }

    #[test]
    fn a_stored_position_that_is_rubbish_is_refused_and_never_believed(
        text in soup(&["{", "}", "\"rows\":", "\"digest\":", "\"cuts\":", "0", "18446744073709551615", "[", "]", ",", "null", "\"\""], 12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f.csv");
        fs::write(&file, "day,who\n2026-03-01,a\n").unwrap();
        let config: SourceConfig = toml::from_str(
            "name = 's'\nkind = 'csv'\n[mapping]\nevent = 'E'\ntime = 'day'\nidentities = { user_id = 'who' }",
        ).unwrap();
        let business = Business { zone: TimeZone::UTC, currency: "EUR".parse().unwrap() };
        let mut connector = config.open(Some(&file), &business).unwrap_or_else(|error| panic!("{error}"));
        let now = "2026-03-02T00:00:00Z".parse().unwrap();
        let pulled = futures_util::FutureExt::now_or_never(connector.pull(Some(&text), now)).unwrap();
        prop_assert!(matches!(pulled, Err(ConnectorError::Invalid(_))), "{:?}", pulled);
    }

    #[test]
    fn whatever_a_mail_server_says_only_its_final_yes_is_a_sent_mail(
        said in soup(
            &["220 hi\r\n", "250 ok\r\n", "250-PIPELINING\r\n", "354 go\r\n", "550 no\r\n", "421 bye\r\n", "99999 x\r\n", "250", "-", "\r\n",
              "\n", "\u{0}", " ", "250 a\u{1b}[2J\r\n"],
            12,
        ),
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let words = said.clone();
        let server = std::thread::spawn(move || {
            // Says everything at once, hears everything, and is gone.
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(words.as_bytes()).ok();
            stream.shutdown(std::net::Shutdown::Write).ok();
            std::io::copy(&mut (&stream).take(1 << 20), &mut std::io::sink()).ok();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let section = format!("kind = 'smtp'\nhost = '127.0.0.1'\nport = {port}\ntls = 'none'\nfrom = 'S <s@s.example>'\ncommand_timeout = '5s'\ncontent_timeout = '5s'");
            let channel = crate::channels::open_email(&section).unwrap();
            channel.deliver(&win_back(1), &Intent::durable()).await
        });
        server.join().unwrap();
        if let Outcome::Sent { .. } = &outcome {
            // Greeting, EHLO, MAIL, RCPT, DATA, content: each has had its yes, in this order.
            let answers: Vec<&str> = said.lines().filter(|line| line.len() > 3 && line.as_bytes()[3] == b' ').map(|l| &l[..3]).collect();
            prop_assert!(answers.len() >= 6 && answers.contains(&"354"), "{:?} {:?}", said, outcome);
        }
    }
}
