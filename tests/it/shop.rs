//! The simulated shop's files come in through the ordinary connectors, by the mappings that lie beside it.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle::connectors::SourceConfig;
use rekindle::domain::clock::{Business, Timestamp};
use rekindle::domain::event::{Fact, names};
use rekindle::shop::{self, FIRST_LIVE_DAY, SEED, Shop};
use serde::Deserialize;

fn business() -> Business {
    let zone = jiff::tz::TimeZone::get(shop::ZONE).unwrap();
    Business { zone, currency: "EUR".parse().unwrap() }
}

/// What one source handed over.
#[derive(Default)]
struct Taken {
    facts: Vec<Fact>,
    n_records: u64,
    n_duplicates: u64,
    /// Reason → how many records were put aside for it.
    quarantined: BTreeMap<String, u64>,
}

impl Taken {
    fn count(&self, name: &str) -> u64 {
        self.facts.iter().filter(|fact| fact.name == name).count() as u64
    }

    fn cents(&self) -> i64 {
        self.facts.iter().filter_map(|fact| fact.amount(business().currency)).map(|money| money.minor).sum()
    }
}

/// Reads every source in `folder` ("history" or "live") to its end; file name → what came.
async fn take(dir: &Path, folder: &str, now: Timestamp) -> BTreeMap<String, Taken> {
    #[derive(Deserialize)]
    struct Config {
        sources: Vec<SourceConfig>,
    }
    let config: Config = toml::from_str(shop::SOURCES).unwrap();
    let mut all = BTreeMap::new();
    for source in config.sources {
        let path = source.path.clone().unwrap();
        if !path.starts_with(folder) {
            continue;
        }
        assert_eq!(source.imported, folder == "history");
        let mut connector = source.open(Some(&dir.join(&path)), &business()).unwrap_or_else(|error| panic!("{error}"));
        let (mut taken, mut cursor) = (Taken::default(), None);
        loop {
            let batch = connector.pull(cursor.as_deref(), now).await.unwrap();
            taken.n_records += batch.counts.n_records;
            taken.n_duplicates += batch.counts.n_duplicate_records;
            taken.facts.extend(batch.facts);
            for record in batch.quarantined {
                *taken.quarantined.entry(record.reason).or_default() += 1;
            }
            if batch.done {
                break;
            }
            cursor = Some(batch.cursor);
        }
        all.insert(path.file_name().unwrap().to_string_lossy().into_owned(), taken);
    }
    all
}

fn reasons<const N: usize>(reasons: [(&str, u64); N]) -> BTreeMap<String, u64> {
    reasons.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect()
}

#[tokio::test]
async fn the_shops_files_are_imported_to_the_cent_and_only_its_mistakes_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::new(SEED).unwrap();
    let written = shop.write_history(&dir.path().join("history"), &mut |_, _| {}).unwrap();
    let mistakes = written.blemishes;
    let taken = take(dir.path(), "history", "2026-06-01T00:00:00Z".parse().unwrap()).await;

    let customers = &taken["customers.csv"];
    assert_eq!(customers.n_records, 5_000 + mistakes.n_duplicate_customers + mistakes.n_email_typos);
    assert_eq!(customers.quarantined, reasons([]), "a typed-wrong address is left out, the customer is not");
    assert!((3_300..=3_700).contains(&customers.count(names::CONSENT_GIVEN)));
    assert_eq!(customers.count(names::CONSENT_WITHDRAWN), 0, "a box that was not ticked says nothing");

    let orders = &taken["orders.csv"];
    assert_eq!((orders.count(names::ORDER_COMPLETED), orders.cents()), (written.n_orders, written.gross_cents));
    assert_eq!(orders.n_duplicates, mistakes.n_duplicate_order_lines);
    assert_eq!(orders.quarantined, reasons([("bad_time", mistakes.n_order_lines_without_time)]));
    let guests = orders.facts.iter().filter(|fact| fact.identities.is_empty()).count() as u64;
    assert_eq!(guests, mistakes.n_guest_orders);

    let refunds = &taken["refunds.csv"];
    assert_eq!((refunds.count(names::ORDER_REFUNDED), refunds.cents()), (written.n_refunds, written.refunded_cents));
    assert_eq!(refunds.quarantined, reasons([("bad_number", mistakes.n_refunds_without_amount)]));

    let web = &taken["events.jsonl"];
    assert_eq!(web.facts.len() as u64, written.n_events + mistakes.n_duplicate_events);
    let put_aside = [("bad_json", mistakes.n_broken_events), ("bad_time", mistakes.n_events_without_time)];
    assert_eq!(web.quarantined, reasons(put_aside));
    for name in ["Product Viewed", "Product Added", "Checkout Started", "Review Submitted", "Support Ticket Opened"] {
        assert!(web.count(name) > 500, "{name}: {}", web.count(name));
    }
    assert_eq!(web.count(names::IDENTIFIED), 5_000);

    let live = dir.path().join("live");
    let day = shop.live_day(FIRST_LIVE_DAY, &[]).unwrap();
    let (from, until) = day.bounds();
    let noon = from.plus(jiff::SignedDuration::from_hours(12));
    day.append_between(&live, from, noon).unwrap();
    let morning = take(dir.path(), "live", noon).await;
    let afternoon = day.append_between(&live, noon, until).unwrap();
    let evening = take(dir.path(), "live", until).await;
    let (before, after) = (&morning["orders.csv"].facts, &evening["orders.csv"].facts);
    assert!(!before.is_empty() && before.iter().zip(after).all(|(a, b)| a.message_id == b.message_id));
    assert_eq!(after.len() as u64, before.len() as u64 + afternoon.n_orders);
    for fact in evening.values().flat_map(|taken| &taken.facts) {
        assert!((from..until).contains(&fact.occurred_at) && !fact.imported, "{fact:?}");
    }
}
