//! The load: customers who come, order, look around, leave carts and withdraw their consent, told to the daemon by four
//! clients that behave like client libraries. They keep what was not acknowledged and send it again under the same ids, or
//! give up; and now and then they repeat what was acknowledged. Each client has customers of its own, so that the order in
//! which one customer's events are stored is the order in which they were first taken.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::real_daemon::{client, post_batch};

const N_CLIENTS: u64 = 4;
const CUSTOMERS_PER_CLIENT: u64 = 12;

/// Numbers from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub(super) fn of(seed: u64, name: &str) -> Self {
        // FNV-1a.
        Dice(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Between 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are drawn")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What the clients know.
#[derive(Default)]
pub(super) struct Books {
    /// Where the daemon listens just now.
    pub(super) address: Mutex<Option<SocketAddr>>,
    pub(super) sent: Mutex<BTreeSet<String>>,
    pub(super) acknowledged: Mutex<BTreeSet<String>>,
    pub(super) over: AtomicBool,
}

pub(super) fn start(seed: u64, books: &Arc<Books>) -> Vec<tokio::task::JoinHandle<()>> {
    let client = client();
    let one = |n| {
        let talker = Talker { n, n_messages: 0, people: Vec::new(), dice: Dice::of(seed, &format!("client {n}")) };
        tokio::spawn(talker.talk(client.clone(), books.clone()))
    };
    (0..N_CLIENTS).map(one).collect()
}

struct Talker {
    n: u64,
    n_messages: u64,
    people: Vec<Person>,
    dice: Dice,
}

struct Person {
    user: String,
    agreed: bool,
}

impl Talker {
    async fn talk(mut self, client: reqwest::Client, books: Arc<Books>) {
        let mut repeatable: Vec<Value> = Vec::new();
        while !books.over.load(Ordering::SeqCst) {
            let mut batch = self.batch();
            let ids: Vec<String> = batch.iter().map(|item| item["messageId"].as_str().unwrap().to_owned()).collect();
            books.sent.lock().unwrap().extend(ids.iter().cloned());
            if !repeatable.is_empty() && self.dice.below(5) == 0 {
                let again = self.dice.below(repeatable.len() as u64);
                batch.push(repeatable[usize::try_from(again).unwrap()].clone());
            }
            if self.submit(&client, &books, &batch).await {
                books.acknowledged.lock().unwrap().extend(ids);
                repeatable.extend(batch);
            }
            tokio::time::sleep(Duration::from_millis(15 + self.dice.below(40))).await;
        }
    }

    /// Until it is acknowledged, or given up.
    async fn submit(&mut self, client: &reqwest::Client, books: &Books, batch: &[Value]) -> bool {
        loop {
            let address = *books.address.lock().unwrap();
            if let Some(address) = address {
                match post_batch(client, address, batch).await {
                    Ok((200, _)) => return true,
                    Ok((status, _)) => assert!(status >= 500, "a good batch was answered with {status}"),
                    Err(_) if self.dice.below(8) == 0 => return false,
                    Err(_) => {}
                }
            }
            if books.over.load(Ordering::SeqCst) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn batch(&mut self) -> Vec<Value> {
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(8) {
            let known = self.people.len() as u64;
            if known < CUSTOMERS_PER_CLIENT && self.dice.below(6) == 0 || known == 0 {
                batch.extend(self.somebody_new());
                continue;
            }
            let who = usize::try_from(self.dice.below(known)).unwrap();
            let user = self.people[who].user.clone();
            batch.push(match self.dice.below(100) {
                0..40 => {
                    let order = format!("{}-{}", user, self.n_messages);
                    self.track(&user, "Order Completed", &json!({ "order_id": order, "total": 12.5 }))
                }
                40..75 => self.track(&user, "Product Viewed", &json!({ "sku": "A1" })),
                75..98 => self.track(&user, "Cart Abandoned", &json!({ "value": 30 })),
                _ if self.people[who].agreed => {
                    self.people[who].agreed = false;
                    self.track(&user, "Consent Withdrawn", &json!({ "channel": "email" }))
                }
                _ => continue,
            });
        }
        batch
    }

    /// Three of four say that they want mail; nobody says so twice.
    fn somebody_new(&mut self) -> Vec<Value> {
        let user = format!("c{}-{}", self.n, self.people.len());
        let agreed = self.dice.below(4) > 0;
        let mut batch = vec![json!({
            "type": "identify", "userId": user, "messageId": self.message_id(),
            "traits": { "email": format!("{user}@example.com"), "first_name": user },
        })];
        if agreed {
            batch.push(self.track(&user, "Consent Given", &json!({ "channel": "email" })));
        }
        self.people.push(Person { user, agreed });
        batch
    }

    fn track(&mut self, user: &str, event: &str, properties: &Value) -> Value {
        json!({
            "type": "track", "userId": user, "event": event, "properties": properties, "messageId": self.message_id(),
        })
    }

    fn message_id(&mut self) -> String {
        self.n_messages += 1;
        format!("{}-{}", self.n, self.n_messages)
    }
}
