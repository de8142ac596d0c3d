//! Files become events: the example configurations on the real data sets (where they are at hand) and on small files with
//! the same columns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use rekindle::connectors::{Batch, Connector, ConnectorError, Counts, Quarantined, SourceConfig};
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::event::{Fact, names};
use rekindle::domain::money::Currency;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::not_run::data_set;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn business(currency: &str) -> Business {
    Business { zone: TimeZone::UTC, currency: currency.parse().unwrap() }
}

/// The one source in a configuration file or a piece of one.
fn source(text: &str) -> SourceConfig {
    #[derive(Deserialize)]
    struct Config {
        sources: Vec<SourceConfig>,
    }
    toml::from_str::<Config>(text).unwrap_or_else(|e| panic!("{e}")).sources.remove(0)
}

fn example(name: &str) -> SourceConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/examples").join(name);
    source(&std::fs::read_to_string(path).unwrap())
}

fn open(config: &SourceConfig, file: &Path) -> Box<dyn Connector> {
    config.open(Some(file), &business("EUR")).unwrap_or_else(|error| panic!("{error}"))
}

/// All that a source hands over from `cursor` on, and the cursors on the way.
#[derive(Default)]
struct Import {
    facts: Vec<Fact>,
    quarantined: Vec<Quarantined>,
    counts: Counts,
    cursors: Vec<String>,
}

async fn import(mut connector: Box<dyn Connector>, mut cursor: Option<String>) -> Import {
    let mut import = Import::default();
    loop {
        let Batch { facts, quarantined, cursor: next, counts, done, .. } =
            connector.pull(cursor.as_deref(), NOW).await.unwrap_or_else(|error| panic!("{error}"));
        import.facts.extend(facts);
        import.quarantined.extend(quarantined);
        import.counts.n_records += counts.n_records;
        import.counts.n_duplicate_records += counts.n_duplicate_records;
        import.counts.n_facts += counts.n_facts;
        import.counts.n_quarantined += counts.n_quarantined;
        import.cursors.push(next.clone());
        if done {
            return import;
        }
        cursor = Some(next);
    }
}

impl Import {
    fn named(&self, name: &str) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.name == name)
    }

    fn reasons(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for quarantined in &self.quarantined {
            *reasons.entry(quarantined.reason.as_str()).or_default() += 1;
        }
        reasons
    }

    fn minor(&self, name: &str, currency: Currency) -> i64 {
        self.named(name).map(|fact| fact.amount(currency).unwrap().minor).sum()
    }

    fn ids(&self) -> Vec<&str> {
        self.facts.iter().map(|fact| fact.message_id.as_str()).collect()
    }
}

#[tokio::test]
async fn a_year_of_real_invoices_comes_to_the_penny() {
    let Some(file) = data_set("import of online_retail", "online_retail.csv.gz") else { return };
    let config = example("online_retail.toml");
    let first = import(open(&config, &file), None).await;

    let expected =
        Counts { n_records: 541_909, n_duplicate_records: 5_268, n_facts: 23_796, n_quarantined: 2_513, n_skipped: 0 };
    assert_eq!(first.counts, expected);
    let reasons = BTreeMap::from([("not_a_sale", 3), ("stock_adjustment", 1_336), ("zero_price", 1_174)]);
    assert_eq!(first.reasons(), reasons);
    let lines: usize = first.facts.iter().map(|f| f.properties["products"].as_array().unwrap().len()).sum();
    assert_eq!(lines, 534_128);

    assert_eq!(first.named(names::ORDER_COMPLETED).count(), 19_960);
    assert_eq!(first.named(names::ORDER_REFUNDED).count(), 3_836);
    assert_eq!(first.facts.iter().filter(|fact| !fact.identities.is_empty()).count(), 22_187);
    let pounds = "GBP".parse().unwrap();
    assert_eq!(first.minor(names::ORDER_COMPLETED, pounds), 1_063_104_874);
    assert_eq!(first.minor(names::ORDER_REFUNDED, pounds), 89_397_973);

    // The one invoice whose rows do not stand together is one order in two parts.
    let parts: Vec<&Value> = first.facts.iter().filter_map(|fact| fact.properties.get("order_part")).collect();
    assert_eq!(parts, [&json!(1)]);
    assert_eq!(first.facts.iter().filter(|fact| fact.properties["order_id"] == "542806").count(), 2);

    // Whoever starts again behind any batch, for instance after a kill inside an invoice, gets the rest and nothing else.
    let ids = first.ids();
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
    for n_batches in [1, first.cursors.len() / 2] {
        let cursor = first.cursors[n_batches - 1].clone();
        let rest = import(open(&config, &file), Some(cursor)).await;
        assert_eq!(rest.ids(), ids[ids.len() - rest.facts.len()..]);
        assert_eq!(rest.cursors, first.cursors[n_batches..]);
    }
}

#[tokio::test]
async fn the_cohort_of_the_papers_comes_to_their_totals() {
    let Some(file) = data_set("import of cdnow", "cdnow_master.csv.gz") else { return };
    let import = import(open(&example("cdnow.toml"), &file), None).await;
    let expected =
        Counts { n_records: 69_659, n_duplicate_records: 0, n_facts: 67_591, n_quarantined: 0, n_skipped: 0 };
    assert_eq!(import.counts, expected);
    let dollars = "USD".parse().unwrap();
    assert_eq!(import.minor(names::ORDER_COMPLETED, dollars), 250_031_563);
    assert_eq!(import.facts.iter().filter(|fact| fact.properties["total"] == "0.00").count(), 80);
    let customers: std::collections::BTreeSet<_> = import.facts.iter().map(|fact| &fact.identities[0].value).collect();
    assert_eq!(customers.len(), 23_570);
    assert_eq!(import.facts[0].occurred_at.to_string(), "1997-01-01T17:00:00Z");
}

#[tokio::test]
async fn an_invoice_is_one_order_and_what_cannot_be_used_is_put_aside() {
    let import = import(open(&example("online_retail.toml"), &fixture("online_retail.csv")), None).await;
    let totals: Vec<_> = import
        .facts
        .iter()
        .map(|fact| {
            let property = |key| fact.properties.get(key).map(|v| v.to_string().replace('"', "")).unwrap_or_default();
            let customer = fact.identities.first().map_or("nobody", |identity| &identity.value);
            let n_lines = fact.properties["products"].as_array().unwrap().len();
            let (id, total, part) = (property("order_id"), property("total"), property("order_part"));
            format!("{} {id} {total} {n_lines} {customer} {part}", fact.name).trim_end().to_owned()
        })
        .collect();
    let expected = [
        "Order Completed 700001 22.08 2 90001",
        "Order Completed 700002 2.55 1 nobody",
        "Order Refunded C700004 8.49 2 90001",
        "Order Completed 700006 3.02 1 90002",
        "Order Completed 700007 2.55 1 90003",
        "Order Completed 700006 10.00 1 90002 1",
        "Order Completed 700009 10.00 1 90003",
    ];
    assert_eq!(totals, expected);

    let first = &import.facts[0];
    assert_eq!(first.occurred_at.to_string(), "2010-12-01T08:26:00Z", "the earliest row's");
    assert_eq!((first.known_at, first.received_at, first.imported), (first.occurred_at, NOW, true));
    assert_eq!(first.traits["country"], "United Kingdom");
    let ruler = json!({ "product_id": "A11", "name": "RULER 7\" STEEL", "quantity": 2, "price": 3.39 });
    assert_eq!(first.properties["products"][1], ruler);
    assert_eq!(import.facts[2].properties["products"][0]["quantity"], 2, "what is refunded is positive");
    assert_eq!(import.facts[3].occurred_at.to_string(), "2011-07-01T11:00:00Z", "summer time");

    let aside: Vec<_> = import.quarantined.iter().map(|q| format!("{} {}", q.locator, q.reason)).collect();
    let expected = [
        "online_retail.csv:5 zero_price",
        "online_retail.csv:7 stock_adjustment",
        "online_retail.csv:10 not_a_sale",
        "online_retail.csv:14 unclosed_quote",
        "online_retail.csv:15 bad_number",
    ];
    assert_eq!(aside, expected);
    assert!(import.quarantined[3].record.starts_with("700008,A16,\"PLATE"));
    let counts = Counts { n_records: 15, n_duplicate_records: 1, n_facts: 7, n_quarantined: 5, n_skipped: 0 };
    assert_eq!(import.counts, counts);
}

#[tokio::test]
async fn the_same_rows_have_the_same_ids_in_any_file() {
    let config = example("online_retail.toml");
    let first = import(open(&config, &fixture("online_retail.csv")), None).await;
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("export-of-tuesday.dat");
    let plain = std::fs::read(fixture("online_retail.csv")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&other).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    gzip.finish().unwrap();
    assert_eq!(import(open(&config, &other), None).await.facts, first.facts);

    let renamed = SourceConfig { name: "another_shop".to_owned(), ..config };
    assert_ne!(import(open(&renamed, &other), None).await.ids(), first.ids());
}

#[tokio::test]
async fn purchases_of_one_day_are_one_order_and_a_later_row_amends_it() {
    let import = import(open(&example("cdnow.toml"), &fixture("cdnow.csv")), None).await;
    let orders: Vec<_> = import
        .facts
        .iter()
        .map(|f| (f.properties["order_id"].as_str().unwrap(), f.properties["total"].as_str().unwrap()))
        .collect();
    let expected = [
        ("90001/1997-01-01", "11.77"),
        ("90002/1997-01-12", "101.00"),
        ("90003/1997-01-13", "0.00"),
        ("90002/1997-01-12", "1.25"),
    ];
    assert_eq!(orders, expected);
    assert_eq!(import.facts[3].properties["order_part"], 1);
}

const CUSTOMERS: &str = r#"
[[sources]]
name = "crm"
kind = "csv"
delimiter = ";"
decimal_comma = true
knowledge_delay = "1d"

[sources.mapping]
event = "Customer Identified"
time = { column = "member since", format = "%d.%m.%Y", zone = "Europe/Berlin" }
identities = { user_id = "number", email = "e-mail" }

[sources.mapping.traits]
first_name = "first name"
email = "e-mail"
points = { column = "points", type = "number" }
origin = { value = "crm" }

[[sources.mapping.consent]]
column = "newsletter"
topic = "offers"
given = "ja"
withdrawn = "nein"
"#;

#[tokio::test]
async fn customers_bring_traits_and_consent_and_consent_is_never_guessed() {
    let import = import(open(&source(CUSTOMERS), &fixture("customers.csv")), None).await;
    let named: Vec<_> = import.facts.iter().map(|f| (f.name.as_str(), f.identities.len())).collect();
    let expected = [
        (names::IDENTIFIED, 2),
        (names::CONSENT_GIVEN, 2),
        // The address is no address; the customer is known by number all the same.
        (names::IDENTIFIED, 1),
        (names::CONSENT_WITHDRAWN, 1),
    ];
    assert_eq!(named, expected);
    let ana = &import.facts[0];
    let traits = json!({ "first_name": "Ana", "email": "Ana@Example.com", "points": 1200.5, "origin": "crm" });
    assert_eq!(Value::from(ana.traits.clone()), traits);
    assert_eq!(ana.occurred_at.to_string(), "2025-01-03T11:00:00Z");
    assert_eq!(ana.known_at.to_string(), "2025-01-04T11:00:00Z");
    assert_eq!(Value::from(import.facts[1].properties.clone()), json!({ "channel": "email", "topic": "offers" }));
    let reasons = BTreeMap::from([("bad_consent", 1), ("bad_time", 1), ("bad_identity", 1)]);
    assert_eq!(import.reasons(), reasons);
}

#[tokio::test]
async fn json_lines_are_segments_messages_unless_mapped() {
    let config = source("[[sources]]\nname = 'web'\nkind = 'jsonl'\nimported = false");
    let found = import(open(&config, &fixture("events.jsonl")), None).await;
    let events: Vec<_> = found.facts.iter().map(|f| f.name.as_str()).collect();
    let review = "Review Submitted";
    let expected = [names::IDENTIFIED, "Product Viewed", names::PAGE_VIEWED, review, review, names::MERGED];
    assert_eq!(events, expected);
    assert_eq!((found.facts[0].known_at, found.facts[0].imported), (NOW, false));
    assert_eq!(found.facts[2].properties["name"], "Home");
    assert_eq!(found.facts[2].identities[0].value, "1");
    assert_eq!(found.facts[2].message_id, "m3");
    assert_ne!(found.facts[3].message_id, found.facts[4].message_id, "two equal lines without an id are two events");
    let reasons = BTreeMap::from([("bad_json", 1), ("no_event", 1), ("no_identity", 1), ("not_an_object", 1)]);
    assert_eq!(found.reasons(), reasons);

    let mapped = source(
        "[[sources]]\nname = 'reviews'\nkind = 'jsonl'\n[sources.mapping]\nevent = 'Review Submitted'\n\
         time = '/timestamp'\nmessage_id = 'messageId'\nidentities = { email = '/traits/email' }\n\
         properties = { plan = '/traits/plan' }",
    );
    let found = import(open(&mapped, &fixture("events.jsonl")), None).await;
    assert_eq!((found.facts[0].message_id.as_str(), &found.facts[0].properties["plan"]), ("m1", &json!("plus")));
}

#[test]
fn a_wrong_header_names_what_is_missing_and_what_is_there() {
    let text = CUSTOMERS.replace("\"first name\"", "\"firstname\"").replace("\"e-mail\"", "\"address\"");
    let error = source(&text).open(Some(&fixture("customers.csv")), &business("EUR")).err().unwrap();
    let ConnectorError::Invalid(message) = error else { panic!("{error}") };
    let expected = "does not have what the mapping asks for: `address`, `firstname` (did you mean `first name`?); its \
                    columns are number, first name, e-mail, member since, newsletter, points";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn everything_wrong_with_a_mapping_is_said_at_once() {
    let config = source(
        r#"
[[sources]]
name = "My Shop"
kind = "csv"
imported = false
knowledge_delay = "2 moons"
[sources.mapping]
group_by = ["day", "customer"]
event = "order completed"
time = { column = "at", format = "%H:%M", zone = "Europe/Londn" }
currency = "pounds"
properties = { a = { column = "x", value = 1 } }
[[sources.mapping.events]]
when = { column = "kind" }
event = "Order Refunded"
negate = "amount"
[[sources.mapping.quarantine]]
when = []
reason = "Zero Price"
[[sources.mapping.consent]]
column = "newsletter"
given = "yes please"
"#,
    );
    let expected = [
        "name: `My Shop` may only have a-z, 0-9, `_` and `-`",
        "knowledge_delay: `2 moons` is not a length of time; use one such as 0d, 2d or 36h",
        "mapping.properties.a: state exactly one of `column`, `value` and `join`",
        "mapping.time: `Europe/Londn` is not a time zone; use an IANA name such as Europe/London",
        "mapping.currency: `pounds` is not a currency code; use three letters such as EUR or GBP (ISO 4217)",
        "mapping.event: `order completed` is not the event that is built in; did you mean `Order Completed`?",
        "mapping.properties.order_id: an order needs its id, for instance `order_id = { join = [\"day\", \"customer\"] }`",
        "mapping.events[0].when: state exactly one of `equals`, `one_of`, `starts_with`, `less_than`, `greater_than` \
         and `empty` for `kind`",
        "mapping.events[0].negate: `amount` is not read as a number anywhere",
        "mapping.quarantine[0].when: a condition is needed",
        "mapping.quarantine[0].reason: `Zero Price` is not a code to count by; use words like zero_price",
        "mapping.consent[0]: state the words of both `given` and `withdrawn`, or of neither",
    ];
    assert_eq!(config.validate(), expected);
    let unknown = toml::from_str::<SourceConfig>("name = 'a'\nkind = 'csv'\n[mapping]\ntime = { colum = 'at' }");
    assert!(unknown.unwrap_err().to_string().contains("unknown field `colum`"));
}

#[test]
fn every_mapping_in_the_guide_is_valid() {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/import.md")).unwrap();
    let pieces: Vec<&str> =
        guide.split("```toml\n").skip(1).map(|piece| piece.split("```").next().unwrap_or_default()).collect();
    assert!(pieces.len() >= 6);
    for piece in pieces {
        assert_eq!(source(piece).validate(), [""; 0], "{piece}");
    }
    for name in ["online_retail.toml", "cdnow.toml"] {
        assert_eq!(example(name).validate(), [""; 0], "{name}");
    }
}
