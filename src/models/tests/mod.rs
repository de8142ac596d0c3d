//! What all models promise: no look into the future, the same bytes from the same data, and honest silence.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::*;
use crate::domain::id::CustomerId;

mod real_data;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn business(zone: &str, currency: &str) -> Business {
    Business { zone: TimeZone::get(zone).unwrap(), currency: currency.parse().unwrap() }
}

fn id(name: &str) -> CustomerId {
    CustomerId::derive(Timestamp::EPOCH, &[name.as_bytes()])
}
