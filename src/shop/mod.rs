//! The simulated shop behind `rekindle demo` and the tests. It lives its customers day by day and writes what happens as
//! ordinary files that ordinary connectors read; it knows nothing of the daemon. Its true effects are known, so what a
//! model or an experiment says of it can be checked.
//!
//! # The process
//!
//! One day is a day in Europe/Berlin. History is 730 days, 2024-06-01 to 2026-05-31; then 2026-06-01 to 2026-06-30 can be
//! lived with messages acting on the customers. All money is in euros.
//!
//! **Arrivals.** 5,000 customers sign up in the history, on a day drawn with weight `d(t) (1 + 0.8 t/730)`; afterwards
//! sign-ups per day are Poisson at the same intensity. `d(t)` is demand: a factor for the day of the week (mean 1, Sunday
//! 1.26) and 1.7 on the four days from Black Friday. Nine regions with sizes, growth, rates and time zones of their own
//! (`people.rs`). 88 % sign up at the checkout of a first order, the others for the newsletter; 60 % have looked around
//! anonymously on one to three of the fourteen days before.
//!
//! **Wanting.** Customer `i` has a purchase rate `r_i ~ Gamma(1.3, mean 1/54 per day) x region`. On day `t` the hazard of an
//! order is `h_i(t) = r_i  a_i(t)  sum_c w_ic s_c(t) d(t)  m_i(t)`, where `w_i ~ Dirichlet(4 x popularity)` is the taste for
//! each of six categories, `s_c` its season (twelve monthly values, mean 1, joined by lines), `a` is 1 while active and
//! 0.05 after dropping out, and `m` what messages do (`effects.rs`). An intent to buy arises with probability
//! `1 - exp(-h / 0.82)`; the visit that should end in the order follows 0 to 4 days later, with visits in between. 22 % of
//! those visits end in an open cart, which is bought within four days at a hazard of 0.06 a day.
//!
//! **Leaving.** After each order the customer drops out with probability `p_i ~ Beta(0.9, 1.9)`, as in BG/NBD. Two
//! departures from BG/NBD, on purpose: a dropped-out customer comes back at a twentieth of the old rate and is then active
//! again; and an order with satisfaction 1 or 2 drives the customer away with another 0.45, two to three weeks
//! after its arrival.
//!
//! **Paying.** Order values are gamma-gamma: `v ~ Gamma(5, nu_i)`, `nu_i ~ Gamma(4, 34.8)`, mean 58; one to five
//! lines are filled with products of the wished categories whose prices come close. Thrift `u_i ~ Beta(1.2, 2)`: an order
//! has a coupon of 10 % with probability `u_i / 2`.
//!
//! **Judging.** Satisfaction is `4.15 + quality of the worst product + mildness_i + N(0, 0.85) - 1.5 if late (7 %)`, rounded
//! into 1 to 5. Reviews (36, 30, 10, 10, 15 % by stars), tickets (2.5 %, unhappy 28 %) and refunds (3.5 %, unhappy 30 %;
//! 45 % of them whole) follow within weeks. From 2026-03-01 satisfaction with
//! the ten kitchen products of the brand "Everyday" is 1.4 stars lower.
//! Demand for Outdoor in Poland is sixfold on 2026-05-18 to 20.
//!
//! **Browsing.** Without intent customers visit at 0.021 a day times `curiosity ~ Gamma(2, 1/2)` while active, at 0.005
//! afterwards. A visit is a page, products viewed, now and then something put into the cart.
//!
//! **Consent.** 70 % agree to marketing at sign-up; about 6 % of them a year withdraw, and each mail makes 0.6 %
//! withdraw, more when mails come thick. 1.2 % are suppressed some day.
//!
//! # Sameness
//!
//! Every customer draws from an own `ChaCha8` stream of the seed, so a message to one changes nobody else: the shop with and
//! without a message are comparable draw by draw. Distributions are computed with `+ - * /` and `sqrt` alone (`draw.rs`),
//! amounts are whole cents, times whole seconds and nothing iterates over a hash map: the files are the same bytes on every
//! machine. What remains is the time-zone database: a change of the European or American clock rules would move times.
#![warn(missing_docs)]

mod blemishes;
mod calendar;
mod catalogue;
mod draw;
mod effects;
mod events;
mod files;
mod life;
mod names;
mod people;
mod period;
mod purchases;
mod records;
mod scene;
mod sheet;
mod truth;
mod visits;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

use crate::domain::clock::Timestamp;

pub use blemishes::Blemishes;
pub use calendar::{FIRST_DAY, FIRST_LIVE_DAY, HISTORY_DAYS, LIVE_DAYS, ZONE};
pub use catalogue::{BAD_BRAND, BAD_BRAND_SINCE};
pub use effects::{Contact, Effect, Effects};
pub use files::ExportSummary;
pub use people::N_CUSTOMERS;
pub use period::Period;
pub use truth::Truth;

use blemishes::Plan;
use calendar::Calendar;
use catalogue::{Catalogue, seasons};
use draw::Draw;
use life::Life;
use records::Record;
use scene::{Scene, Stage};

/// The sources of the demo as a piece of its configuration: which file is read how. Paths are relative to the folder that
/// the shop writes into.
pub const SOURCES: &str = include_str!("sources.toml");

/// The seed of the demo: everybody sees the same shop.
pub const SEED: u64 = 2_026;

/// Why the shop could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// Days are lived one after another, history first, and end with the calendar.
    #[error("the shop cannot live {asked} now: {next}")]
    OutOfOrder {
        /// The day asked for.
        asked: Date,
        /// What it can live now.
        next: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The time-zone database lacks a zone or rules of it.
    #[error("the time-zone database is not usable: {0}")]
    TimeZone(#[from] jiff::Error),
}

/// The shop, standing at the beginning of some day. A copy is another branch of what may happen.
#[derive(Clone, Debug)]
pub struct Shop {
    seed: u64,
    stage: Arc<Stage>,
    effects: Effects,
    lives: Vec<Life>,
    by_email: BTreeMap<String, usize>,
    /// Number of the day that is lived next; 0 before the history, which is lived in one go.
    next: usize,
}

impl Shop {
    /// The shop on its first morning. The same seed is the same shop, to the byte.
    pub fn new(seed: u64) -> Result<Self, ShopError> {
        let calendar = Calendar::new()?;
        let (people, draws): (Vec<_>, Vec<_>) = people::everybody(seed, &calendar).into_iter().unzip();
        // Who signs up in June is not seen before it: the history holds its customers and nobody else.
        let earliest = |day: usize| if day < HISTORY_DAYS { 0 } else { HISTORY_DAYS };
        let lives = people.iter().zip(draws).map(|(p, draw)| Life::new(p, draw, earliest(p.signs_up_on))).collect();
        let by_email = people.iter().enumerate().map(|(n, person)| (person.email.clone(), n)).collect();
        let seasons: Vec<_> = calendar.days.iter().map(|day| seasons(day.date)).collect();
        let highest = |season: &[f64]| season.iter().copied().fold(0.0, f64::max) * scene::BURST.times;
        let peaks = calendar.days.iter().zip(&seasons).map(|(day, season)| highest(season) * day.demand).collect();
        let catalogue = Catalogue::new(&mut Draw::new(seed, 0));
        let stage = Arc::new(Stage { calendar, seasons, peaks, catalogue, people });
        Ok(Shop { seed, stage, effects: Effects::default(), lives, by_email, next: 0 })
    }

    /// From here on other effects are true, such as none: a copy of the shop lived so tells what would have happened.
    #[must_use]
    pub fn with_effects(self, effects: Effects) -> Self {
        Shop { effects, ..self }
    }

    /// Lives the two years of history. `progress` is told how much is done of how much.
    pub fn live_history(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<Period, ShopError> {
        if self.next != 0 {
            return Err(self.out_of_order(FIRST_DAY));
        }
        let mut book = Vec::with_capacity(320_000);
        let n_people = self.lives.len();
        for index in 0..n_people {
            self.live_through(index, 0..HISTORY_DAYS, &mut book);
            if index % 100 == 0 {
                progress(index as u64, n_people as u64);
            }
        }
        progress(n_people as u64, n_people as u64);
        self.next = HISTORY_DAYS;
        let plan = |book: &[Record]| Plan::history(self.seed, book);
        Ok(Period::new(self.stage.clone(), 0..HISTORY_DAYS, book, plan))
    }

    /// Lives the history and writes it into `dir`: `customers.csv`, `orders.csv`, `refunds.csv` and `events.jsonl`.
    /// `progress` is told how much is done of how much, of both together.
    pub fn write_history(
        &mut self,
        dir: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ExportSummary, ShopError> {
        let history = self.live_history(&mut |done, total| progress(done, 2 * total))?;
        history.write(dir, &mut |done, total| progress(done + total, 2 * total))
    }

    /// Lives one of the days after the history, in order. `contacts` are the messages that went out since the day before
    /// was asked for; they work from `day` on. To go on after a restart live the history and then each day again with the
    /// contacts of the ledger: the same calls give the same shop.
    pub fn live_day(&mut self, day: Date, contacts: &[Contact]) -> Result<Period, ShopError> {
        let number = self.stage.calendar.number(day).filter(|&n| n == self.next && n >= HISTORY_DAYS);
        let Some(number) = number else { return Err(self.out_of_order(day)) };
        let mut book = Vec::new();
        let stage = self.stage.clone();
        for contact in contacts {
            let Some(&index) = self.by_email.get(&contact.email) else { continue };
            let person = &stage.people[index];
            let scene = Scene { stage: &stage, effects: &self.effects, person, index, day: number, book: &mut book };
            if person.signs_up_on < number {
                self.lives[index].touch(contact, &scene);
            }
        }
        for index in 0..self.lives.len() {
            self.live_through(index, number..number + 1, &mut book);
        }
        self.next = number + 1;
        let plan = |book: &[Record]| Plan::live(self.seed, number, book);
        Ok(Period::new(stage, number..number + 1, book, plan))
    }

    /// The first instant of the history, and the first after it.
    pub fn history_bounds(&self) -> (Timestamp, Timestamp) {
        self.stage.calendar.bounds(0..HISTORY_DAYS)
    }

    /// The day that [`Shop::live_day`] lives next; `None` before the history and when the calendar has ended.
    pub fn next_day(&self) -> Option<Date> {
        self.stage.calendar.days.get(self.next).filter(|_| self.next >= HISTORY_DAYS).map(|day| day.date)
    }

    /// What is true of everybody who has signed up so far, on the morning of the next day, in the order of sign-up.
    pub fn truths(&self) -> Vec<Truth> {
        truth::all(&self.stage, &self.effects, &self.lives, self.next)
    }

    /// The true effects of messages.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    fn live_through(&mut self, index: usize, days: std::ops::Range<usize>, book: &mut Vec<Record>) {
        let person = &self.stage.people[index];
        let life = &mut self.lives[index];
        let from = days.start.max(person.signs_up_on.saturating_sub(life::LOOKED_BEFORE_DAYS));
        for day in from..days.end {
            life.live(&mut Scene { stage: &self.stage, effects: &self.effects, person, index, day, book });
        }
    }

    fn out_of_order(&self, asked: Date) -> ShopError {
        let next = match self.next_day() {
            Some(day) => format!("the next day is {day}"),
            None if self.next == 0 => "live the history first".to_owned(),
            None => "its calendar has ended".to_owned(),
        };
        ShopError::OutOfOrder { asked, next }
    }
}
