//! Where the customers act: what never changes while the shop is lived, and one day of it for one of them.

use super::calendar::{Calendar, Day};
use super::catalogue::{CATEGORIES, Catalogue, N_CATEGORIES};
use super::effects::Effects;
use super::people::{Person, REGIONS};
use super::records::Record;

/// A burst of demand: three days, one region, one category, so many times the usual.
pub(super) const BURST: Burst =
    Burst { from: jiff::civil::date(2026, 5, 18), days: 3, country: "PL", category: "Outdoor", times: 6.0 };

/// See [`BURST`].
pub(super) struct Burst {
    from: jiff::civil::Date,
    days: i32,
    country: &'static str,
    category: &'static str,
    pub times: f64,
}

/// What never changes while the shop is lived.
#[derive(Debug)]
pub(super) struct Stage {
    pub calendar: Calendar,
    /// By day: demand of each category.
    pub seasons: Vec<[f64; N_CATEGORIES]>,
    /// By day: more than anybody's demand can be against the mean day.
    pub peaks: Vec<f64>,
    pub catalogue: Catalogue,
    pub people: Vec<Person>,
}

/// One customer on one day, and the book that everything is written into.
pub(super) struct Scene<'a> {
    pub stage: &'a Stage,
    pub effects: &'a Effects,
    pub person: &'a Person,
    pub index: usize,
    pub day: usize,
    pub book: &'a mut Vec<Record>,
}

impl Scene<'_> {
    pub(super) fn today(&self) -> &Day {
        &self.stage.calendar.days[self.day]
    }

    /// Today's demand for each category against the customer's mean day: week, year and burst.
    pub(super) fn wishes(&self) -> [f64; N_CATEGORIES] {
        let today = self.today();
        let seasons = &self.stage.seasons[self.day];
        let burst = (0..BURST.days).contains(&(today.date - BURST.from).get_days())
            && REGIONS[self.person.region].country == BURST.country;
        std::array::from_fn(|c| {
            let times = if burst && CATEGORIES[c].name == BURST.category { BURST.times } else { 1.0 };
            self.person.truth.taste[c] * seasons[c] * today.demand * times
        })
    }
}
