//! The facts of many customers in little room: fits pass over everybody several times, and a million customers as
//! [`CustomerFacts`] would take a quarter of a gigabyte. Numbers are written as differences, small ones in few bytes.

use super::facts::{CustomerFacts, OrderFact};
use crate::domain::clock::Timestamp;
use crate::domain::id::CustomerId;

/// Bytes in one block: growing must not move what is there.
const BLOCK: usize = 1 << 20;

/// Customers in the order in which they were added.
#[derive(Debug, Default)]
pub struct PackedFacts {
    /// A customer stands in one block.
    blocks: Vec<Vec<u8>>,
}

impl PackedFacts {
    /// Adds one more.
    pub fn push(&mut self, facts: &CustomerFacts) {
        if self.blocks.last().is_none_or(|block| block.len() >= BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK + BLOCK / 64));
        }
        let block = self.blocks.last_mut().expect("one was added if there was none");
        block.extend_from_slice(facts.customer.as_bytes());
        let mut writer = Writer(block);
        writer.length(facts.orders.len());
        let mut before = 0;
        for order in &facts.orders {
            let at = order.at.as_micros();
            writer.number(at.wrapping_sub(before));
            before = at;
            writer.number(order.known_at.as_micros().wrapping_sub(at));
            writer.number(order.gross_minor);
            writer.amounts(at, &order.refunds);
        }
        writer.amounts(0, &facts.credits);
    }

    /// Everybody, unpacked one by one.
    pub fn iter(&self) -> impl Iterator<Item = CustomerFacts> {
        self.blocks.iter().flat_map(|block| {
            let mut reader = Reader(block);
            std::iter::from_fn(move || (!reader.0.is_empty()).then(|| reader.facts()))
        })
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    /// Seven bits to a byte, the lowest first; the highest bit says that more follow.
    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// Small numbers of either sign become small.
    fn number(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn length(&mut self, n: usize) {
        self.unsigned(n as u64);
    }

    fn amounts(&mut self, at: i64, amounts: &[(Timestamp, i64)]) {
        self.length(amounts.len());
        for (known_at, minor) in amounts {
            self.number(known_at.as_micros().wrapping_sub(at));
            self.number(*minor);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn facts(&mut self) -> CustomerFacts {
        let (id, rest) = self.0.split_first_chunk::<16>().expect("a customer was packed whole");
        self.0 = rest;
        let n_orders = self.unsigned();
        let mut at = 0_i64;
        let orders = (0..n_orders).map(|_| {
            at = at.wrapping_add(self.number());
            let known_at = Timestamp::from_micros(at.wrapping_add(self.number()));
            let gross_minor = self.number();
            OrderFact { at: Timestamp::from_micros(at), known_at, gross_minor, refunds: self.amounts(at) }
        });
        let orders = orders.collect();
        CustomerFacts { customer: CustomerId::from_bytes(*id), orders, credits: self.amounts(0) }
    }

    fn unsigned(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first().expect("a number was packed whole");
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn number(&mut self) -> i64 {
        let value = self.unsigned();
        (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
    }

    fn amounts(&mut self, at: i64) -> Vec<(Timestamp, i64)> {
        let n = self.unsigned();
        (0..n).map(|_| (Timestamp::from_micros(at.wrapping_add(self.number())), self.number())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant() -> impl Strategy<Value = Timestamp> {
        prop_oneof![any::<i64>(), 0..2_000_000_000_000_000i64].prop_map(Timestamp::from_micros)
    }

    fn amounts() -> impl Strategy<Value = Vec<(Timestamp, i64)>> {
        prop::collection::vec((instant(), any::<i64>()), 0..3)
    }

    fn facts() -> impl Strategy<Value = CustomerFacts> {
        let order = (instant(), instant(), any::<i64>(), amounts())
            .prop_map(|(at, known_at, gross_minor, refunds)| OrderFact { at, known_at, gross_minor, refunds });
        (any::<[u8; 16]>(), prop::collection::vec(order, 0..5), amounts())
            .prop_map(|(id, orders, credits)| CustomerFacts { customer: CustomerId::from_bytes(id), orders, credits })
    }

    proptest! {
        #[test]
        fn facts_come_out_of_the_packing_as_they_went_in(all in prop::collection::vec(facts(), 0..20)) {
            let mut packed = PackedFacts::default();
            for facts in &all {
                packed.push(facts);
            }
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn a_customer_with_three_orders_takes_about_fifty_bytes() {
        let at = |day: i64| Timestamp::from_micros(1_790_000_000_000_000 + day * 86_400_000_000);
        let order = |n| OrderFact { at: at(n), known_at: at(n), gross_minor: 4_990, refunds: Vec::new() };
        let customer = CustomerId::from_bytes([7; 16]);
        let mut packed = PackedFacts::default();
        packed.push(&CustomerFacts { customer, orders: (0..3).map(order).collect(), credits: Vec::new() });
        assert!(packed.blocks[0].len() < 55, "{} bytes", packed.blocks[0].len());
    }
}
