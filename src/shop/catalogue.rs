//! What the shop sells: six categories with a year of their own, twenty products each.

use jiff::civil::{Date, date};
use serde::{Serialize, Serializer};

use super::calendar::of_year;
use super::draw::{Draw, exp, ln, real, whole};

/// How many categories there are.
pub(super) const N_CATEGORIES: usize = 6;

/// One category.
pub(super) struct Category {
    pub name: &'static str,
    prefix: &'static str,
    /// Share of the demand over a year.
    pub popularity: f64,
    /// Demand by month against the mean month; the mean is 1.
    months: [f64; 12],
    /// Cheapest and dearest product, in euros.
    prices: (f64, f64),
    things: [&'static str; 10],
    kinds: [&'static str; 2],
}

/// All categories.
#[rustfmt::skip]
pub(super) const CATEGORIES: [Category; N_CATEGORIES] = [
    Category {
        name: "Garden",
        prefix: "GAR",
        popularity: 0.16,
        months: [0.4, 0.5, 1.2, 1.9, 2.0, 1.6, 1.2, 0.9, 0.8, 0.6, 0.4, 0.5],
        prices: (6.0, 90.0),
        things: [
            "watering can", "pruning shears", "planter", "seed set", "hose reel",
            "bird house", "garden gloves", "trellis", "solar lamp", "compost bin",
        ],
        kinds: ["Classic", "Balcony"],
    },
    Category {
        name: "Outdoor",
        prefix: "OUT",
        popularity: 0.15,
        months: [0.7, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.5, 1.0, 0.8, 0.7, 0.7],
        prices: (10.0, 160.0),
        things: [
            "backpack", "head torch", "sleeping mat", "camping stove", "rain jacket",
            "water bottle", "trekking poles", "hammock", "dry bag", "first-aid kit",
        ],
        kinds: ["Trail", "Summit"],
    },
    Category {
        name: "Toys",
        prefix: "TOY",
        popularity: 0.16,
        months: [0.6, 0.6, 0.8, 0.8, 0.7, 0.8, 0.7, 0.7, 0.8, 1.1, 1.9, 2.5],
        prices: (7.0, 70.0),
        things: [
            "building blocks", "puzzle", "wooden train", "board game", "plush bear",
            "kite", "marble run", "doll's house", "science kit", "balance bike bell",
        ],
        kinds: ["Little", "Grand"],
    },
    Category {
        name: "Books",
        prefix: "BOO",
        popularity: 0.20,
        months: [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 1.0, 0.9, 0.9, 1.0, 1.2, 1.5],
        prices: (8.0, 40.0),
        things: [
            "crime novel", "cookbook", "travel guide", "atlas", "poetry collection",
            "picture book", "biography", "field guide", "short stories", "history of tea",
        ],
        kinds: ["Paperback", "Hardcover"],
    },
    Category {
        name: "Kitchen",
        prefix: "KIT",
        popularity: 0.17,
        months: [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 1.0, 1.1, 1.4, 1.5],
        prices: (9.0, 130.0),
        things: [
            "chef's knife", "cast-iron pan", "coffee grinder", "teapot", "baking tin",
            "spice rack", "salad bowl", "pasta maker", "kitchen scale", "bread box",
        ],
        kinds: ["Everyday", "Master"],
    },
    Category {
        name: "Fashion",
        prefix: "FAS",
        popularity: 0.16,
        months: [1.1, 0.8, 1.0, 1.1, 1.1, 1.0, 1.1, 0.7, 1.1, 1.1, 1.0, 0.9],
        prices: (13.0, 100.0),
        things: [
            "wool scarf", "linen shirt", "sun hat", "leather belt", "knit jumper",
            "canvas bag", "rain boots", "silk tie", "denim skirt", "wool socks, pack of 3",
        ],
        kinds: ["Nordic", "Riviera"],
    },
];

/// The brand whose maker has changed: the ten kitchen products whose names begin with this word.
pub const BAD_BRAND: &str = "Everyday";
/// From this day on satisfaction with [`BAD_BRAND`] is lower ...
pub const BAD_BRAND_SINCE: Date = date(2026, 3, 1);
/// ... by so many stars.
const BAD_BRAND_HARM: f64 = 1.4;

/// Money in cents; in JSON a number in euros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cents(pub i64);

impl Cents {
    /// `12.90`, for CSV.
    pub(super) fn text(self) -> String {
        format!("{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // The quotient of two exact numbers is rounded the same everywhere and prints as the shortest that reads back.
        to.serialize_f64(real(self.0.unsigned_abs()) / 100.0)
    }
}

/// One product.
#[derive(Debug)]
pub(super) struct Product {
    pub sku: String,
    pub name: String,
    pub category: usize,
    pub price: Cents,
    /// Added to the satisfaction of an order that contains it; mean 0.
    quality: f64,
}

impl Product {
    /// What buying it on `day` adds to satisfaction, in stars.
    pub(super) fn quality(&self, day: Date) -> f64 {
        let spoilt = day >= BAD_BRAND_SINCE && self.name.starts_with(BAD_BRAND);
        if spoilt { self.quality - BAD_BRAND_HARM } else { self.quality }
    }
}

/// All products; those of category `c` are the `c`-th twenty.
#[derive(Debug)]
pub(super) struct Catalogue(pub Vec<Product>);

const PER_CATEGORY: usize = 20;

impl Catalogue {
    pub(super) fn new(draw: &mut Draw) -> Self {
        let mut products = Vec::with_capacity(N_CATEGORIES * PER_CATEGORY);
        for (number, category) in CATEGORIES.iter().enumerate() {
            let names =
                category.things.iter().flat_map(|thing| category.kinds.iter().map(move |k| format!("{k} {thing}")));
            for (n, name) in names.enumerate() {
                let (low, high) = category.prices;
                let euros = exp(ln(low) + draw.uniform() * (ln(high) - ln(low)));
                let ending = *draw.pick(&[50, 90, 95]);
                let price = Cents(whole(euros.floor()) * 100 + ending);
                let sku = format!("{}-{:03}", category.prefix, n + 1);
                products.push(Product { sku, name, category: number, price, quality: 0.25 * draw.normal() });
            }
        }
        Catalogue(products)
    }

    /// Any product of `category`.
    pub(super) fn any(category: usize, draw: &mut Draw) -> usize {
        category * PER_CATEGORY + draw.below(PER_CATEGORY)
    }

    /// Of four products of `category` the one whose price comes closest to `target`.
    pub(super) fn near(&self, category: usize, target: Cents, draw: &mut Draw) -> usize {
        let four = [(); 4].map(|()| Self::any(category, draw));
        let distance = |&product: &usize| (self.0[product].price.0 - target.0).abs();
        four.into_iter().min_by_key(distance).expect("four products")
    }
}

/// Demand of each category on `day` against its mean day.
pub(super) fn seasons(day: Date) -> [f64; N_CATEGORIES] {
    std::array::from_fn(|category| of_year(&CATEGORIES[category].months, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_sums_to_one_and_every_year_has_mean_one() {
        assert!((CATEGORIES.iter().map(|c| c.popularity).sum::<f64>() - 1.0).abs() < 1e-9);
        for category in &CATEGORIES {
            let mean = category.months.iter().sum::<f64>() / 12.0;
            assert!((mean - 1.0).abs() < 1e-9, "{}: {mean}", category.name);
        }
    }

    #[test]
    fn garden_peaks_in_spring_and_toys_at_christmas() {
        let (may, december) = (seasons(date(2025, 5, 10)), seasons(date(2025, 12, 10)));
        assert!(may[0] > 3.0 * december[0] && december[2] > 3.0 * may[2]);
    }

    #[test]
    fn prices_stay_within_their_category_and_cents_print_as_money() {
        let catalogue = Catalogue::new(&mut Draw::new(3, 0));
        assert_eq!(catalogue.0.len(), 120);
        for product in &catalogue.0 {
            let (low, high) = CATEGORIES[product.category].prices;
            let euros = real(product.price.0.unsigned_abs()) / 100.0;
            assert!(euros >= low && euros <= high + 1.0, "{product:?}");
        }
        assert_eq!(catalogue.0.iter().filter(|p| p.name.starts_with(BAD_BRAND)).count(), 10);
        assert_eq!(
            (Cents(1_205).text(), serde_json::to_string(&Cents(1_290)).unwrap()),
            ("12.05".into(), "12.9".into())
        );
    }
}
