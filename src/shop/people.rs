//! Who the customers are: regions, names, addresses, and the latent traits that nobody but the shop's god knows.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::Date;

use super::calendar::{Calendar, FIRST_DAY, HISTORY_DAYS};
use super::catalogue::{CATEGORIES, N_CATEGORIES};
use super::draw::{Draw, real, whole};
use super::names::{ENGLISH, FINNISH, FRENCH, GERMAN, Names, POLISH, PORTUGUESE, ascii};

/// Customers who signed up during the two years of history.
pub const N_CUSTOMERS: usize = 5_000;

/// Where customers live.
pub(super) struct Region {
    pub country: &'static str,
    pub timezone: &'static str,
    pub locale: &'static str,
    /// Share of the sign-ups on the first day.
    share: f64,
    /// By how much that weight grows in two years, relative to the others.
    growth: f64,
    /// Purchase rate against the mean region.
    rate: f64,
    names: &'static Names,
}

#[rustfmt::skip]
pub(super) const REGIONS: [Region; 9] = [
    Region { country: "DE", timezone: "Europe/Berlin",    locale: "de-DE", share: 0.46, growth: 0.0, rate: 1.00, names: &GERMAN },
    Region { country: "AT", timezone: "Europe/Vienna",    locale: "de-AT", share: 0.09, growth: 0.2, rate: 1.05, names: &GERMAN },
    Region { country: "CH", timezone: "Europe/Zurich",    locale: "de-CH", share: 0.07, growth: 0.1, rate: 1.20, names: &GERMAN },
    Region { country: "FR", timezone: "Europe/Paris",     locale: "fr-FR", share: 0.12, growth: 0.3, rate: 0.95, names: &FRENCH },
    Region { country: "GB", timezone: "Europe/London",    locale: "en-GB", share: 0.10, growth: -0.4, rate: 0.90, names: &ENGLISH },
    Region { country: "PL", timezone: "Europe/Warsaw",    locale: "pl-PL", share: 0.06, growth: 1.2, rate: 0.95, names: &POLISH },
    Region { country: "FI", timezone: "Europe/Helsinki",  locale: "fi-FI", share: 0.04, growth: 0.2, rate: 1.00, names: &FINNISH },
    Region { country: "PT", timezone: "Europe/Lisbon",    locale: "pt-PT", share: 0.03, growth: 0.5, rate: 0.85, names: &PORTUGUESE },
    Region { country: "US", timezone: "America/New_York", locale: "en-US", share: 0.03, growth: 0.0, rate: 1.00, names: &ENGLISH },
];

/// Sign-ups per day grow by this share over the two years.
const GROWTH: f64 = 0.8;
/// Purchases per day while active: gamma with this shape ...
const RATE_SHAPE: f64 = 1.3;
/// ... and this mean, one purchase in so many days.
const MEAN_DAYS_BETWEEN_ORDERS: f64 = 54.0;
/// Probability of dropping out after a purchase: beta with these parameters.
const DROPOUT: (f64, f64) = (0.9, 1.9);
/// Order values are gamma with this shape, per customer ...
const VALUE_SHAPE: f64 = 5.0;
/// ... with a rate that is itself gamma with this shape over customers ...
const VALUE_SPREAD: f64 = 4.0;
/// ... such that the mean order of all customers is this many euros before coupons.
const MEAN_VALUE: f64 = 58.0;
/// Share of sign-ups that happen at the checkout of a first order; the others subscribe to the newsletter.
const AT_CHECKOUT: f64 = 0.88;
/// Share that agrees to marketing mails at sign-up.
pub(super) const CONSENT: f64 = 0.70;
/// How closely tastes follow the popularity of the categories: the total of the Dirichlet's parameters.
const TASTE: f64 = 4.0;

/// One customer: what the shop knows, and below it what is only true.
#[derive(Debug)]
pub(super) struct Person {
    pub user_id: String,
    pub email: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub region: usize,
    pub birthday: Option<Date>,
    /// Number of the day.
    pub signs_up_on: usize,
    pub at_checkout: bool,
    pub consents: bool,
    /// One or two browsers.
    pub browsers: [String; 2],
    pub truth: Latent,
}

/// What drives a customer.
#[derive(Clone, Debug)]
pub(super) struct Latent {
    /// Purchases per day while active, in a mean season.
    pub rate: f64,
    /// Probability of dropping out after each purchase.
    pub dropout: f64,
    /// Mean order value in euros before coupons.
    pub mean_value: f64,
    /// Share of the demand that goes to each category; sums to 1.
    pub taste: [f64; N_CATEGORIES],
    /// Share of orders with a coupon, doubled: 0 to 1.
    pub thrift: f64,
    /// How strongly messages work; see [`super::effects`].
    pub responsiveness: f64,
    /// Browsing without intent to buy, against the mean customer.
    pub curiosity: f64,
    /// Added to the satisfaction with every order.
    pub mildness: f64,
}

/// Everybody who signs up during the calendar, in the order of their sign-ups, with the rest of their stream of draws.
pub(super) fn everybody(seed: u64, calendar: &Calendar) -> Vec<(Person, Draw)> {
    let days = sign_up_days(&mut Draw::new(seed, 1), calendar);
    let mut taken = BTreeMap::new();
    days.into_iter()
        .enumerate()
        .map(|(index, day)| {
            let mut draw = Draw::new(seed, 16 + index as u64);
            (person(index, day, &mut taken, &mut draw), draw)
        })
        .collect()
}

fn sign_up_days(draw: &mut Draw, calendar: &Calendar) -> Vec<usize> {
    let weights: Vec<f64> = (0..).zip(&calendar.days).map(|(n, d)| d.demand * (1.0 + GROWTH * elapsed(n))).collect();
    let mut days: Vec<usize> = (0..N_CUSTOMERS).map(|_| draw.weighted(&weights[..HISTORY_DAYS])).collect();
    days.sort_unstable();
    let per_weight = real(N_CUSTOMERS as u64) / weights[..HISTORY_DAYS].iter().sum::<f64>();
    for (day, weight) in weights.iter().enumerate().skip(HISTORY_DAYS) {
        let n = draw.poisson(weight * per_weight);
        days.extend(std::iter::repeat_n(day, n));
    }
    days
}

/// Share of the history that has passed on `day`; a little more than 1 on the live days.
fn elapsed(day: u64) -> f64 {
    real(day) / real(HISTORY_DAYS as u64)
}

fn person(index: usize, day: usize, taken: &mut BTreeMap<String, u32>, draw: &mut Draw) -> Person {
    let weights = REGIONS.map(|r| r.share * (1.0 + r.growth * elapsed(day as u64)));
    let region = draw.weighted(&weights);
    let names = REGIONS[region].names;
    let (first_name, last_name) = (*draw.pick(names.first), *draw.pick(names.last));
    let local = format!("{}.{}", ascii(first_name), ascii(last_name));
    let namesakes = taken.entry(local.clone()).or_default();
    *namesakes += 1;
    let number = if *namesakes == 1 { String::new() } else { namesakes.to_string() };
    let born = FIRST_DAY.saturating_sub(draw.between(18 * 365, 72 * 365).days());
    Person {
        user_id: format!("u{:06}", index + 1),
        email: format!("{local}{number}@example.com"),
        first_name,
        last_name,
        region,
        birthday: draw.chance(0.6).then_some(born),
        signs_up_on: day,
        at_checkout: draw.chance(AT_CHECKOUT),
        consents: draw.chance(CONSENT),
        browsers: [(); 2].map(|()| format!("{:016x}", draw.bits())),
        truth: latent(REGIONS[region].rate, draw),
    }
}

fn latent(rate_of_region: f64, draw: &mut Draw) -> Latent {
    let rate = rate_of_region * draw.gamma(RATE_SHAPE, 1.0 / (RATE_SHAPE * MEAN_DAYS_BETWEEN_ORDERS));
    let dropout = draw.beta(DROPOUT.0, DROPOUT.1);
    // Gamma-gamma: value ~ Gamma(p, nu), nu ~ Gamma(q, 1/gamma), mean p gamma / (q - 1).
    let gamma = MEAN_VALUE * (VALUE_SPREAD - 1.0) / VALUE_SHAPE;
    let mean_value = VALUE_SHAPE * gamma / draw.gamma(VALUE_SPREAD, 1.0);
    let parts = std::array::from_fn::<f64, N_CATEGORIES, _>(|c| draw.gamma(TASTE * CATEGORIES[c].popularity, 1.0));
    let total: f64 = parts.iter().sum();
    let thrift = draw.beta(1.2, 2.0);
    Latent {
        rate,
        dropout,
        mean_value,
        taste: parts.map(|part| part / total),
        thrift,
        responsiveness: 2.0 * thrift - 0.25,
        curiosity: draw.gamma(2.0, 0.5),
        mildness: 0.35 * draw.normal(),
    }
}

impl Latent {
    /// The value of one order before coupons, in cents.
    pub(super) fn order_value(&self, draw: &mut Draw) -> i64 {
        whole(100.0 * draw.gamma(VALUE_SHAPE, self.mean_value / VALUE_SHAPE)).max(500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_their_own_addresses_and_the_stated_means() {
        let people = everybody(5, &Calendar::new().unwrap());
        let history: Vec<&Person> = people.iter().map(|(p, _)| p).filter(|p| p.signs_up_on < HISTORY_DAYS).collect();
        assert_eq!(history.len(), N_CUSTOMERS);
        assert!((230..=380).contains(&(people.len() - N_CUSTOMERS)), "{} sign up in June", people.len() - N_CUSTOMERS);
        let emails: std::collections::BTreeSet<&String> = people.iter().map(|(p, _)| &p.email).collect();
        assert_eq!(emails.len(), people.len());
        assert!(emails.iter().all(|e| e.is_ascii() && e.ends_with("@example.com")));
        let mean = |of: fn(&Latent) -> f64| history.iter().map(|p| of(&p.truth)).sum::<f64>() / 5_000.0;
        assert!((mean(|t| t.rate) * MEAN_DAYS_BETWEEN_ORDERS - 1.0).abs() < 0.06);
        assert!((mean(|t| t.dropout) - 0.321).abs() < 0.015);
        assert!((mean(|t| t.mean_value) - MEAN_VALUE).abs() < 3.0);
        assert!((mean(|t| t.responsiveness) - 0.5).abs() < 0.03);
    }

    #[test]
    fn the_shop_grows_and_poland_grows_faster() {
        let people = everybody(5, &Calendar::new().unwrap());
        let count = |days: std::ops::Range<usize>, country: &str| {
            let here = |p: &Person| days.contains(&p.signs_up_on) && REGIONS[p.region].country.contains(country);
            people.iter().filter(|(p, _)| here(p)).count()
        };
        assert!(count(365..730, "") * 10 > count(0..365, "") * 12);
        let share = |days: std::ops::Range<usize>| count(days.clone(), "PL") * 1_000 / count(days, "");
        assert!(share(365..730) > share(0..365) + 10);
        assert!(people[0].0.birthday.is_none_or(|b| b < jiff::civil::date(2006, 6, 14)));
    }
}
