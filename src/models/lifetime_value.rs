//! Lifetime value: the mean net revenue, over the next twelve months, of past customers in the same recency × frequency cell.
//! Net revenue is cash: orders placed in the window less money known to have gone back in it, whichever order it was for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cells::{Cell, Table, Tally};
use super::churn::{cell_cards, standing_reasons};
use super::facts::{Calendar, CustomerFacts, Dataset, Standing};
use super::metrics::{float, interval_of_mean, round6};
use super::windows::{self, Window};
use super::{Fitted, Model, load, no_order, not_enough_data, reason, stored};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::score::{Score, ScoreKind};

/// `[models.lifetime_value]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LifetimeValueConfig {
    /// How many days of revenue to expect. Default 365. A shop with less than two years of history gets answers sooner with
    /// fewer days; the number then means revenue of so many days.
    pub horizon_days: u32,
}

impl Default for LifetimeValueConfig {
    fn default() -> Self {
        LifetimeValueConfig { horizon_days: 365 }
    }
}

impl LifetimeValueConfig {
    /// What is wrong with it, if anything, naming the key.
    pub fn check(&self) -> Result<(), String> {
        match self.horizon_days {
            1..=3_650 => Ok(()),
            days => Err(format!("horizon_days = {days} is not 1 to 3650")),
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct LifetimeValue(pub LifetimeValueConfig);

impl Model for LifetimeValue {
    fn kind(&self) -> ScoreKind {
        ScoreKind::LifetimeValue
    }

    fn fit(&self, data: &Dataset<'_>) -> Box<dyn Fitted> {
        Box::new(Fit::new(self.0, data))
    }

    fn load(&self, stored: &Value) -> Result<Box<dyn Fitted>, String> {
        load::<Fit>(self.kind(), stored).map(|fit| Box::new(fit) as Box<dyn Fitted>)
    }
}

/// Net revenue of the past cases of one cell, in minor units. Whole numbers: the order of summing cannot matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Revenue {
    n: u64,
    sum: i64,
    /// Sum of squares; as text, since JSON's numbers end before it does.
    #[serde(with = "as_text")]
    squares: i128,
}

impl Revenue {
    #[expect(clippy::cast_precision_loss, reason = "sums of money past 2^53 minor units are not a shop's")]
    fn mean(&self) -> f64 {
        self.sum as f64 / float(self.n.max(1))
    }

    /// 95 % interval of the mean, by the sample's standard deviation.
    #[expect(clippy::cast_precision_loss, reason = "the interval of a mean does not need 53 bits")]
    fn interval(&self) -> (f64, f64) {
        let n = i128::from(self.n);
        let sum = i128::from(self.sum);
        // n·Σx² - (Σx)² is exact, so nothing cancels.
        let spread = n.saturating_mul(self.squares).saturating_sub(sum.saturating_mul(sum)).max(0);
        let variance = spread as f64 / float(self.n.max(1)) / float(self.n.saturating_sub(1).max(1));
        interval_of_mean(self.mean(), variance, self.n.max(1))
    }
}

impl Tally for Revenue {
    fn n(&self) -> u64 {
        self.n
    }

    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    version: String,
    as_of: Timestamp,
    config: LifetimeValueConfig,
    currency: Currency,
    windows: Vec<(Window, Revenue)>,
    table: Table<Revenue>,
    holdout: Option<Holdout>,
}

/// How a fit without the newest window did on it; money in major units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holdout {
    window: Window,
    n: u64,
    n_not_enough_data: u64,
    mean_said: f64,
    mean_actual: f64,
    mean_absolute_error: f64,
    /// Of saying the mean of the earlier windows of everybody.
    mean_absolute_error_of_the_mean: f64,
}

impl Fit {
    fn new(config: LifetimeValueConfig, data: &Dataset<'_>) -> Fit {
        let windows = windows::complete(data, config.horizon_days);
        let mut tables = vec![Table::<Revenue>::default(); windows.len()];
        observe(data, &windows, |i, standing, minor| {
            let one = Revenue { n: 1, sum: minor, squares: i128::from(minor) * i128::from(minor) };
            tables[i].at(Cell::of(standing)).add(&one);
        });
        let mut table = Table::default();
        let mut holdout = None;
        for (i, (window, newer)) in windows.iter().zip(&tables).enumerate() {
            if i > 0 && i + 1 == windows.len() {
                holdout = Some(Holdout::new(data, window, &table));
            }
            table.add(newer);
        }
        let windows = windows.into_iter().zip(tables.iter().map(Table::total)).collect();
        let version = data.version(ScoreKind::LifetimeValue, &config);
        Fit { version, as_of: data.as_of, config, currency: data.business.currency, windows, table, holdout }
    }

    /// A mean in minor units as whole minor units, in major ones: what people are told.
    fn major(&self, minor: f64) -> f64 {
        major(self.currency, minor)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float outside the range of i64 saturates")]
fn whole(minor: f64) -> i64 {
    minor.round() as i64
}

fn major(currency: Currency, minor: f64) -> f64 {
    currency.major(whole(minor))
}

/// Tells `note` of every customer who had ordered by a window's cut-off: which window, how they stood then, and the net
/// revenue in the window, in minor units, as far as is known by now.
fn observe(data: &Dataset<'_>, windows: &[Window], mut note: impl FnMut(usize, &Standing, i64)) {
    let zone = &data.business.zone;
    let days: Vec<i32> = windows.iter().map(|window| window.cut_off.day(zone)).collect();
    let mut calendar = Calendar::default();
    for facts in data.customers.iter() {
        calendar.read(&facts, zone);
        for (i, window) in windows.iter().enumerate() {
            if let Some(standing) = calendar.standing(&facts, window.cut_off, days[i]) {
                note(i, &standing, net_in(&facts, window, data.as_of));
            }
        }
    }
}

fn net_in(facts: &CustomerFacts, window: &Window, as_of: Timestamp) -> i64 {
    let back = |refunds: &[(Timestamp, i64)]| -> i64 {
        refunds.iter().filter(|(known_at, _)| window.contains(*known_at)).map(|(_, minor)| minor).sum()
    };
    let of_orders = facts.orders_known_by(as_of).map(|order| {
        let paid = if window.contains(order.at) { order.gross_minor } else { 0 };
        paid - back(&order.refunds)
    });
    of_orders.sum::<i64>() - back(&facts.credits)
}

impl Holdout {
    fn new(data: &Dataset<'_>, window: &Window, before: &Table<Revenue>) -> Holdout {
        let everybody = before.total().mean();
        let (mut n, mut n_not_enough_data) = (0, 0);
        let (mut said, mut actual, mut error, mut error_of_mean) = (0.0, 0.0, 0.0, 0.0);
        observe(data, std::slice::from_ref(window), |_, standing, minor| match before.ask(Cell::of(standing)) {
            None => n_not_enough_data += 1,
            Some((revenue, _)) => {
                #[expect(clippy::cast_precision_loss, reason = "amounts past 2^53 minor units are not a shop's")]
                let (mean, minor) = (revenue.mean(), minor as f64);
                n += 1;
                said += mean;
                actual += minor;
                error += (mean - minor).abs();
                error_of_mean += (everybody - minor).abs();
            }
        });
        let per_head = |sum: f64| major(data.business.currency, sum / float(n.max(1)));
        Holdout {
            window: *window,
            n,
            n_not_enough_data,
            mean_said: per_head(said),
            mean_actual: per_head(actual),
            mean_absolute_error: per_head(error),
            mean_absolute_error_of_the_mean: per_head(error_of_mean),
        }
    }

    fn card(&self) -> Value {
        let bias = (self.mean_actual != 0.0).then(|| round6(self.mean_said / self.mean_actual - 1.0));
        json!({
            "fitted_on": "the earlier cut-offs only", "cut_off": self.window.cut_off.to_string(),
            "until": self.window.until.to_string(), "n": self.n, "n_not_enough_data": self.n_not_enough_data,
            "mean_said": self.mean_said, "mean_actual": self.mean_actual, "bias": bias,
            "mean_absolute_error": self.mean_absolute_error,
            "mean_absolute_error_of_saying_the_mean": self.mean_absolute_error_of_the_mean,
        })
    }
}

impl Fitted for Fit {
    fn kind(&self) -> ScoreKind {
        ScoreKind::LifetimeValue
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, facts: &CustomerFacts, now: Timestamp, business: &Business) -> Score {
        let horizon = self.config.horizon_days;
        let Some(standing) = Standing::of(facts, now, &business.zone) else { return no_order(&self.version) };
        let cell = Cell::of(&standing);
        let Some((revenue, pooled)) = self.table.ask(cell) else {
            let missing = match self.windows.len() {
                0 => windows::none_yet(horizon),
                _ => "fewer than 30 past customers were like this, neighbouring cells included".to_owned(),
            };
            return not_enough_data(&self.version, "cell", cell.text(), &missing);
        };
        let (low, high) = revenue.interval();
        let money = |minor: f64| Money { minor: whole(minor), currency: self.currency };
        let mut reasons = standing_reasons(&standing);
        reasons.push(reason(
            "cell",
            cell.text(),
            format!(
                "{} such customers{} brought {} each in the next {horizon} days on average (95 % interval {} to {})",
                revenue.n,
                pooled.text(),
                money(revenue.mean()),
                money(low),
                money(high),
            ),
        ));
        Score {
            value: Some(self.major(revenue.mean())),
            band: None,
            interval: Some((self.major(low), self.major(high))),
            n: Some(revenue.n),
            reasons,
            model: self.version.clone(),
        }
    }

    fn to_json(&self) -> Value {
        stored(ScoreKind::LifetimeValue, self)
    }

    fn card(&self) -> Value {
        let total = self.table.total();
        let cut_offs: Vec<Value> = self
            .windows
            .iter()
            .map(|(window, revenue)| {
                let (cut_off, until) = (window.cut_off.to_string(), window.until.to_string());
                json!({ "cut_off": cut_off, "until": until, "n": revenue.n, "mean": self.major(revenue.mean()) })
            })
            .collect();
        let says = |revenue: &Revenue| {
            let (low, high) = revenue.interval();
            json!({ "value": self.major(revenue.mean()), "interval": (self.major(low), self.major(high)) })
        };
        let holdout = match &self.holdout {
            Some(holdout) => holdout.card(),
            None => json!("not enough data: two complete windows are needed, one to learn from and one to check on"),
        };
        json!({
            "score": "lifetime_value", "version": self.version, "as_of": self.as_of.to_string(),
            "means": format!("mean net revenue of past customers in the same cell in the next {} days", self.config.horizon_days),
            "config": self.config, "currency": self.currency, "cut_offs": cut_offs, "n": total.n,
            "mean": (total.n > 0).then(|| self.major(total.mean())),
            "interval": "mean ± 1.96 standard deviations / √n",
            "cells": cell_cards(&self.table, says),
            "holdout": holdout,
        })
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
