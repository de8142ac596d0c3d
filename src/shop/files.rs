//! The shop's exports, as shops make them: three CSV files and one of JSON lines.
//!
//! | file | one row is | time |
//! |---|---|---|
//! | `customers.csv` | a customer, at sign-up | `signed_up_at`, RFC 3339 |
//! | `orders.csv` | a line of an order; lines of one order are adjacent | `placed_at`, local time of the shop, no zone |
//! | `refunds.csv` | money sent back | `refunded_at`, RFC 3339 |
//! | `events.jsonl` | a call as Segment's libraries make it | `timestamp`, RFC 3339 |

use std::ops::Range;
use std::path::Path;

use super::ShopError;
use super::blemishes::{Blemish, Blemishes, Plan};
use super::calendar::utc;
use super::events;
use super::people::REGIONS;
use super::records::{Line, Record, What, total};
use super::scene::Stage;
use super::sheet::{Mode, Sheet};

const CUSTOMERS: [&str; 10] = [
    "user_id",
    "email",
    "first_name",
    "last_name",
    "country",
    "timezone",
    "language",
    "birthday",
    "signed_up_at",
    "marketing_consent",
];
const ORDERS: [&str; 9] =
    ["order_id", "user_id", "placed_at", "sku", "product", "category", "quantity", "unit_price", "coupon"];
const REFUNDS: [&str; 7] = ["refund_id", "order_id", "user_id", "refunded_at", "amount", "kind", "reason"];

/// What was written. The counts are of true rows; mistakes are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Customers who signed up.
    pub n_customers: u64,
    /// Orders, guests' ones included.
    pub n_orders: u64,
    /// Their lines.
    pub n_order_lines: u64,
    /// Refunds.
    pub n_refunds: u64,
    /// Lines of `events.jsonl`.
    pub n_events: u64,
    /// What all orders cost, in cents.
    pub gross_cents: i64,
    /// What went back, in cents.
    pub refunded_cents: i64,
    /// The mistakes.
    pub blemishes: Blemishes,
}

impl ExportSummary {
    /// Everything that happened: customers, orders, refunds and events.
    pub fn n_in_all(&self) -> u64 {
        self.n_customers + self.n_orders + self.n_refunds + self.n_events
    }
}

struct Export<'a> {
    stage: &'a Stage,
    customers: Sheet,
    orders: Sheet,
    refunds: Sheet,
    events: Sheet,
    summary: ExportSummary,
}

/// Writes the records of `range` into `dir`, with the mistakes of `plan`.
pub(super) fn write(
    stage: &Stage,
    records: &[Record],
    plan: &Plan,
    range: Range<usize>,
    dir: &Path,
    mode: Mode,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ExportSummary, ShopError> {
    std::fs::create_dir_all(dir).map_err(|source| ShopError::Write { path: dir.to_owned(), source })?;
    let mut export = Export {
        stage,
        customers: Sheet::open(dir, "customers.csv", &CUSTOMERS, mode)?,
        orders: Sheet::open(dir, "orders.csv", &ORDERS, mode)?,
        refunds: Sheet::open(dir, "refunds.csv", &REFUNDS, mode)?,
        events: Sheet::open(dir, "events.jsonl", &[], mode)?,
        summary: ExportSummary::default(),
    };
    let n = range.len() as u64;
    for (done, index) in range.enumerate() {
        export.record(&records[index], plan.at(index))?;
        if done % 4_096 == 0 {
            progress(done as u64, n);
        }
    }
    let Export { customers, orders, refunds, events, summary, .. } = export;
    for sheet in [customers, orders, refunds, events] {
        sheet.close()?;
    }
    progress(n, n);
    Ok(summary)
}

impl Export<'_> {
    fn record(&mut self, record: &Record, blemish: Option<Blemish>) -> Result<(), ShopError> {
        match &record.what {
            What::SignedUp => {
                self.customer(record, blemish)?;
                // The browser tells the shop at the same moment who sits at it.
                self.event(record, None)
            }
            What::Ordered { order, lines, coupon } => self.order(record, *order, lines, *coupon, blemish),
            What::Refunded { .. } => self.refund(record, blemish),
            _ => self.event(record, blemish),
        }
    }

    fn customer(&mut self, record: &Record, blemish: Option<Blemish>) -> Result<(), ShopError> {
        let person = &self.stage.people[record.customer];
        let region = &REGIONS[person.region];
        let birthday = person.birthday.map(|day| day.to_string()).unwrap_or_default();
        let signed_up_at = utc(record.at);
        // A ticked box is exported as `yes`, one that was not as nothing: nobody said no.
        let consent = if person.consents { "yes" } else { "" };
        let language = &region.locale[..2];
        // Typed wrongly and corrected a minute later.
        let (typo, a_minute_before) = (person.email.replace('@', "."), utc(record.at - 60));
        let row = |email, signed_up_at| {
            [
                &person.user_id,
                email,
                person.first_name,
                person.last_name,
                region.country,
                region.timezone,
                language,
                &birthday,
                signed_up_at,
                consent,
            ]
        };
        if blemish == Some(Blemish::Typo) {
            self.summary.blemishes.n_email_typos += 1;
            self.customers.row(&row(&typo, &a_minute_before))?;
        }
        self.summary.n_customers += 1;
        self.customers.row(&row(&person.email, &signed_up_at))?;
        if blemish == Some(Blemish::Twice) {
            self.summary.blemishes.n_duplicate_customers += 1;
            self.customers.row(&row(&person.email, &signed_up_at))?;
        }
        Ok(())
    }

    fn order(
        &mut self,
        record: &Record,
        order: u32,
        lines: &[Line],
        coupon: Option<&'static str>,
        blemish: Option<Blemish>,
    ) -> Result<(), ShopError> {
        let user_id = &self.stage.people[record.customer].user_id;
        let order_id = order_id(record.customer, order);
        let placed_at = self.stage.calendar.shop_time(record.at);
        let coupon = coupon.unwrap_or_default();
        for line in lines {
            self.order_line(&order_id, user_id, &placed_at, line, coupon)?;
        }
        self.count_order(lines);
        match blemish {
            Some(Blemish::Twice) => {
                self.summary.blemishes.n_duplicate_order_lines += 1;
                self.order_line(&order_id, user_id, &placed_at, &lines[lines.len() - 1], coupon)
            }
            Some(Blemish::NoTime) => {
                self.summary.blemishes.n_order_lines_without_time += 1;
                let never = format!("{}-02-30{}", &placed_at[..4], &placed_at[10..]);
                self.order_line(&format!("{order_id}X"), user_id, &never, &lines[0], coupon)
            }
            Some(Blemish::Guest) => {
                self.summary.blemishes.n_guest_orders += 1;
                let guest = [Line { quantity: 1, ..lines[0] }];
                self.count_order(&guest);
                self.order_line(&format!("G{}", &order_id[1..]), "", &placed_at, &guest[0], coupon)
            }
            _ => Ok(()),
        }
    }

    fn count_order(&mut self, lines: &[Line]) {
        self.summary.n_orders += 1;
        self.summary.n_order_lines += lines.len() as u64;
        self.summary.gross_cents += total(lines).0;
    }

    fn order_line(&mut self, id: &str, user: &str, at: &str, line: &Line, coupon: &str) -> Result<(), ShopError> {
        let product = &self.stage.catalogue.0[line.product];
        let category = super::catalogue::CATEGORIES[product.category].name;
        let (quantity, price) = (line.quantity.to_string(), line.unit_price.text());
        self.orders.row(&[id, user, at, &product.sku, &product.name, category, &quantity, &price, coupon])
    }

    fn refund(&mut self, record: &Record, blemish: Option<Blemish>) -> Result<(), ShopError> {
        let What::Refunded { order, refund, amount, whole, reason } = record.what else { return Ok(()) };
        let user_id = &self.stage.people[record.customer].user_id;
        let order_id = order_id(record.customer, order);
        let refund_id = format!("F{}-{refund}", &user_id[1..]);
        let kind = if whole { "whole" } else { "partial" };
        let (at, amount_text) = (utc(record.at), amount.text());
        self.summary.n_refunds += 1;
        self.summary.refunded_cents += amount.0;
        self.refunds.row(&[&refund_id, &order_id, user_id, &at, &amount_text, kind, reason])?;
        if blemish == Some(Blemish::NoAmount) {
            self.summary.blemishes.n_refunds_without_amount += 1;
            self.refunds.row(&[&format!("{refund_id}X"), &order_id, user_id, &at, "tbd", "partial", reason])?;
        }
        Ok(())
    }

    fn event(&mut self, record: &Record, blemish: Option<Blemish>) -> Result<(), ShopError> {
        let Some(line) = events::line(self.stage, record) else { return Ok(()) };
        self.summary.n_events += 1;
        self.events.write(format_args!("{line}\n"))?;
        let blemishes = &mut self.summary.blemishes;
        match blemish {
            Some(Blemish::Twice) => {
                blemishes.n_duplicate_events += 1;
                self.events.write(format_args!("{line}\n"))
            }
            Some(Blemish::Broken) => {
                blemishes.n_broken_events += 1;
                // All of it is ASCII up to here, so any byte is a boundary.
                self.events.write(format_args!("{}\n", &line[..line.len().min(70)]))
            }
            Some(Blemish::NoTime) => {
                blemishes.n_events_without_time += 1;
                let id = events::message_id(record);
                let wrong = line.replacen(&id, &format!("{id}X"), 1).replacen(&utc(record.at), "0000-00-00", 1);
                self.events.write(format_args!("{wrong}\n"))
            }
            _ => Ok(()),
        }
    }
}

/// The shop's number of an order.
pub(super) fn order_id(customer: usize, order: u32) -> String {
    format!("R{:06}-{order}", customer + 1)
}
