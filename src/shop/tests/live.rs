//! The thirty days of June.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::{Date, date};

use super::*;
use crate::shop::records::What;

fn mail(truth: &Truth, template: &str) -> Contact {
    Contact { email: truth.email.clone(), template: template.to_owned(), marketing: true }
}

/// Lives `n` days with `contacts` before the first; how many orders each customer placed.
fn orders_after(shop: &mut Shop, contacts: &[Contact], n: usize) -> BTreeMap<usize, usize> {
    let mut orders = BTreeMap::new();
    for day in 0..n {
        let today = shop.next_day().unwrap();
        let period = shop.live_day(today, if day == 0 { contacts } else { &[] }).unwrap();
        for record in period.records.iter().filter(|r| matches!(r.what, What::Ordered { .. })) {
            *orders.entry(record.customer).or_default() += 1;
        }
    }
    orders
}

#[test]
fn days_are_lived_in_order_after_the_history() {
    let mut fresh = Shop::new(SEED).unwrap();
    assert_eq!(fresh.next_day(), None);
    let early = fresh.live_day(FIRST_LIVE_DAY, &[]).unwrap_err().to_string();
    assert_eq!(early, "the shop cannot live 2026-06-01 now: live the history first");
    let mut shop = in_june();
    assert!(shop.live_history(&mut |_, _| {}).is_err());
    assert!(shop.live_day(date(2026, 6, 2), &[]).unwrap_err().to_string().ends_with("the next day is 2026-06-01"));
    for n in 0..30 {
        shop.live_day(FIRST_LIVE_DAY.saturating_add(n.days()), &[]).unwrap();
    }
    let late = shop.live_day(date(2026, 7, 1), &[]).unwrap_err().to_string();
    assert!(late.ends_with("its calendar has ended"), "{late}");
}

#[test]
fn a_day_holds_its_own_events_in_order_spread_over_waking_hours() {
    let mut shop = in_june();
    for _ in 0..30 {
        let today = shop.next_day().unwrap();
        let period = shop.live_day(today, &[]).unwrap();
        let (from, until) = period.bounds();
        let times: Vec<i64> = period.records.iter().map(|r| r.at * 1_000_000).collect();
        assert!(times.is_sorted() && times.iter().all(|&at| (from.as_micros()..until.as_micros()).contains(&at)));
        let hours: BTreeSet<i64> = times.iter().map(|at| (at - from.as_micros()) / 3_600_000_000).collect();
        assert!(hours.len() >= 14 && times.len() > 500, "{today}: {} events in hours {hours:?}", times.len());
    }
}

#[test]
fn files_that_grow_by_the_hour_become_the_file_of_the_day() {
    let day = in_june().live_day(FIRST_LIVE_DAY, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (whole, growing) = (dir.path().join("whole"), dir.path().join("growing"));
    assert_eq!(day.write(&whole, &mut |_, _| {}).unwrap().blemishes, Blemishes::LIVE_DAY);
    let (mut hour, until) = day.bounds();
    let mut n_orders = 0;
    while hour < until {
        let next = hour.plus(jiff::SignedDuration::from_hours(1));
        n_orders += day.append_between(&growing, hour, next).unwrap().n_orders;
        hour = next;
    }
    for name in ["customers.csv", "orders.csv", "refunds.csv", "events.jsonl"] {
        let read = |dir: &Path| std::fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(read(&growing), read(&whole), "{name}");
    }
    let lines = rows(&whole, "orders.csv");
    let (june, rest): (Vec<&Row>, Vec<&Row>) = lines.iter().partition(|row| row["placed_at"].starts_with("2026-06-01"));
    assert!(n_orders > 20 && june.len() as u64 > n_orders);
    assert!(rest.iter().all(|row| row["placed_at"].starts_with("2026-02-30")), "{rest:?}");
}

#[test]
fn the_same_calls_give_the_same_shop_after_a_restart() {
    let contacts: Vec<Contact> = history().truths.iter().step_by(7).map(|t| mail(t, "win_back")).collect();
    let june = || {
        let mut shop = in_june();
        shop.live_day(FIRST_LIVE_DAY, &contacts).unwrap();
        format!("{:?}", shop.live_day(date(2026, 6, 2), &[]).unwrap().records)
    };
    assert_eq!(june(), june());
}

#[test]
fn a_message_to_one_changes_nobody_else() {
    let target = history().truths.iter().position(|t| !t.active).unwrap();
    let month = |contacts: &[Contact]| {
        let mut orders = orders_after(&mut in_june(), contacts, 30);
        orders.remove(&target);
        orders
    };
    assert_eq!(month(&[]), month(&[mail(&history().truths[target], "win_back")]));
}

#[test]
fn a_win_back_mail_multiplies_the_purchases_of_lapsed_customers_as_stated() {
    // Enough returns to measure: from June on the lapsed buy at a quarter of their old rate instead of a twentieth.
    let effects = Effects { lapsed: 0.25, ..Effects::default() };
    let lapsed: BTreeSet<usize> = (0..5_000).filter(|&n| !history().truths[n].active).collect();
    let (mut without, mut with) = (0.0, 0.0);
    for truth in lapsed.iter().map(|&n| &history().truths[n]) {
        without += truth.rate;
        with += truth.rate * truth.factor_of(&effects, "win_back");
    }
    let stated = with / without;
    assert!((1.8..2.6).contains(&stated), "{stated}");
    let contacts: Vec<Contact> = lapsed.iter().map(|&n| mail(&history().truths[n], "win_back")).collect();
    let lived = |contacts: &[Contact]| {
        let mut shop = in_june().with_effects(effects.clone());
        let mut of_lapsed = |contacts: &[Contact], n| {
            let orders = orders_after(&mut shop, contacts, n);
            orders.iter().filter(|(customer, _)| lapsed.contains(customer)).map(|(_, n)| n).sum::<usize>()
        };
        [of_lapsed(contacts, 14), of_lapsed(&[], 6), of_lapsed(&[], 10)]
    };
    let (quiet, mailed) = (lived(&[]), lived(&contacts));
    let measured = draw::real(mailed[0] as u64) / draw::real(quiet[0] as u64);
    assert!(quiet[0] > 80, "{quiet:?} lapsed customers bought by themselves");
    assert!(
        (measured / stated - 1.0).abs() < 0.25,
        "measured {measured}, stated {stated}: {mailed:?} against {quiet:?}"
    );
    assert!(mailed[2] < 2 * quiet[2], "it ends, but for those who came back: {mailed:?} against {quiet:?}");
}

#[test]
fn cart_mails_bring_carts_back_and_mails_cost_consent() {
    let everybody: Vec<Contact> = history().truths.iter().map(|t| mail(t, "cart_rescue")).collect();
    let lived = |mails: bool| {
        let mut shop = in_june();
        let (mut n_orders, mut n_withdrawn) = (0, 0);
        for _ in 0..30 {
            let today = shop.next_day().unwrap();
            let period = shop.live_day(today, if mails { &everybody } else { &[] }).unwrap();
            n_orders += period.records.iter().filter(|r| matches!(r.what, What::Ordered { .. })).count();
            n_withdrawn += period.records.iter().filter(|r| matches!(r.what, What::ConsentWithdrawn)).count();
        }
        (n_orders, n_withdrawn)
    };
    let (quiet, loud) = (lived(false), lived(true));
    assert!(loud.0 > quiet.0 + 20, "orders: {loud:?} against {quiet:?}");
    assert!(loud.1 > 10 * quiet.1.max(1), "withdrawn: {loud:?} against {quiet:?}");
}

#[test]
fn the_shipped_rules_find_something_to_do() {
    let mut shop = in_june();
    let mut truths = shop.truths();
    let ago = |day: Option<Date>, today: Date| day.map(|day| (today - day).get_days());
    let win_back =
        truths.iter().filter(|t| ago(t.last_order_on, FIRST_LIVE_DAY).is_some_and(|days| days >= 60)).count();
    let valuable = |t: &&Truth| draw::real(u64::from(t.n_orders)) * t.mean_value > 600.0;
    let vips = truths
        .iter()
        .filter(valuable)
        .filter(|t| ago(t.last_order_on, FIRST_LIVE_DAY).is_some_and(|days| days >= 45))
        .count();
    let (mut second_order, mut bad_reviews, mut open_carts) = (BTreeSet::new(), 0, 0);
    for _ in 0..30 {
        let today = shop.next_day().unwrap();
        let one =
            |t: &&Truth| t.n_orders == 1 && ago(t.last_order_on, today).is_some_and(|days| (20..=45).contains(&days));
        second_order.extend(truths.iter().filter(one).map(|t| t.user_id.clone()));
        let period = shop.live_day(today, &[]).unwrap();
        let mut carts = BTreeSet::new();
        for record in &period.records {
            match record.what {
                What::CheckoutStarted { .. } => drop(carts.insert(record.customer)),
                What::Ordered { .. } => drop(carts.remove(&record.customer)),
                What::Reviewed { rating: 1 | 2, .. } => bad_reviews += 1,
                _ => {}
            }
        }
        open_carts += carts.len();
        truths = shop.truths();
    }
    assert!(win_back > 1_000 && vips > 50, "{win_back} {vips}");
    assert!(
        second_order.len() > 150 && open_carts > 60 && bad_reviews > 15,
        "{} {open_carts} {bad_reviews}",
        second_order.len()
    );
}
