//! The channels against real folders, a real mail server and a real receiver.

mod documented;
pub(crate) mod mail;
mod smtp;
mod webhook;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use rekindle::channels::template::{Letterhead, SharedTemplates, Templates};
use rekindle::channels::{Channel, CommitPoint, Dispatch};
use rekindle::domain::action::Action;
use rekindle::domain::clock::Timestamp;
use rekindle::domain::consent::MessageClass;
use rekindle::domain::delivery::{Delivery, DeliveryState, Firing};
use rekindle::domain::id::CustomerId;
use serde_json::{Map, Value, json};

use crate::servers::Happenings;

const NOW: &str = "2026-03-01T09:00:00Z";
const LEAVE: &str = "https://shop.example/u/TOKEN";

/// A commit point that notes when it was awaited, and fails when told to.
pub(crate) struct Intent {
    happenings: Happenings,
    fails: bool,
    n_commits: AtomicUsize,
}

impl Intent {
    fn noted(happenings: &Happenings) -> Self {
        Intent { happenings: happenings.clone(), fails: false, n_commits: AtomicUsize::new(0) }
    }

    pub(crate) fn durable() -> Self {
        Intent::noted(&Happenings::default())
    }

    fn failing() -> Self {
        Intent { fails: true, ..Intent::durable() }
    }

    fn n_commits(&self) -> usize {
        self.n_commits.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CommitPoint for Intent {
    async fn commit(&self) -> Result<(), String> {
        self.n_commits.fetch_add(1, Ordering::SeqCst);
        self.happenings.note("commit");
        if self.fails { Err("the lease was lost".to_owned()) } else { Ok(()) }
    }
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// Delivery number `n`, decided at [`NOW`] and attempted five minutes later.
fn dispatch(n: u8, action: Action, class: Option<MessageClass>) -> Dispatch {
    let at: Timestamp = NOW.parse().unwrap();
    let customer = CustomerId::derive(at, &[b"ana"]);
    let firing = Firing::id_of("win_back", customer, &format!("tick:{n}"), at);
    let marketing = class == Some(MessageClass::Marketing);
    let delivery = Delivery {
        id: Delivery::id_of(firing, 0, at),
        firing,
        rule: "win_back".to_owned(),
        customer,
        step: 0,
        action,
        class,
        topic: marketing.then(|| "offers".to_owned()),
        state: DeliveryState::Leased,
        decided_at: at,
        due_at: at,
        expires_at: at.plus(SignedDuration::from_hours(24)),
        n_attempts: 0,
        settled_at: None,
        reason: None,
        receipt: None,
    };
    Dispatch {
        delivery,
        email: Some("ana@customer.example".to_owned()),
        customer: object(json!({ "first_name": "Ana", "last_name": "López" })),
        unsubscribe_url: marketing.then(|| LEAVE.to_owned()),
        now: at.plus(SignedDuration::from_mins(5)),
    }
}

pub(crate) fn win_back(n: u8) -> Dispatch {
    let vars = object(json!({ "percent": 20, "code": "BACK20" }));
    dispatch(n, Action::Email { template: "win_back".to_owned(), vars }, Some(MessageClass::Marketing))
}

fn apology(n: u8) -> Dispatch {
    let vars = object(json!({ "rating": 1 }));
    dispatch(n, Action::Email { template: "review_apology".to_owned(), vars }, Some(MessageClass::Service))
}

fn shipped_templates() -> SharedTemplates {
    let (templates, problems) = Templates::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")), None);
    assert_eq!(problems, []);
    SharedTemplates::new(templates)
}

fn letterhead() -> Letterhead {
    let address = Some("1 Main Street, Berlin".to_owned());
    Letterhead { name: "Miller & Sons".to_owned(), address, zone: TimeZone::get("Europe/Berlin").unwrap() }
}

fn no_environment(_: &str) -> Option<String> {
    None
}

/// The `[email]` section `toml`, opened with the shipped templates.
pub(crate) fn open_email(toml: &str) -> Result<Box<dyn Channel>, String> {
    let config = toml::from_str(toml).map_err(|e| e.message().to_owned())?;
    rekindle::channels::open_email(&config, shipped_templates(), letterhead(), &no_environment)
}

/// The `[webhook]` section `toml`, opened.
fn open_webhook(toml: &str) -> Result<Box<dyn Channel>, String> {
    let config = toml::from_str(toml).map_err(|e| e.message().to_owned())?;
    rekindle::channels::open_webhook(&config, &no_environment)
}
