//! The mistakes in the shop's files. Real exports have them; these are counted, so that it can be checked that what is
//! dropped and quarantined is these and nothing else. A mistake is always *added*: the true rows are all there.

use std::collections::BTreeMap;

use super::draw::Draw;
use super::records::{Record, What};

/// How many mistakes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blemishes {
    /// `orders.csv`: a line twice, the same to the byte.
    pub n_duplicate_order_lines: u64,
    /// `orders.csv`: an order with a time that does not exist, such as the 30th of February.
    pub n_order_lines_without_time: u64,
    /// `orders.csv`: a guest's order, without `user_id`. No mistake, but nobody's.
    pub n_guest_orders: u64,
    /// `refunds.csv`: an amount that is no number.
    pub n_refunds_without_amount: u64,
    /// `customers.csv`: the same customer twice, the same to the byte.
    pub n_duplicate_customers: u64,
    /// `customers.csv`: an address without `@`, in a row before the right one.
    pub n_email_typos: u64,
    /// `events.jsonl`: a line twice, with the same `messageId`.
    pub n_duplicate_events: u64,
    /// `events.jsonl`: a line that breaks off.
    pub n_broken_events: u64,
    /// `events.jsonl`: a time that is none.
    pub n_events_without_time: u64,
}

impl Blemishes {
    /// In the two years of history.
    pub const HISTORY: Blemishes = Blemishes {
        n_duplicate_order_lines: 14,
        n_order_lines_without_time: 6,
        n_guest_orders: 40,
        n_refunds_without_amount: 3,
        n_duplicate_customers: 5,
        n_email_typos: 8,
        n_duplicate_events: 25,
        n_broken_events: 4,
        n_events_without_time: 7,
    };

    /// On each live day; fewer where a day has too little of a kind.
    pub const LIVE_DAY: Blemishes = Blemishes {
        n_duplicate_order_lines: 1,
        n_order_lines_without_time: 1,
        n_guest_orders: 1,
        n_refunds_without_amount: 0,
        n_duplicate_customers: 0,
        n_email_typos: 0,
        n_duplicate_events: 2,
        n_broken_events: 1,
        n_events_without_time: 0,
    };
}

/// One mistake, at the record that gives the occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blemish {
    Twice,
    NoTime,
    Guest,
    NoAmount,
    Typo,
    Broken,
}

/// Record → the mistake made there.
#[derive(Debug, Default)]
pub(super) struct Plan(BTreeMap<usize, Blemish>);

impl Plan {
    pub(super) fn history(seed: u64, records: &[Record]) -> Self {
        Self::draw(&mut Draw::new(seed, 1 << 40), records, &Blemishes::HISTORY)
    }

    pub(super) fn live(seed: u64, day: usize, records: &[Record]) -> Self {
        Self::draw(&mut Draw::new(seed, (1 << 40) + day as u64), records, &Blemishes::LIVE_DAY)
    }

    pub(super) fn at(&self, record: usize) -> Option<Blemish> {
        self.0.get(&record).copied()
    }

    fn draw(draw: &mut Draw, records: &[Record], n: &Blemishes) -> Self {
        let mut sheets: [Vec<usize>; 4] = Default::default();
        for (index, record) in records.iter().enumerate() {
            let sheet = match record.what {
                What::Ordered { .. } => 0,
                What::Refunded { .. } => 1,
                What::SignedUp => 2,
                _ => 3,
            };
            sheets[sheet].push(index);
        }
        let wanted = [
            (0, Blemish::Twice, n.n_duplicate_order_lines),
            (0, Blemish::NoTime, n.n_order_lines_without_time),
            (0, Blemish::Guest, n.n_guest_orders),
            (1, Blemish::NoAmount, n.n_refunds_without_amount),
            (2, Blemish::Twice, n.n_duplicate_customers),
            (2, Blemish::Typo, n.n_email_typos),
            (3, Blemish::Twice, n.n_duplicate_events),
            (3, Blemish::Broken, n.n_broken_events),
            (3, Blemish::NoTime, n.n_events_without_time),
        ];
        let mut plan = BTreeMap::new();
        for (sheet, blemish, n) in wanted {
            for _ in 0..n {
                if sheets[sheet].is_empty() {
                    break;
                }
                let place = draw.below(sheets[sheet].len());
                plan.insert(sheets[sheet].swap_remove(place), blemish);
            }
        }
        Plan(plan)
    }
}
