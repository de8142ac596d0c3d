//! Churn risk: the share of past customers in the same recency × frequency cell who did not order within the horizon, with
//! the number of cases and Wilson's interval. Counted at cut-offs whose window is complete, from what was known at each.
//!
//! It is the probability of *no purchase within the horizon*, not "1 - P(alive)": that one ranks worse than chance, since to
//! it every one-time buyer is alive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cells::{Cell, Pooled, Table, Tally};
use super::facts::{Calendar, CustomerFacts, Dataset, Standing};
use super::metrics::{auc, brier, ece10, float, round6, wilson};
use super::windows::{self, Window};
use super::{Fitted, Model, load, no_order, not_enough_data, reason, stored};
use crate::domain::clock::{Business, Timestamp};
use crate::domain::score::{Score, ScoreKind};

/// `[models.churn_risk]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChurnRiskConfig {
    /// Who does not order within so many days counts as lost. Default 90.
    pub horizon_days: u32,
    /// From this probability on the band is `medium`, below it `low`. Default 0.3333.
    pub medium_from: f64,
    /// Above this probability the band is `high`. Default 0.6667.
    pub high_above: f64,
}

impl Default for ChurnRiskConfig {
    fn default() -> Self {
        ChurnRiskConfig { horizon_days: 90, medium_from: 0.3333, high_above: 0.6667 }
    }
}

impl ChurnRiskConfig {
    /// What is wrong with it, if anything, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=3_650).contains(&self.horizon_days) {
            return Err(format!("horizon_days = {} is not 1 to 3650", self.horizon_days));
        }
        if !(0.0 <= self.medium_from && self.medium_from <= self.high_above && self.high_above <= 1.0) {
            let (medium, high) = (self.medium_from, self.high_above);
            return Err(format!("medium_from = {medium} and high_above = {high} must rise from 0 to 1"));
        }
        Ok(())
    }

    fn band(&self, risk: f64) -> &'static str {
        match risk {
            risk if risk > self.high_above => "high",
            risk if risk >= self.medium_from => "medium",
            _ => "low",
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct ChurnRisk(pub ChurnRiskConfig);

impl Model for ChurnRisk {
    fn kind(&self) -> ScoreKind {
        ScoreKind::ChurnRisk
    }

    fn fit(&self, data: &Dataset<'_>) -> Box<dyn Fitted> {
        Box::new(Fit::new(self.0, data))
    }

    fn load(&self, stored: &Value) -> Result<Box<dyn Fitted>, String> {
        load::<Fit>(self.kind(), stored).map(|fit| Box::new(fit) as Box<dyn Fitted>)
    }
}

/// Past cases of one cell: how many, and how many of them did not order again within the horizon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Lapses {
    n: u64,
    n_lapsed: u64,
}

impl Lapses {
    fn share(&self) -> f64 {
        round6(float(self.n_lapsed) / float(self.n.max(1)))
    }

    fn interval(&self) -> (f64, f64) {
        let (low, high) = wilson(self.n_lapsed, self.n);
        (round6(low), round6(high))
    }
}

impl Tally for Lapses {
    fn n(&self) -> u64 {
        self.n
    }

    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.n_lapsed += other.n_lapsed;
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fit {
    version: String,
    as_of: Timestamp,
    config: ChurnRiskConfig,
    windows: Vec<(Window, Lapses)>,
    table: Table<Lapses>,
    holdout: Option<Holdout>,
}

/// How a fit without the newest window did on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holdout {
    window: Window,
    /// Customers with a score, and those with "not enough data".
    n: u64,
    n_not_enough_data: u64,
    /// The share that lapsed before, and in this window.
    base_rate_before: f64,
    base_rate: f64,
    auc: Option<f64>,
    auc_of_recency_alone: Option<f64>,
    brier: f64,
    ece10: f64,
}

impl Fit {
    fn new(config: ChurnRiskConfig, data: &Dataset<'_>) -> Fit {
        let windows = windows::complete(data, config.horizon_days);
        let mut tables = vec![Table::<Lapses>::default(); windows.len()];
        observe(data, &windows, |i, _, standing, lapsed| {
            let lapses = tables[i].at(Cell::of(standing));
            lapses.n += 1;
            lapses.n_lapsed += u64::from(lapsed);
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
        let version = data.version(ScoreKind::ChurnRisk, &config);
        Fit { version, as_of: data.as_of, config, windows, table, holdout }
    }
}

/// Tells `note` of every customer who had ordered by a window's cut-off: which window, how they stood then, and whether they
/// lapsed, that is did not order within the window as far as is known by now.
fn observe(data: &Dataset<'_>, windows: &[Window], mut note: impl FnMut(usize, &CustomerFacts, &Standing, bool)) {
    let zone = &data.business.zone;
    let days: Vec<i32> = windows.iter().map(|window| window.cut_off.day(zone)).collect();
    let mut calendar = Calendar::default();
    for facts in data.customers.iter() {
        calendar.read(&facts, zone);
        for (i, window) in windows.iter().enumerate() {
            if let Some(standing) = calendar.standing(&facts, window.cut_off, days[i]) {
                let lapsed = !facts.orders_known_by(data.as_of).rev().any(|order| window.contains(order.at));
                note(i, &facts, &standing, lapsed);
            }
        }
    }
}

impl Holdout {
    fn new(data: &Dataset<'_>, window: &Window, before: &Table<Lapses>) -> Holdout {
        let (mut said, mut recency) = (Vec::new(), Vec::new());
        let mut n_not_enough_data = 0;
        observe(data, std::slice::from_ref(window), |_, _, standing, lapsed| match before.ask(Cell::of(standing)) {
            None => n_not_enough_data += 1,
            Some((lapses, _)) => {
                said.push((lapses.share(), lapsed));
                recency.push((f64::from(standing.recency_days), lapsed));
            }
        });
        let n = said.len() as u64;
        let n_lapsed = said.iter().filter(|case| case.1).count() as u64;
        Holdout {
            window: *window,
            n,
            n_not_enough_data,
            base_rate_before: before.total().share(),
            base_rate: Lapses { n, n_lapsed }.share(),
            brier: round6(brier(&said)),
            ece10: round6(ece10(&said)),
            auc: auc(&mut said).map(round6),
            auc_of_recency_alone: auc(&mut recency).map(round6),
        }
    }

    fn card(&self) -> Value {
        let better = self.auc.zip(self.auc_of_recency_alone).map(|(ours, alone)| ours > alone);
        json!({
            "fitted_on": "the earlier cut-offs only", "cut_off": self.window.cut_off.to_string(),
            "until": self.window.until.to_string(), "n": self.n, "n_not_enough_data": self.n_not_enough_data,
            "base_rate_before": self.base_rate_before, "base_rate": self.base_rate, "auc": self.auc,
            "auc_of_recency_alone": self.auc_of_recency_alone, "ranks_better_than_recency_alone": better,
            "brier": self.brier, "ece10": self.ece10,
        })
    }
}

impl Fitted for Fit {
    fn kind(&self) -> ScoreKind {
        ScoreKind::ChurnRisk
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn score(&self, facts: &CustomerFacts, now: Timestamp, business: &Business) -> Score {
        let horizon = self.config.horizon_days;
        let Some(standing) = Standing::of(facts, now, &business.zone) else { return no_order(&self.version) };
        let cell = Cell::of(&standing);
        let Some((lapses, pooled)) = self.table.ask(cell) else {
            let missing = match self.windows.len() {
                0 => windows::none_yet(horizon),
                _ => "fewer than 30 past customers were like this, neighbouring cells included".to_owned(),
            };
            return not_enough_data(&self.version, "cell", cell.text(), &missing);
        };
        let (risk, interval) = (lapses.share(), lapses.interval());
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let mut reasons = standing_reasons(&standing);
        reasons.push(reason(
            "cell",
            cell.text(),
            format!(
                "{} of {} such customers{} did not order within {horizon} days: {} (95 % interval {} to {})",
                lapses.n_lapsed,
                lapses.n,
                pooled.text(),
                percent(risk),
                percent(interval.0),
                percent(interval.1),
            ),
        ));
        Score {
            value: Some(risk),
            band: Some(self.config.band(risk).to_owned()),
            interval: Some(interval),
            n: Some(lapses.n),
            reasons,
            model: self.version.clone(),
        }
    }

    fn to_json(&self) -> Value {
        stored(ScoreKind::ChurnRisk, self)
    }

    fn card(&self) -> Value {
        let total = self.table.total();
        let cut_offs: Vec<Value> = self
            .windows
            .iter()
            .map(|(window, lapses)| {
                let (cut_off, until) = (window.cut_off.to_string(), window.until.to_string());
                json!({ "cut_off": cut_off, "until": until, "n": lapses.n, "base_rate": lapses.share() })
            })
            .collect();
        let holdout = match &self.holdout {
            Some(holdout) => holdout.card(),
            None => json!("not enough data: two complete windows are needed, one to learn from and one to check on"),
        };
        json!({
            "score": "churn_risk", "version": self.version, "as_of": self.as_of.to_string(),
            "means": format!("share of past customers in the same cell without an order in the next {} days", self.config.horizon_days),
            "config": self.config, "cut_offs": cut_offs, "n": total.n,
            "base_rate": (total.n > 0).then(|| total.share()),
            "cells": cell_cards(&self.table, |lapses| json!({ "value": lapses.share(), "interval": lapses.interval() })),
            "holdout": holdout,
        })
    }
}

/// The reasons that every score by cells gives first: where the customer stands.
pub(super) fn standing_reasons(standing: &Standing) -> Vec<crate::domain::score::Reason> {
    let orders = match (standing.n_orders, standing.n_order_days) {
        (1, _) => "1 order".to_owned(),
        (n, days) if n == days => format!("{n} orders"),
        (n, days) => format!("{n} orders on {days} {}", if days == 1 { "day" } else { "days" }),
    };
    vec![
        reason(
            "recency_days",
            format!("{} since the last order", standing.recency_text()),
            "the longer, the more customers stay away".into(),
        ),
        reason("n_orders", orders, "the more, the more customers come back".into()),
    ]
}

/// The cells for a model card: those that can say something, and how; the others as "not enough data".
pub(super) fn cell_cards<T: Tally>(table: &Table<T>, says: impl Fn(&T) -> Value) -> Vec<Value> {
    Cell::all()
        .map(|cell| {
            let mut card = json!({
                "recency_days": cell.recency_text(), "order_days": cell.frequency_text(), "n_own": table.own(cell).n(),
            });
            let said = match table.ask(cell) {
                None => json!({ "value": null, "pooled": "not_enough_data" }),
                Some((tally, pooled)) => {
                    let mut said = says(&tally);
                    said["n"] = tally.n().into();
                    said["pooled"] = if pooled == Pooled::Alone { Value::Null } else { json!(pooled) };
                    said
                }
            };
            if let (Value::Object(card), Value::Object(said)) = (&mut card, said) {
                card.extend(said);
            }
            card
        })
        .collect()
}
