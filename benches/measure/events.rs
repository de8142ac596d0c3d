//! The events of a shop, made up: about 300 bytes of JSON each, under random message ids, of customers some of whom come
//! more often than others. The same number gives the same events.

/// What an event is about, and how many of 20 are of that sort.
const SORTS: [(&str, usize); 5] =
    [("Product Viewed", 11), ("Product Added", 3), ("Page Opened", 3), ("Order Completed", 2), ("Review Submitted", 1)];

/// `splitmix64`: enough for made-up data, and nothing to depend on.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// One event as a sender posts it, with what the limits store beside it.
pub(crate) struct Made {
    /// Random, 32 hexadecimal digits.
    pub(crate) id: u128,
    pub(crate) customer: u64,
    pub(crate) json: String,
}

/// `n` events of `n_customers`, of whom a fifth makes more than half.
pub(crate) fn shop(n: usize, n_customers: u64, seed: u64) -> Vec<Made> {
    let mut numbers = Numbers(seed);
    (0..n)
        .map(|_| {
            let among = if numbers.below(2) == 0 { n_customers.div_ceil(5) } else { n_customers };
            let customer = numbers.below(among);
            one(&mut numbers, customer)
        })
        .collect()
}

/// One event of this customer.
pub(crate) fn one(numbers: &mut Numbers, customer: u64) -> Made {
    let mut draw = usize::try_from(numbers.below(20)).unwrap_or_default();
    let mut name = SORTS[0].0;
    for (sort, share) in SORTS {
        if draw < share {
            name = sort;
            break;
        }
        draw -= share;
    }
    named(numbers, customer, name)
}

pub(crate) fn named(numbers: &mut Numbers, customer: u64, name: &str) -> Made {
    let id = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
    let (product, price, rating) = (numbers.below(5_000), numbers.below(20_000), 1 + numbers.below(5));
    let category = ["shoes", "books", "garden", "toys", "kitchen"][usize::try_from(product % 5).unwrap_or_default()];
    let order = if name == "Order Completed" { format!("\"order_id\":\"{:x}\",", id >> 96) } else { String::new() };
    let json = format!(
        "{{\"type\":\"track\",\"messageId\":\"{id:032x}\",\"userId\":\"customer-{customer}\",\"event\":\"{name}\",\
         \"properties\":{{{order}\"product_id\":\"p-{product}\",\"category\":\"{category}\",\"value\":{}.{:02},\
         \"rating\":{rating},\"url\":\"https://shop.example/{category}/p-{product}\"}},\
         \"context\":{{\"page\":{{\"path\":\"/{category}\"}},\"locale\":\"en-GB\"}}}}",
        price / 100,
        price % 100,
    );
    Made { id, customer, json }
}

/// The bodies of `/v1/batch` with `n` events in each.
pub(crate) fn batches(events: &[Made], n: usize) -> Vec<Vec<u8>> {
    let body = |some: &[Made]| {
        let items: Vec<&str> = some.iter().map(|event| event.json.as_str()).collect();
        format!("{{\"batch\":[{}]}}", items.join(",")).into_bytes()
    };
    events.chunks(n).map(body).collect()
}
