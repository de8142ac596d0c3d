//! Orders and what follows from them: satisfaction, reviews, tickets, refunds, and customers who leave.

use super::catalogue::Cents;
use super::draw::whole;
use super::effects::factor;
use super::life::{Due, Life};
use super::records::{Line, What, total};
use super::scene::Scene;

/// Satisfaction with an order in stars: this, plus quality, mildness and chance, rounded into 1 to 5.
const SATISFACTION: f64 = 4.15;
/// Standard deviation of the chance in it.
const LUCK: f64 = 0.85;
/// A late delivery: how often, and what it costs in stars.
const LATE: (f64, f64) = (0.07, 1.5);
/// Probability of a review by satisfaction: those at both ends talk.
const REVIEWED: [f64; 5] = [0.36, 0.30, 0.10, 0.10, 0.15];
/// Probability of a support ticket: content, and not.
const TICKET: (f64, f64) = (0.025, 0.28);
/// Probability of a refund: content, and not.
const REFUND: (f64, f64) = (0.035, 0.30);
/// Refunds of the whole order; the others are for some pieces of one line.
const REFUND_WHOLE: f64 = 0.45;
/// Orders with a coupon, for the thriftiest; the others in proportion.
const COUPON: f64 = 0.5;
/// Satisfaction up to here disappoints.
const DISAPPOINTED: usize = 2;

const BAD_WORDS: [&str; 4] = [
    "Broke after two days. I expected better.",
    "Arrived late and not as described.",
    "Looks cheap, would not buy again.",
    "Support never answered. Disappointed.",
];
const FAIR_WORDS: [&str; 3] =
    ["Does the job.", "All right for the price, nothing special.", "Okay, but the box was damaged."];
const GOOD_WORDS: [&str; 4] = [
    "Exactly what I wanted!",
    "Great quality, quick delivery.",
    "Lovely. Already ordered a second one.",
    "Very happy with it.",
];

impl Life {
    /// A visit that ends in an order; `first` when the customer signs up in it.
    pub(super) fn order(&mut self, scene: &mut Scene<'_>, mut lines: Vec<Line>, first: bool) {
        let mut visit = self.enter(scene, !first);
        visit.known = !first;
        self.linked[visit.browser] |= visit.known;
        self.shop(scene, &mut visit, &lines);
        if first {
            self.sign_up(scene, &mut visit);
        }
        self.check_out(scene, &mut visit, &lines);
        let coupon = self.coupon(scene, &mut lines);
        let order = self.n_orders + 1;
        self.n_orders = order;
        self.last_order_on = Some(scene.day);
        self.note(
            scene,
            visit.at + 45,
            Some(visit.browser),
            true,
            What::Ordered { order, lines: lines.clone(), coupon },
        );
        // Whoever comes back after having dropped out is a customer again; then everybody may drop out, as in BG/NBD.
        self.active = true;
        self.dropped_out_on = None;
        self.plan_aftermath(scene, order, &lines);
        if self.draw.chance(scene.person.truth.dropout) {
            self.drop_out(scene.day);
        }
    }

    /// Does a bad purchase drive the customer away? A rescue that works today keeps some.
    pub(super) fn judge(&mut self, scene: &Scene<'_>) {
        let effects = scene.effects;
        let rescue = factor(&self.touches, scene.day, 1.0, |effect| effect.disappointment);
        if self.draw.chance(effects.disappointment * rescue) && self.active {
            self.drop_out(scene.day);
        }
    }

    fn coupon(&mut self, scene: &Scene<'_>, lines: &mut [Line]) -> Option<&'static str> {
        if !self.draw.chance(COUPON * scene.person.truth.thrift) {
            return None;
        }
        for line in lines.iter_mut() {
            line.unit_price = Cents((line.unit_price.0 * 9 + 5) / 10);
        }
        let invited = self.touches.iter().any(|t| scene.day < t.ends_on && t.effect.word == "win_back");
        Some(if invited { "COMEBACK10" } else { "SAVE10" })
    }

    fn plan_aftermath(&mut self, scene: &Scene<'_>, order: u32, lines: &[Line]) {
        let late = self.draw.chance(LATE.0);
        let today = scene.today().date;
        let worst =
            lines.iter().map(|l| scene.stage.catalogue.0[l.product].quality(today)).fold(f64::INFINITY, f64::min);
        let stars = SATISFACTION + worst + scene.person.truth.mildness + LUCK * self.draw.normal()
            - if late { LATE.1 } else { 0.0 };
        let satisfaction = usize::try_from(whole(stars).clamp(1, 5)).expect("1 to 5");
        let unhappy = satisfaction <= DISAPPOINTED;
        let pick = |(content, not): (f64, f64)| if unhappy { not } else { content };
        let arrives = scene.day + self.days(2, 5) + if late { 6 } else { 0 };
        if self.draw.chance(REVIEWED[satisfaction - 1]) {
            let product = self.draw.pick(lines).product;
            let words: &[&'static str] = match satisfaction {
                1 | 2 => &BAD_WORDS,
                3 => &FAIR_WORDS,
                _ => &GOOD_WORDS,
            };
            let text = *self.draw.pick(words);
            let on = arrives + self.days(1, 9);
            self.plan(on, What::Reviewed { order, product, rating: satisfaction, text });
        }
        if self.draw.chance(pick(TICKET)) {
            let bad = ["late delivery", "damaged item", "wrong item"];
            let calm = ["question about a product", "invoice"];
            let topic = if late { bad[0] } else { *self.draw.pick(if unhappy { &bad } else { &calm[..] }) };
            let on = arrives + self.days(0, 4);
            self.plan(on, What::TicketOpened { order, topic });
        }
        if self.draw.chance(pick(REFUND)) {
            self.plan_refund(arrives, order, lines, unhappy);
        }
        if unhappy {
            let on = arrives + self.days(12, 21);
            self.agenda.push((on, Due::Verdict));
        }
    }

    fn plan_refund(&mut self, arrives: usize, order: u32, lines: &[Line], unhappy: bool) {
        self.n_refunds += 1;
        let refund = self.n_refunds;
        let line = *self.draw.pick(lines);
        let n_pieces = self.draw.between(1, line.quantity);
        let whole = self.draw.chance(REFUND_WHOLE) || (lines.len() == 1 && n_pieces == line.quantity);
        let amount = if whole { total(lines) } else { Cents(n_pieces * line.unit_price.0) };
        let reason = *self.draw.pick(if unhappy {
            &["damaged", "not as described"]
        } else {
            &["wrong size", "changed my mind"]
        });
        let on = arrives + self.days(2, 16);
        self.plan(on, What::Refunded { order, refund, amount, whole, reason });
    }

    fn plan(&mut self, day: usize, what: What) {
        self.agenda.push((day, Due::Happens(what)));
    }

    fn days(&mut self, low: i64, high: i64) -> usize {
        usize::try_from(self.draw.between(low, high)).expect("not negative")
    }
}
