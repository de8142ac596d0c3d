//! Visits: pages and products looked at, carts filled, carts left.

use super::catalogue::{Catalogue, Cents};
use super::draw::{power, real};
use super::life::Life;
use super::records::{Line, What, total};
use super::scene::Scene;

/// Products looked at in a visit, beyond the first.
const MORE_VIEWS: f64 = 1.8;
/// Products looked at without intent that are put into the cart all the same.
const IDLE_CART: f64 = 0.02;
/// Visits of a known customer on a known browser without logging in.
const LOGGED_OUT: f64 = 0.12;
/// The second browser, a telephone.
const SECOND_BROWSER: f64 = 0.3;
/// Number of lines in a cart: 1 to 5.
const LINES: [f64; 5] = [0.52, 0.27, 0.12, 0.06, 0.03];
/// Abandoned carts that got as far as the checkout.
const CHECKOUT_ABANDONED: f64 = 0.75;
/// Whom the first page of a visit belongs to.
const ENTRANCES: [&str; 4] = ["Home", "Category", "Search", "Sale"];

/// A visit in progress.
pub(super) struct Visit {
    pub at: i64,
    pub browser: usize,
    pub known: bool,
}

impl Life {
    /// A visit without buying; `member` once the customer has signed up.
    pub(super) fn look_around(&mut self, scene: &mut Scene<'_>, member: bool) {
        let mut visit = self.enter(scene, member);
        let n_views = 1 + self.draw.poisson(MORE_VIEWS);
        for _ in 0..n_views {
            let product = self.wish(scene);
            self.view(scene, &mut visit, product);
            if self.draw.chance(IDLE_CART) {
                let unit_price = scene.stage.catalogue.0[product].price;
                let line = Line { product, quantity: 1, unit_price };
                self.step(scene, &mut visit, What::Added { line });
            }
        }
    }

    /// Signs up for the newsletter in the middle of a visit.
    pub(super) fn subscribe(&mut self, scene: &mut Scene<'_>) {
        let mut visit = self.enter(scene, false);
        let product = self.wish(scene);
        self.view(scene, &mut visit, product);
        self.sign_up(scene, &mut visit);
    }

    /// Fills a cart and goes.
    pub(super) fn abandon(&mut self, scene: &mut Scene<'_>, lines: &[Line]) {
        let mut visit = self.enter(scene, true);
        visit.known = true;
        self.shop(scene, &mut visit, lines);
        if self.draw.chance(CHECKOUT_ABANDONED) {
            self.check_out(scene, &mut visit, lines);
        }
    }

    /// Opens the shop in a browser. A browser is first used logged in, so that no visit stays nobody's.
    pub(super) fn enter(&mut self, scene: &mut Scene<'_>, member: bool) -> Visit {
        let at = scene.stage.calendar.instant(scene.day, scene.person.region, &mut self.draw);
        let browser = usize::from(member && self.draw.chance(SECOND_BROWSER));
        let known = member && (!self.linked[browser] || !self.draw.chance(LOGGED_OUT));
        self.linked[browser] |= known;
        let mut visit = Visit { at, browser, known };
        let page = *self.draw.pick(&ENTRANCES);
        self.step(scene, &mut visit, What::Page(page));
        visit
    }

    /// Looks at some products, the wanted ones among them, and puts those into the cart.
    pub(super) fn shop(&mut self, scene: &mut Scene<'_>, visit: &mut Visit, lines: &[Line]) {
        for _ in 0..self.draw.poisson(MORE_VIEWS) {
            let product = self.wish(scene);
            self.view(scene, visit, product);
        }
        for line in lines {
            self.view(scene, visit, line.product);
            self.step(scene, visit, What::Added { line: *line });
        }
    }

    pub(super) fn check_out(&mut self, scene: &mut Scene<'_>, visit: &mut Visit, lines: &[Line]) {
        self.step(scene, visit, What::CheckoutStarted { value: total(lines), n_lines: lines.len() });
    }

    /// Becomes known in this visit.
    pub(super) fn sign_up(&mut self, scene: &mut Scene<'_>, visit: &mut Visit) {
        visit.known = true;
        self.linked[visit.browser] = true;
        self.step(scene, visit, What::SignedUp);
    }

    /// What the customer would buy today: lines worth about one order's value.
    pub(super) fn fill_cart(&mut self, scene: &Scene<'_>) -> Vec<Line> {
        let mut left = scene.person.truth.order_value(&mut self.draw);
        let n_lines = 1 + self.draw.weighted(&LINES);
        let wishes = scene.wishes();
        let mut lines: Vec<Line> = Vec::with_capacity(n_lines);
        for n in (1..=n_lines).rev() {
            let share = (left / i64::try_from(n).expect("at most five")).max(500);
            let category = self.draw.weighted(&wishes);
            let product = scene.stage.catalogue.near(category, Cents(share), &mut self.draw);
            let unit_price = scene.stage.catalogue.0[product].price;
            let quantity = ((share + unit_price.0 / 2) / unit_price.0).clamp(1, 6);
            left -= quantity * unit_price.0;
            match lines.iter_mut().find(|line| line.product == product) {
                Some(line) => line.quantity += quantity,
                None => lines.push(Line { product, quantity, unit_price }),
            }
        }
        lines
    }

    /// A product that the customer likes to look at today.
    fn wish(&mut self, scene: &Scene<'_>) -> usize {
        let category = self.draw.weighted(&scene.wishes());
        Catalogue::any(category, &mut self.draw)
    }

    fn view(&mut self, scene: &mut Scene<'_>, visit: &mut Visit, product: usize) {
        self.step(scene, visit, What::Viewed { product });
    }

    /// The next thing in a visit, some seconds after the last.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>, visit: &mut Visit, what: What) {
        self.note(scene, visit.at, Some(visit.browser), visit.known, what);
        // Most steps take some seconds, a few some minutes.
        let u = self.draw.uniform();
        visit.at += 8 + super::draw::whole(power(1.0 - u, 2.0) * real(140));
    }
}
