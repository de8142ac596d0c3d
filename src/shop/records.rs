//! What happens in the shop, before it is written down in anybody's format.

use super::catalogue::Cents;

/// One thing that happened to one customer.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Unix time.
    pub at: i64,
    /// Index into the people.
    pub customer: usize,
    /// Counts the customer's records; with `customer` it names the record.
    pub number: u32,
    /// Where it happened; `None` for what the shop's back office knows.
    pub browser: Option<usize>,
    /// Whether the customer was logged in.
    pub known: bool,
    pub what: What,
}

impl Record {
    /// Sorting key: by time, then by customer, then as it happened.
    pub(super) fn key(&self) -> (i64, usize, u32) {
        (self.at, self.customer, self.number)
    }
}

#[derive(Clone, Debug)]
pub(super) enum What {
    SignedUp,
    Page(&'static str),
    Viewed { product: usize },
    Added { line: Line },
    CheckoutStarted { value: Cents, n_lines: usize },
    Ordered { order: u32, lines: Vec<Line>, coupon: Option<&'static str> },
    Refunded { order: u32, refund: u32, amount: Cents, whole: bool, reason: &'static str },
    Reviewed { order: u32, product: usize, rating: usize, text: &'static str },
    TicketOpened { order: u32, topic: &'static str },
    ConsentWithdrawn,
    Suppressed(&'static str),
}

/// One line of a cart or an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub product: usize,
    pub quantity: i64,
    /// What one piece costs in this order.
    pub unit_price: Cents,
}

impl Line {
    pub(super) fn total(&self) -> Cents {
        Cents(self.quantity * self.unit_price.0)
    }
}

/// What all `lines` cost.
pub(super) fn total(lines: &[Line]) -> Cents {
    Cents(lines.iter().map(|line| line.total().0).sum())
}
