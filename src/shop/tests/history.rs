//! The two years.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime, date};
use sha2::{Digest, Sha256};

use super::*;

fn placed_at(row: &Row) -> DateTime {
    row["placed_at"].parse().unwrap()
}

/// Customer → the days of the orders.
fn order_days() -> BTreeMap<String, Vec<Date>> {
    let mut days: BTreeMap<String, Vec<Date>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in order_lines() {
        if !row["user_id"].is_empty() && seen.insert(row["order_id"].clone()) {
            days.entry(row["user_id"].clone()).or_default().push(placed_at(row).date());
        }
    }
    days
}

#[test]
fn everybody_sees_the_same_shop_to_the_byte() {
    let again = tempfile::tempdir().unwrap();
    let mut told = (0, 0);
    let mut progress = |done, total| {
        assert!(done >= told.0 && done <= total, "progress only goes forward");
        told = (done, total);
    };
    let summary = Shop::new(SEED).unwrap().write_history(again.path(), &mut progress).unwrap();
    assert_eq!((summary, told.0), (history().summary, told.1));
    let mut hashes = Vec::new();
    for name in ["customers.csv", "orders.csv", "refunds.csv", "events.jsonl"] {
        let bytes = std::fs::read(history().dir.join(name)).unwrap();
        assert!(bytes == std::fs::read(again.path().join(name)).unwrap(), "{name} differs between two runs");
        let hash = u64::from_be_bytes(Sha256::digest(&bytes)[..8].try_into().unwrap());
        hashes.push(format!("{hash:016x} {name}"));
    }
    // Changes with every parameter; when it changes without one, the shop is not the same on every machine.
    insta::assert_snapshot!(hashes.join("\n"), @r"
    80d7113e2b76a69a customers.csv
    1f7a48917d65c717 orders.csv
    75c3e47a7dd068de refunds.csv
    5cf0f3e9efb2c8b4 events.jsonl
    ");
}

#[test]
fn the_files_look_as_a_connector_expects_them() {
    let head = |name: &str, n: usize| {
        let text = std::fs::read_to_string(history().dir.join(name)).unwrap();
        text.lines().take(n).collect::<Vec<_>>().join("\n")
    };
    let heads = [head("customers.csv", 3), head("orders.csv", 4), head("refunds.csv", 2), head("events.jsonl", 2)];
    insta::assert_snapshot!(heads.join("\n\n"), @r#"
    user_id,email,first_name,last_name,country,timezone,language,birthday,signed_up_at,marketing_consent
    u000003,felix.meyer@example.com,Felix,Meyer,DE,Europe/Berlin,de,1957-06-29,2024-05-31T22:56:15Z,yes
    u000002,felix.richter@example.com,Felix,Richter,DE,Europe/Berlin,de,,2024-06-01T14:54:32Z,yes

    order_id,user_id,placed_at,sku,product,category,quantity,unit_price,coupon
    R000003-1,u000003,2024-06-01 00:58:43,GAR-012,Balcony bird house,Garden,1,9.90,
    R000003-1,u000003,2024-06-01 00:58:43,FAS-005,Nordic sun hat,Fashion,1,26.50,
    R000003-1,u000003,2024-06-01 00:58:43,GAR-016,Balcony trellis,Garden,1,10.90,

    refund_id,order_id,user_id,refunded_at,amount,kind,reason
    F000036-1,R000036-1,u000036,2024-06-17T17:29:19Z,53.95,whole,changed my mind

    {"type":"page","messageId":"m000003-0","anonymousId":"5dc83163333ad7f3","name":"Category","timestamp":"2024-05-31T22:47:08Z","context":{"locale":"de-DE","device":{"type":"desktop"}}}
    {"type":"track","messageId":"m000003-1","anonymousId":"5dc83163333ad7f3","event":"Product Viewed","timestamp":"2024-05-31T22:47:48Z","properties":{"product_id":"GAR-001","name":"Classic watering can","category":"Garden","price":53.95},"context":{"locale":"de-DE","device":{"type":"desktop"}}}
    "#);
    assert!(rows(&history().dir, "orders.csv").iter().any(|row| row["product"].contains(',')), "quoting is exercised");
}

#[test]
fn the_counts_are_in_their_bands() {
    let summary = &history().summary;
    assert_eq!(summary.n_customers, 5_000);
    assert!((280_000..=320_000).contains(&summary.n_in_all()), "{}", summary.n_in_all());
    let orders = order_days();
    let once = per_mille(orders.values().filter(|days| days.len() == 1).count(), orders.len());
    assert!((340..=440).contains(&once), "{once} of 1000 buyers bought once");
    let n_orders: usize = orders.values().map(Vec::len).sum();
    assert!((14_500..=17_500).contains(&n_orders), "{n_orders}");
    let refunds = per_mille(rows(&history().dir, "refunds.csv").len(), n_orders);
    assert!((45..=75).contains(&refunds), "{refunds} of 1000 orders were refunded");
    let customers = rows(&history().dir, "customers.csv");
    let agreed = per_mille(customers.iter().filter(|c| c["marketing_consent"] == "yes").count(), customers.len());
    assert!((680..=720).contains(&agreed), "{agreed} of 1000 agreed");
    let (events, _) = events();
    let count = |name: &str| events.iter().filter(|e| e.name == name).count();
    let withdrawn = per_mille(count("Consent Withdrawn"), 3_500);
    assert!((30..=70).contains(&withdrawn), "{withdrawn} of 1000 withdrew");
    assert!((5..=60).contains(&count("Suppressed")));
    assert!(count("Review Submitted") > 1_500 && count("Support Ticket Opened") > 400);
    assert!(count("Product Viewed") > 100_000 && count("Checkout Started") > n_orders);
}

#[test]
fn nothing_is_lost_and_the_mistakes_are_exactly_the_stated_ones() {
    let Written { dir, summary, .. } = history();
    assert_eq!(summary.blemishes, Blemishes::HISTORY);
    let customers = rows(dir, "customers.csv");
    let known: BTreeSet<&String> = customers.iter().map(|c| &c["user_id"]).collect();
    let typos = customers.iter().filter(|c| !c["email"].contains('@')).count() as u64;
    assert_eq!((known.len(), typos), (5_000, summary.blemishes.n_email_typos));
    assert_eq!(customers.len() as u64, 5_000 + typos + summary.blemishes.n_duplicate_customers);

    let all = rows(dir, "orders.csv");
    let lines = order_lines();
    let timeless = all.iter().filter(|row| row["placed_at"].parse::<DateTime>().is_err()).count() as u64;
    assert_eq!(timeless, summary.blemishes.n_order_lines_without_time);
    assert_eq!((all.len() - lines.len()) as u64, timeless + summary.blemishes.n_duplicate_order_lines);
    assert_eq!(lines.len() as u64, summary.n_order_lines);
    assert_eq!(lines.iter().map(line_total).sum::<i64>(), summary.gross_cents);
    let guests = lines.iter().filter(|row| row["user_id"].is_empty()).count() as u64;
    assert_eq!(guests, summary.blemishes.n_guest_orders);
    assert!(lines.iter().all(|row| row["user_id"].is_empty() || known.contains(&row["user_id"])));

    let mut totals: BTreeMap<&String, i64> = BTreeMap::new();
    for row in lines {
        *totals.entry(&row["order_id"]).or_default() += line_total(row);
    }
    assert_eq!(totals.len() as u64, summary.n_orders);
    let refunds = rows(dir, "refunds.csv");
    let unreadable = refunds.iter().filter(|row| row["amount"] == "tbd").count() as u64;
    assert_eq!(unreadable, summary.blemishes.n_refunds_without_amount);
    let mut back = 0;
    for row in refunds.iter().filter(|row| row["amount"] != "tbd") {
        let amount = cents(&row["amount"]);
        assert!(amount > 0 && amount <= totals[&row["order_id"]], "{row:?}");
        assert!(row["kind"] == "partial" || amount == totals[&row["order_id"]]);
        back += amount;
    }
    assert_eq!(back, summary.refunded_cents);

    let (events, n_broken) = events();
    assert_eq!(n_broken as u64, summary.blemishes.n_broken_events);
    let ids: BTreeSet<&str> = events.iter().map(|e| e.message_id.as_str()).collect();
    let timeless = events.iter().filter(|e| e.timestamp == "0000-00-00").count() as u64;
    assert_eq!(timeless, summary.blemishes.n_events_without_time);
    assert_eq!((events.len() - ids.len()) as u64, summary.blemishes.n_duplicate_events);
    assert_eq!(ids.len() as u64, summary.n_events + timeless);
}

#[test]
fn lines_of_an_order_stand_together() {
    let mut done = BTreeSet::new();
    let mut current = String::new();
    for row in rows(&history().dir, "orders.csv") {
        if row["order_id"] != current {
            assert!(done.insert(row["order_id"].clone()), "{} comes again", row["order_id"]);
            current.clone_from(&row["order_id"]);
        }
    }
}

#[test]
fn every_anonymous_visit_is_identified_sooner_or_later() {
    let (events, _) = events();
    let browser = |e: &'static Event| e.anonymous_id.as_deref();
    let anonymous: BTreeSet<&str> = events.iter().filter(|e| e.user_id.is_none()).filter_map(browser).collect();
    let known: BTreeSet<&str> = events.iter().filter(|e| e.user_id.is_some()).filter_map(browser).collect();
    assert!(anonymous.len() > 4_000, "{}", anonymous.len());
    assert!(anonymous.is_subset(&known));
    let people: BTreeSet<&str> = events.iter().filter_map(|e| e.user_id.as_deref()).collect();
    assert_eq!(people.len(), 5_000);
}

#[test]
fn the_seasons_of_week_and_year_are_visible() {
    let lines = order_lines();
    let share = |category: &str, months: [i8; 2]| {
        let of_months: Vec<&Row> = lines.iter().filter(|row| months.contains(&placed_at(row).month())).collect();
        per_mille(of_months.iter().filter(|row| row["category"] == category).count(), of_months.len())
    };
    assert!(share("Garden", [4, 5]) > 2 * share("Garden", [11, 12]));
    assert!(share("Toys", [11, 12]) > 2 * share("Toys", [5, 6]));
    let orders = order_days();
    let days: Vec<Date> = orders.into_values().flatten().collect();
    let on = |day: i8| days.iter().filter(|date| date.weekday().to_monday_zero_offset() == day).count();
    assert!(on(6) * 100 > on(1) * 118, "Sunday {} Tuesday {}", on(6), on(1));
    let of = |date: Date| days.iter().filter(|&&day| day == date).count();
    let black_friday = date(2025, 11, 28);
    assert!(of(black_friday) * 10 > of(black_friday.saturating_sub(jiff::Span::new().days(14))) * 13);
    let poles: BTreeSet<String> = rows(&history().dir, "customers.csv")
        .into_iter()
        .filter(|customer| customer["country"] == "PL")
        .map(|mut customer| customer.remove("user_id").unwrap())
        .collect();
    let of_may = |days: std::ops::Range<i8>| {
        let may = |row: &&Row| row["placed_at"].starts_with("2026-05") && days.contains(&placed_at(row).day());
        let outdoor = lines.iter().filter(may).filter(|row| row["category"] == "Outdoor");
        outdoor.filter(|row| poles.contains(&row["user_id"])).count()
    };
    // Three days of the burst against fifteen ordinary ones.
    assert!(10 * of_may(18..21) > 5 * of_may(1..16), "{} against {}", of_may(18..21), of_may(1..16));
}

#[test]
fn unhappy_reviewers_leave_more_often() {
    let orders = order_days();
    let mut came_back = BTreeMap::from([(true, (0, 0)), (false, (0, 0))]);
    for event in events().0 {
        let (Some(rating), Some(day), Some(user)) = (event.properties.rating, event.day(), &event.user_id) else {
            continue;
        };
        // Who wrote in the last half year has not had the time to come back.
        if rating != 3 && day < date(2025, 12, 1) {
            let counts = came_back.get_mut(&(rating <= 2)).unwrap();
            counts.0 += usize::from(orders[user].iter().any(|&ordered| ordered > day));
            counts.1 += 1;
        }
    }
    let share = |unhappy: bool| per_mille(came_back[&unhappy].0, came_back[&unhappy].1);
    assert!(came_back[&true].1 > 150, "{came_back:?}");
    assert!(share(true) + 120 < share(false), "{} against {} of 1000 came back", share(true), share(false));
}

#[test]
fn ratings_of_the_spoilt_brand_fall() {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for event in events().0.iter().filter(|e| e.properties.category == "Kitchen") {
        let (Some(rating), Some(day)) = (event.properties.rating, event.day()) else { continue };
        if day < BAD_BRAND_SINCE { before.push(rating) } else { after.push(rating) }
    }
    let mean = |ratings: &[usize]| ratings.iter().sum::<usize>() * 100 / ratings.len();
    assert!(mean(&before) > mean(&after) + 50, "{} {}", mean(&before), mean(&after));
}

#[test]
fn visits_tell_who_is_still_a_customer() {
    let recent = |e: &&Event| e.name == "Product Viewed" && e.day().is_some_and(|day| day >= date(2026, 4, 1));
    let lookers: BTreeSet<&String> = events().0.iter().filter(recent).filter_map(|e| e.user_id.as_ref()).collect();
    let looked = |active: bool| {
        let group: Vec<&Truth> = history().truths.iter().filter(|truth| truth.active == active).collect();
        per_mille(group.iter().filter(|truth| lookers.contains(&truth.user_id)).count(), group.len())
    };
    assert!(looked(true) > 2 * looked(false), "{} against {}", looked(true), looked(false));
}

#[test]
fn product_views_come_before_orders() {
    let mut views: BTreeSet<(&str, &str, Date)> = BTreeSet::new();
    let mut browsers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events().0 {
        let Some(browser) = event.anonymous_id.as_deref() else { continue };
        if let Some(user) = event.user_id.as_deref() {
            browsers.entry(user).or_default().insert(browser);
        }
        if let (Some(day), "Product Viewed") = (event.day(), event.name.as_str()) {
            views.insert((browser, &event.properties.product_id, day));
        }
    }
    let lines: Vec<&Row> = order_lines().iter().filter(|row| !row["user_id"].is_empty()).collect();
    let seen = |row: &&&Row| {
        let (sku, day) = (row["sku"].as_str(), placed_at(row).date());
        browsers[row["user_id"].as_str()].iter().any(|browser| views.contains(&(browser, sku, day)))
    };
    // Around midnight the days of the shop and of UTC differ.
    let share = per_mille(lines.iter().filter(seen).count(), lines.len());
    assert!(share > 930, "{share} of 1000 lines were looked at on their day");
}
