//! The table that churn risk and lifetime value are read from: recency × frequency, what became of past customers in each cell,
//! and what to do where there were too few. A table can be printed, checked by hand and explained to the person concerned; on
//! two public data sets it ranks about as well as the formulas of the literature (see `docs/guide/scores.md`).

use serde::{Deserialize, Serialize};

use super::facts::Standing;

/// Upper ends of the recency classes, in days, inclusive; the last class is open. Two weeks, one, two and three months, half
/// a year and a year: the steps in which shops think, fine where most change happens. They are fixed, not quantiles, so that
/// a cell means the same next month and in another shop.
pub const RECENCY_DAYS: [i32; 6] = [14, 30, 60, 90, 180, 365];

/// Upper ends of the frequency classes, in days with an order, inclusive; the last class is open. The second purchase tells
/// most, so 1 and 2 stand alone and the classes double from there.
pub const ORDER_DAYS: [u32; 4] = [1, 2, 4, 9];

/// Below this many past cases a cell does not speak for itself.
pub const MIN_CASES: u64 = 30;

const N_RECENCY: usize = RECENCY_DAYS.len() + 1;
const N_FREQUENCY: usize = ORDER_DAYS.len() + 1;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    recency: usize,
    frequency: usize,
}

impl Cell {
    /// The cell of a customer.
    pub fn of(standing: &Standing) -> Cell {
        Cell {
            recency: RECENCY_DAYS.partition_point(|&end| end < standing.recency_days),
            frequency: ORDER_DAYS.partition_point(|&end| end < standing.n_order_days),
        }
    }

    /// All cells, row by row.
    pub fn all() -> impl Iterator<Item = Cell> {
        (0..N_RECENCY).flat_map(|recency| (0..N_FREQUENCY).map(move |frequency| Cell { recency, frequency }))
    }

    /// Such as `31-60`, in days.
    pub fn recency_text(self) -> String {
        match (self.recency.checked_sub(1).map(|i| RECENCY_DAYS[i]), RECENCY_DAYS.get(self.recency)) {
            (None, Some(end)) => format!("0-{end}"),
            (Some(before), Some(end)) => format!("{}-{end}", before + 1),
            (before, None) => format!("over {}", before.unwrap_or_default()),
        }
    }

    /// Such as `3-4`, in days with an order.
    pub fn frequency_text(self) -> String {
        match (self.frequency.checked_sub(1).map(|i| ORDER_DAYS[i]), ORDER_DAYS.get(self.frequency)) {
            (None, Some(end)) => end.to_string(),
            (Some(before), Some(&end)) if before + 1 == end => end.to_string(),
            (Some(before), Some(end)) => format!("{}-{end}", before + 1),
            (before, None) => format!("{} or more", before.unwrap_or_default() + 1),
        }
    }

    /// For reasons: `31-60 days since the last order, 3-4 order days`.
    pub fn text(self) -> String {
        let s = if self.frequency == 0 { "" } else { "s" };
        format!("{} days since the last order, {} order day{s}", self.recency_text(), self.frequency_text())
    }

    fn index(self) -> usize {
        self.recency * N_FREQUENCY + self.frequency
    }
}

/// What is counted in a cell.
pub trait Tally: Clone + Default {
    /// How many past cases.
    fn n(&self) -> u64;
    /// Adds the cases of another cell.
    fn add(&mut self, other: &Self);
}

/// Whom a cell had to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooled {
    /// Nobody: it has [`MIN_CASES`] of its own.
    Alone,
    /// Its neighbours in frequency, at the same recency.
    WithFrequency,
    /// Its neighbours in recency, at the same frequency.
    WithRecency,
    /// All eight cells around it.
    WithAllAround,
}

impl Pooled {
    /// For reasons, after the words "such customers"; empty when there is nothing to say.
    pub fn text(self) -> &'static str {
        match self {
            Pooled::Alone => "",
            Pooled::WithFrequency => ", pooled with the cells of fewer and of more order days",
            Pooled::WithRecency => ", pooled with the cells of shorter and of longer absence",
            Pooled::WithAllAround => ", pooled with all cells around it",
        }
    }
}

/// A tally for every cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<T>",
    into = "Vec<T>",
    bound(serialize = "T: Clone + Serialize", deserialize = "T: Deserialize<'de>")
)]
pub struct Table<T>(Vec<T>);

impl<T: Tally> Default for Table<T> {
    /// Nothing counted yet.
    fn default() -> Self {
        Table(vec![T::default(); N_RECENCY * N_FREQUENCY])
    }
}

impl<T: Tally> Table<T> {
    /// The tally of one cell, to count in.
    pub fn at(&mut self, cell: Cell) -> &mut T {
        &mut self.0[cell.index()]
    }

    /// The cell's own cases.
    pub fn own(&self, cell: Cell) -> &T {
        &self.0[cell.index()]
    }

    /// All cells together.
    pub fn total(&self) -> T {
        let mut total = T::default();
        self.0.iter().for_each(|tally| total.add(tally));
        total
    }

    /// Adds another table cell by cell.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(ours, theirs)| ours.add(theirs));
    }

    /// What past cases say of `cell`: its own if there are [`MIN_CASES`], else with its neighbours in frequency, else with
    /// its neighbours in recency, else with all eight around it; `None` when even those are too few. A cell that lends its
    /// cases keeps its own value. Only direct neighbours are asked: what is further away is somebody else.
    pub fn ask(&self, cell: Cell) -> Option<(T, Pooled)> {
        [
            (0, 0, Pooled::Alone),
            (0, 1, Pooled::WithFrequency),
            (1, 0, Pooled::WithRecency),
            (1, 1, Pooled::WithAllAround),
        ]
        .into_iter()
        .find_map(|(by_recency, by_frequency, pooled)| {
            let mut sum = T::default();
            for other in Cell::all() {
                if other.recency.abs_diff(cell.recency) <= by_recency
                    && other.frequency.abs_diff(cell.frequency) <= by_frequency
                {
                    sum.add(self.own(other));
                }
            }
            (sum.n() >= MIN_CASES).then_some((sum, pooled))
        })
    }
}

impl<T> From<Table<T>> for Vec<T> {
    fn from(table: Table<T>) -> Self {
        table.0
    }
}

impl<T> TryFrom<Vec<T>> for Table<T> {
    type Error = String;

    fn try_from(cells: Vec<T>) -> Result<Self, String> {
        match cells.len() {
            n if n == N_RECENCY * N_FREQUENCY => Ok(Table(cells)),
            n => Err(format!("a table of {n} cells, expected {}", N_RECENCY * N_FREQUENCY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Count(u64);

    impl Tally for Count {
        fn n(&self) -> u64 {
            self.0
        }
        fn add(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    fn cell(recency_days: i32, n_order_days: u32) -> Cell {
        Cell::of(&Standing { recency_days, n_orders: n_order_days, n_order_days })
    }

    #[test]
    fn edges_belong_to_the_class_below() {
        let check = |recency: i32, order_days: u32, texts: (&str, &str)| {
            let cell = cell(recency, order_days);
            assert_eq!((cell.recency_text().as_str(), cell.frequency_text().as_str()), texts);
        };
        check(0, 1, ("0-14", "1"));
        check(14, 2, ("0-14", "2"));
        check(15, 3, ("15-30", "3-4"));
        check(365, 9, ("181-365", "5-9"));
        check(366, 10, ("over 365", "10 or more"));
        check(9_999, 9_999, ("over 365", "10 or more"));
    }

    #[test]
    fn a_thin_cell_asks_its_neighbours_in_the_stated_order() {
        let mut table = Table::<Count>::default();
        let asked = |table: &Table<Count>| table.ask(cell(20, 2)).map(|(count, pooled)| (count.0, pooled));
        *table.at(cell(200, 2)) = Count(1_000);
        assert_eq!(asked(&table), None, "a cell two steps away is somebody else");
        *table.at(cell(0, 1)) = Count(29);
        *table.at(cell(20, 2)) = Count(1);
        assert_eq!(asked(&table), Some((30, Pooled::WithAllAround)));
        *table.at(cell(40, 2)) = Count(29);
        assert_eq!(asked(&table), Some((30, Pooled::WithRecency)));
        *table.at(cell(20, 3)) = Count(29);
        assert_eq!(asked(&table), Some((30, Pooled::WithFrequency)));
        *table.at(cell(20, 2)) = Count(30);
        assert_eq!(asked(&table), Some((30, Pooled::Alone)));
        assert_eq!(table.own(cell(20, 3)).0, 29, "who lends keeps its own");
    }

    #[test]
    fn a_table_of_another_size_is_refused() {
        let error = serde_json::from_str::<Table<u32>>("[1,2,3]").unwrap_err().to_string();
        assert_eq!(error, "a table of 3 cells, expected 35");
    }
}
