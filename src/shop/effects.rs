//! What a message does to the one who gets it. These are the true effects of the simulated shop: the daemon never sees
//! them, a measurement of uplift must find them again.
//!
//! A contact multiplies the customer's purchase hazard for some days. Customers differ: with responsiveness `e` the factor
//! `F` of the table acts as `F^e`. `e` runs from -0.25 (being written to annoys them) to 1.75 (they live on offers) and
//! is tied to how often they use coupons, so that a model can learn who is worth a mail.

use super::draw::power;

/// What one kind of message does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Templates (or other ways of contact) whose name contains this word have the effect.
    pub word: &'static str,
    /// How long it lasts, counted from the day on which the shop learns of the contact.
    pub days: u16,
    /// Factor on the purchase hazard of an active customer.
    pub active: f64,
    /// Factor on the small hazard of one who has dropped out, see [`Effects::lapsed`].
    pub lapsed: f64,
    /// Factor on the hazard of coming back to an open cart.
    pub cart: f64,
    /// Factor on the probability that a bad purchase drives the customer away.
    pub disappointment: f64,
}

/// All true effects, with the parameters of the process that they act on.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// By word; the first that fits holds. A message that fits none has no effect but [`Effects::unsubscribe`].
    pub kinds: Vec<Effect>,
    /// A customer who has dropped out still buys at this share of the old rate, and is active again when that happens.
    pub lapsed: f64,
    /// Probability per mail that a consenting customer withdraws consent because of it.
    pub unsubscribe: f64,
    /// For each other mail of the last [`Effects::fatigue_days`] days that probability grows by this share.
    pub fatigue: f64,
    /// See [`Effects::fatigue`].
    pub fatigue_days: u16,
    /// Hazard per day of coming back by oneself to buy what was left in an open cart.
    pub cart_return: f64,
    /// How many days a cart stays open.
    pub cart_days: u16,
    /// Probability that an order with a satisfaction of 1 or 2 drives the customer away, on top of the usual dropout.
    pub disappointment: f64,
}

impl Default for Effects {
    fn default() -> Self {
        let none = Effect { word: "", days: 14, active: 1.0, lapsed: 1.0, cart: 1.0, disappointment: 1.0 };
        Effects {
            kinds: vec![
                Effect { word: "win_back", active: 1.6, lapsed: 4.0, ..none },
                Effect { word: "second_order", days: 10, active: 1.9, lapsed: 2.0, ..none },
                Effect { word: "cart", days: 3, cart: 3.0, ..none },
                Effect { word: "review", days: 21, disappointment: 0.4, ..none },
                Effect { word: "vip", days: 21, active: 2.0, lapsed: 5.0, disappointment: 0.5, ..none },
            ],
            lapsed: 0.05,
            unsubscribe: 0.006,
            fatigue: 0.6,
            fatigue_days: 30,
            cart_return: 0.06,
            cart_days: 4,
            disappointment: 0.45,
        }
    }
}

impl Effects {
    /// The effect of a template, by its name.
    pub fn of(&self, template: &str) -> Option<&Effect> {
        self.kinds.iter().find(|effect| template.contains(effect.word))
    }
}

/// A message that the daemon sent, as the shop needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// To whom, as in `customers.csv`; an address that the shop does not know has no effect.
    pub email: String,
    /// Which template; for a call or a task name it like one, such as `vip_call`.
    pub template: String,
    /// Whether it was marketing: only that makes people withdraw their consent.
    pub marketing: bool,
}

/// A contact that still works on a customer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub effect: Effect,
    /// The first day on which it works no more.
    pub ends_on: usize,
}

/// The product of one factor of all touches that work on `day`, for a customer of `responsiveness`.
pub(super) fn factor(touches: &[Touch], day: usize, responsiveness: f64, of: impl Fn(&Effect) -> f64) -> f64 {
    let all: f64 = touches.iter().filter(|touch| day < touch.ends_on).map(|touch| of(&touch.effect)).product();
    if (all - 1.0).abs() < f64::EPSILON { 1.0 } else { power(all, responsiveness) }
}

/// How many mails in a row multiply what: the probability that one more makes the customer withdraw consent.
pub(super) fn unsubscribes(effects: &Effects, n_recent: usize, responsiveness: f64) -> f64 {
    let fatigue = 1.0 + effects.fatigue * super::draw::real(n_recent as u64);
    // Whom mails annoy leaves twice as readily as whom they please.
    let mood = if responsiveness < 0.25 { 1.5 } else { 0.75 };
    (effects.unsubscribe * fatigue * mood).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_known_by_its_word_and_others_do_nothing() {
        let effects = Effects::default();
        assert_eq!(effects.of("win_back_gold").map(|e| e.lapsed), Some(4.0));
        assert_eq!(effects.of("bad_review_rescue").map(|e| e.disappointment), Some(0.4));
        assert_eq!(effects.of("newsletter"), None);
    }

    #[test]
    fn touches_multiply_end_and_depend_on_responsiveness() {
        let effects = Effects::default();
        let touch = Touch { effect: *effects.of("win_back").unwrap(), ends_on: 10 };
        let lapsed = |touches: &[Touch], day, e| factor(touches, day, e, |effect| effect.lapsed);
        assert!((lapsed(&[touch], 9, 1.0) - 4.0).abs() < 1e-12);
        assert!((lapsed(&[touch, touch], 9, 0.5) - 4.0).abs() < 1e-12);
        assert!(lapsed(&[touch], 9, -0.25) < 0.75);
        assert!((lapsed(&[touch], 10, 1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn each_further_mail_makes_leaving_likelier() {
        let effects = Effects::default();
        assert!(unsubscribes(&effects, 3, 1.0) > 2.5 * unsubscribes(&effects, 0, 1.0));
        assert!(unsubscribes(&effects, 0, 0.0) > unsubscribes(&effects, 0, 1.0));
    }
}
