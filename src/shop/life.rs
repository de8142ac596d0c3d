//! One customer's days: signing up, wanting something, buying it or not, drifting away.

use super::draw::{Draw, happens};
use super::effects::{Contact, Touch, factor, unsubscribes};
use super::people::Person;
use super::records::{Line, Record, What};
use super::scene::Scene;

/// Of the intents to buy so many end in an order, straight away or after a detour through an open cart; intents are so
/// much more frequent than orders.
pub(super) const INTENT_YIELD: f64 = 0.82;
/// Days from an intent to the visit that should end in an order: 0, 1, 2, 3, 4.
const DELAY: [f64; 5] = [0.52, 0.20, 0.13, 0.09, 0.06];
/// Share of those visits that end in an open cart instead.
const ABANDONED: f64 = 0.22;
/// Visits on a day between intent and order.
const VISIT_WHILE_DECIDING: f64 = 0.45;
/// Visits per day without intent: active, per unit of curiosity ...
const IDLE_ACTIVE: f64 = 0.021;
/// ... after dropping out ...
const IDLE_LAPSED: f64 = 0.005;
/// ... and what a message adds while it works.
const IDLE_TOUCHED: f64 = 0.05;
/// Share of customers who visit anonymously before they sign up, on one to three of the last so many days.
const LOOKED_BEFORE: f64 = 0.6;
/// See [`LOOKED_BEFORE`].
pub(super) const LOOKED_BEFORE_DAYS: usize = 14;
/// Consent withdrawn per day without any message: about 6 % a year.
const WITHDRAWAL: f64 = 0.000_17;
/// Share of customers who are suppressed some day, by a complaint or a dead mailbox ...
const SUPPRESSED: f64 = 0.012;
/// ... after a mean of so many days.
const SUPPRESSED_AFTER: f64 = 180.0;
/// Another order on the same day: something was forgotten.
const FORGOT_SOMETHING: f64 = 0.02;
/// What is still to come of earlier days.
#[derive(Clone, Debug)]
pub(super) enum Due {
    LookAround,
    Happens(What),
    /// A bad purchase has sunk in: does the customer stay?
    Verdict,
}

/// What the customer is about to do.
#[derive(Clone, Debug)]
enum Intent {
    None,
    Buys { on: usize },
    OpenCart { until: usize, lines: Vec<Line> },
}

/// The state of one customer.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub draw: Draw,
    pub active: bool,
    pub dropped_out_on: Option<usize>,
    pub n_orders: u32,
    pub n_refunds: u32,
    pub last_order_on: Option<usize>,
    pub agenda: Vec<(usize, Due)>,
    pub touches: Vec<Touch>,
    intent: Intent,
    consents: bool,
    mailed_on: Vec<usize>,
    /// Browsers on which the customer has logged in once.
    pub linked: [bool; 2],
    n_records: u32,
}

impl Life {
    /// `earliest` is the first day on which the customer may show up.
    pub(super) fn new(person: &Person, mut draw: Draw, earliest: usize) -> Self {
        let mut agenda = Vec::new();
        if draw.chance(LOOKED_BEFORE) {
            for _ in 0..draw.between(1, 3) {
                let back = 1 + draw.below(LOOKED_BEFORE_DAYS);
                if person.signs_up_on >= earliest + back {
                    agenda.push((person.signs_up_on - back, Due::LookAround));
                }
            }
        }
        Life {
            draw,
            active: true,
            dropped_out_on: None,
            n_orders: 0,
            n_refunds: 0,
            last_order_on: None,
            agenda,
            touches: Vec::new(),
            intent: Intent::None,
            consents: person.consents,
            mailed_on: Vec::new(),
            linked: [false; 2],
            n_records: 0,
        }
    }

    /// A message has reached the customer; it works from `day` on.
    pub(super) fn touch(&mut self, contact: &Contact, scene: &Scene<'_>) {
        let effects = scene.effects;
        if let Some(effect) = effects.of(&contact.template) {
            self.touches.push(Touch { effect: *effect, ends_on: scene.day + usize::from(effect.days) });
        }
        if contact.marketing && self.consents {
            let since = scene.day.saturating_sub(usize::from(effects.fatigue_days));
            let n_recent = self.mailed_on.iter().filter(|&&day| day >= since).count();
            if self.draw.chance(unsubscribes(effects, n_recent, scene.person.truth.responsiveness)) {
                self.agenda.push((scene.day, Due::Happens(What::ConsentWithdrawn)));
            }
            self.mailed_on.push(scene.day);
        }
    }

    /// Lives one day.
    pub(super) fn live(&mut self, scene: &mut Scene<'_>) {
        if !self.agenda.is_empty() {
            self.settle_agenda(scene);
        }
        if scene.day < scene.person.signs_up_on {
            return;
        }
        if scene.day == scene.person.signs_up_on {
            self.begin(scene);
            return;
        }
        self.pursue(scene);
        let curiosity = scene.person.truth.curiosity;
        let touched = self.touches.iter().any(|touch| scene.day < touch.ends_on);
        let idle = curiosity * if self.active { IDLE_ACTIVE } else { IDLE_LAPSED };
        if self.draw.happens(idle + if touched { IDLE_TOUCHED } else { 0.0 }) {
            self.look_around(scene, true);
        }
        if self.consents && self.draw.happens(WITHDRAWAL) {
            self.agenda.push((scene.day + 1, Due::Happens(What::ConsentWithdrawn)));
        }
    }

    /// Hazard of an order today from wanting something, a message included; returning to an open cart comes on top.
    pub(super) fn hazard(&self, scene: &Scene<'_>) -> f64 {
        self.hazard_of(scene, scene.wishes().iter().sum())
    }

    fn hazard_of(&self, scene: &Scene<'_>, season: f64) -> f64 {
        let truth = &scene.person.truth;
        let state = if self.active { 1.0 } else { scene.effects.lapsed };
        let message = if self.touches.is_empty() {
            1.0
        } else {
            let active = self.active;
            let of = |effect: &super::effects::Effect| if active { effect.active } else { effect.lapsed };
            factor(&self.touches, scene.day, truth.responsiveness, of)
        };
        truth.rate * season * state * message
    }

    fn begin(&mut self, scene: &mut Scene<'_>) {
        if self.draw.chance(SUPPRESSED) {
            let after = self.draw.exponential(SUPPRESSED_AFTER).min(900.0);
            let day = scene.day + 1 + usize::try_from(super::draw::whole(after)).expect("not negative");
            let reason = *self.draw.pick(&["complaint", "hard bounce"]);
            self.agenda.push((day, Due::Happens(What::Suppressed(reason))));
        }
        if scene.person.at_checkout {
            let lines = self.fill_cart(scene);
            self.order(scene, lines, true);
        } else {
            self.subscribe(scene);
        }
    }

    fn pursue(&mut self, scene: &mut Scene<'_>) {
        match std::mem::replace(&mut self.intent, Intent::None) {
            Intent::None => {
                let limit = self.hazard_of(scene, scene.stage.peaks[scene.day]) / INTENT_YIELD;
                let u = self.draw.uniform();
                // On most days the season need not be looked at to see that nothing is wanted.
                if u < limit && happens(u, self.hazard(scene) / INTENT_YIELD) {
                    match self.draw.weighted(&DELAY) {
                        0 => self.buy_or_leave_it(scene),
                        delay => {
                            self.intent = Intent::Buys { on: scene.day + delay };
                            self.look_around(scene, true);
                        }
                    }
                }
            }
            Intent::Buys { on } if on == scene.day => self.buy_or_leave_it(scene),
            Intent::Buys { on } => {
                self.intent = Intent::Buys { on };
                if self.draw.chance(VISIT_WHILE_DECIDING) {
                    self.look_around(scene, true);
                }
            }
            Intent::OpenCart { until, .. } if scene.day >= until => {}
            Intent::OpenCart { until, lines } => {
                let effects = scene.effects;
                let message = factor(&self.touches, scene.day, scene.person.truth.responsiveness, |e| e.cart);
                if self.draw.happens(effects.cart_return * message) {
                    self.order(scene, lines, false);
                } else {
                    self.intent = Intent::OpenCart { until, lines };
                }
            }
        }
    }

    fn buy_or_leave_it(&mut self, scene: &mut Scene<'_>) {
        let lines = self.fill_cart(scene);
        if self.draw.chance(ABANDONED) {
            self.abandon(scene, &lines);
            let until = scene.day + 1 + usize::from(scene.effects.cart_days);
            self.intent = Intent::OpenCart { until, lines };
        } else {
            self.order(scene, lines, false);
            if self.draw.chance(FORGOT_SOMETHING) {
                let mut more = self.fill_cart(scene);
                more.truncate(1);
                self.order(scene, more, false);
            }
        }
    }

    fn settle_agenda(&mut self, scene: &mut Scene<'_>) {
        let (due, later) = std::mem::take(&mut self.agenda).into_iter().partition(|(day, _)| *day <= scene.day);
        self.agenda = later;
        let due: Vec<(usize, Due)> = due;
        for (_, what) in due {
            match what {
                Due::LookAround => self.look_around(scene, false),
                Due::Verdict => self.judge(scene),
                Due::Happens(What::ConsentWithdrawn) if !self.consents => {}
                Due::Happens(what) => {
                    self.consents &= !matches!(what, What::ConsentWithdrawn);
                    let at = scene.stage.calendar.instant(scene.day, scene.person.region, &mut self.draw);
                    self.note(scene, at, None, true, what);
                }
            }
        }
    }

    /// Leaves, for good or nearly so.
    pub(super) fn drop_out(&mut self, day: usize) {
        self.active = false;
        self.dropped_out_on = Some(day);
    }

    /// Writes down what happened at `at`; never past the end of the day.
    pub(super) fn note(&mut self, scene: &mut Scene<'_>, at: i64, browser: Option<usize>, known: bool, what: What) {
        let at = at.min(scene.today().ends_at - 1);
        let (customer, number) = (scene.index, self.n_records);
        self.n_records += 1;
        scene.book.push(Record { at, customer, number, browser, known, what });
    }
}
