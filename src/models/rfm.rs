//! RFM: quintiles of recency (the more recent, the higher), frequency and monetary value among the customers who have ordered.
//! The band reads `543`, the value is the sum, 3 to 15. Never the sum of the raw numbers: in that one a longer absence raises
//! the score and money drowns the rest.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts::{Calendar, CustomerFacts, Dataset, Standing};
use super::{Fitted, MIN_CUSTOMERS, Model, load, no_order, not_enough_data, reason, stored};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::score::{Score, ScoreKind};

/// The model. It has nothing to set.
#[derive(Debug)]
pub struct Rfm;

impl Model for Rfm {
    fn kind(&self) -> ScoreKind {
        ScoreKind::Rfm
    }

    fn fit(&self, data: &Dataset<'_>) -> Box<dyn Fitted> {
        Box::new(Fit::new(data))
    }

    fn load(&self, stored: &Value) -> Result<Box<dyn Fitted>, String> {
        load::<Fit>(self.kind(), stored).map(|fit| Box::new(fit) as Box<dyn Fitted>)
    }
}

/// The upper ends of the first four fifths. A fifth holds the values up to and including its end, and equal values are never
/// parted: of ends that coincide the lowest counts, so nobody is rated above customers just like them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Quintiles([i64; 4]);

impl Quintiles {
    fn new(values: &mut [i64]) -> Quintiles {
        values.sort_unstable();
        Quintiles([1, 2, 3, 4].map(|k| values[(values.len() * k).div_ceil(5).max(1) - 1]))
    }

    /// 1 to 5.
    fn of(&self, value: i64) -> u8 {
        1 + u8::try_from(self.0.iter().filter(|end| **end < value).count()).unwrap_or(4)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    version: String,
    as_of: Timestamp,
    currency: Currency,
    /// Customers who had ordered.
    n: u64,
    /// `None` with fewer than [`MIN_CUSTOMERS`].
    edges: Option<Edges>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edges {
    /// Of days since the last order, negated: in quintiles more is better.
    minus_recency_days: Quintiles,
    n_order_days: Quintiles,
    net_minor: Quintiles,
}

impl Fit {
    fn new(data: &Dataset<'_>) -> Fit {
        let zone = &data.business.zone;
        let today = data.as_of.day(zone);
        let mut calendar = Calendar::default();
        let (mut recency, mut frequency, mut monetary) = (Vec::new(), Vec::new(), Vec::new());
        for facts in data.customers.iter() {
            if let Some(standing) = calendar.read(&facts, zone).standing(&facts, data.as_of, today) {
                recency.push(-i64::from(standing.recency_days));
                frequency.push(i64::from(standing.n_order_days));
                monetary.push(facts.net_minor_known_by(data.as_of));
            }
        }
        let n = recency.len();
        let edges = (n >= MIN_CUSTOMERS).then(|| Edges {
            minus_recency_days: Quintiles::new(&mut recency),
            n_order_days: Quintiles::new(&mut frequency),
            net_minor: Quintiles::new(&mut monetary),
        });
        let (version, currency) = (data.version(ScoreKind::Rfm, &()), data.business.currency);
        Fit { version, as_of: data.as_of, currency, n: n as u64, edges }
    }
}

impl Fitted for Fit {
    fn kind(&self) -> ScoreKind {
        ScoreKind::Rfm
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, facts: &CustomerFacts, now: Timestamp, business: &Business) -> Score {
        let Some(standing) = Standing::of(facts, now, &business.zone) else { return no_order(&self.version) };
        let Some(edges) = &self.edges else {
            let seen = format!("{} customers with an order", self.n);
            let missing = format!("quintiles need {MIN_CUSTOMERS} customers who have ordered");
            return not_enough_data(&self.version, "n_customers", seen, &missing);
        };
        let net_minor = facts.net_minor_known_by(now);
        let recency = edges.minus_recency_days.of(-i64::from(standing.recency_days));
        let frequency = edges.n_order_days.of(i64::from(standing.n_order_days));
        let monetary = edges.net_minor.of(net_minor);
        let net = Money { minor: net_minor, currency: self.currency };
        let fifth = |digit: u8, best: &str| format!("{digit} of 5 among {} customers, 5 being {best}", self.n);
        Score {
            value: Some(f64::from(recency + frequency + monetary)),
            band: Some(format!("{recency}{frequency}{monetary}")),
            interval: None,
            n: Some(self.n),
            reasons: vec![
                reason(
                    "recency_days",
                    format!("{} since the last order", standing.recency_text()),
                    fifth(recency, "the most recent"),
                ),
                reason("n_order_days", standing.n_order_days.to_string(), fifth(frequency, "the most frequent")),
                reason("net_revenue", net.to_string(), fifth(monetary, "the highest")),
            ],
            model: self.version.clone(),
        }
    }

    fn to_json(&self) -> Value {
        stored(ScoreKind::Rfm, self)
    }

    fn card(&self) -> Value {
        let edges = match &self.edges {
            None => json!(format!("not enough data: {} of {MIN_CUSTOMERS} customers with an order", self.n)),
            Some(edges) => json!({
                "recency_days": edges.minus_recency_days.0.map(|days| -days),
                "n_order_days": edges.n_order_days.0,
                "net_revenue": edges.net_minor.0.map(|minor| self.currency.major(minor)),
            }),
        };
        json!({
            "score": "rfm", "version": self.version, "as_of": self.as_of.to_string(), "n": self.n, "currency": self.currency,
            "means": "quintiles among customers who have ordered; the value is their sum",
            "ties": "equal values get the same digit, the lowest that any of them would get",
            "ends_of_the_first_four_fifths": edges,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_lowest_quintile_of_them() {
        let mut values: Vec<i64> = (1..=10).collect();
        let quintiles = Quintiles::new(&mut values);
        let digits: Vec<u8> = (0..=11).map(|value| quintiles.of(value)).collect();
        assert_eq!(digits, [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]);
        // Seven of ten bought once: they are the lowest fifth, whoever bought twice is above four of five.
        let quintiles = Quintiles::new(&mut [1, 1, 1, 1, 1, 1, 1, 2, 2, 5]);
        assert_eq!([1, 2, 3, 5, 6].map(|value| quintiles.of(value)), [1, 4, 5, 5, 5]);
    }
}
