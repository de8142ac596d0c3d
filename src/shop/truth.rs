//! What is true of a customer and no file tells: to measure models and experiments by.

use jiff::civil::Date;

use super::effects::Effects;
use super::life::Life;
use super::scene::{Scene, Stage};

/// The truth about one customer on one morning.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// As in the files.
    pub user_id: String,
    /// As in the files, but without the typing mistakes in them.
    pub email: String,
    /// Orders per day while active, in a mean season.
    pub rate: f64,
    /// Probability of dropping out after each order.
    pub dropout: f64,
    /// Still a customer; else buys at [`Effects::lapsed`] of the rate.
    pub active: bool,
    /// Since when not.
    pub dropped_out_on: Option<Date>,
    /// Orders so far.
    pub n_orders: u32,
    /// Day of the last order.
    pub last_order_on: Option<Date>,
    /// Mean order value in euros before coupons.
    pub mean_value: f64,
    /// How strongly messages work: the exponent of their factors.
    pub responsiveness: f64,
    /// Hazard of an order today, with season, state and the messages that still work.
    pub hazard_today: f64,
}

impl Truth {
    /// By what a message would multiply the hazard of an order while it works; 1 for a template without effect.
    pub fn factor_of(&self, effects: &Effects, template: &str) -> f64 {
        let Some(effect) = effects.of(template) else { return 1.0 };
        let base = if self.active { effect.active } else { effect.lapsed };
        super::draw::power(base, self.responsiveness)
    }
}

pub(super) fn all(stage: &Stage, effects: &Effects, lives: &[Life], next: usize) -> Vec<Truth> {
    let day = next.min(stage.calendar.days.len() - 1);
    let date = |number: usize| stage.calendar.days[number].date;
    let known = stage.people.iter().zip(lives).enumerate().filter(|(_, (person, _))| person.signs_up_on < next);
    known
        .map(|(index, (person, life))| {
            let hazard_today = life.hazard(&Scene { stage, effects, person, index, day, book: &mut Vec::new() });
            Truth {
                user_id: person.user_id.clone(),
                email: person.email.clone(),
                rate: person.truth.rate,
                dropout: person.truth.dropout,
                active: life.active,
                dropped_out_on: life.dropped_out_on.map(date),
                n_orders: life.n_orders,
                last_order_on: life.last_order_on.map(date),
                mean_value: person.truth.mean_value,
                responsiveness: person.truth.responsiveness,
                hazard_today,
            }
        })
        .collect()
}
