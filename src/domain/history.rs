//! What happened to a customer, per event name: exact first and last instants and sparse daily counts and sums, in all and
//! by declared dimension. Any window of days can be asked of it later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::clock::Timestamp;

/// One event name's (or one dimension value's) past.
///
/// Written as a list, `[first_at, last_at, days]`: a profile has dozens of them, and with names for the fields it would be
/// half as long again. Reading takes either.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Series {
    /// The first occurrence.
    pub first_at: Timestamp,
    /// The last occurrence.
    pub last_at: Timestamp,
    /// Per business day (days since 1970-01-01): how often, and the sum of amounts in minor units.
    pub days: BTreeMap<i32, (u32, i64)>,
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.first_at, self.last_at, &self.days).serialize(serializer)
    }
}

impl Series {
    /// A single occurrence.
    pub fn one(at: Timestamp, day: i32, minor: i64) -> Self {
        Series { first_at: at, last_at: at, days: BTreeMap::from([(day, (1, minor))]) }
    }

    /// Joins the past of disjoint events.
    pub fn merge(&mut self, other: &Series) {
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        for (&day, &(n, sum)) in &other.days {
            let slot = self.days.entry(day).or_default();
            slot.0 = slot.0.saturating_add(n);
            slot.1 = slot.1.saturating_add(sum);
        }
    }

    /// Count and sum over the days from `first_day` on (`i32::MIN` for all).
    pub fn since_day(&self, first_day: i32) -> (u64, i64) {
        self.days
            .range(first_day..)
            .fold((0, 0), |(n, sum), (_, &(more, amount))| (n + u64::from(more), sum.saturating_add(amount)))
    }
}

/// The past of one event name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHistory {
    /// All occurrences.
    pub all: Series,
    /// Dimension → value → the occurrences with that value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<String, BTreeMap<String, Series>>,
}

/// Event name → its past. Orders are not here: they can be amended, so they are counted from [`super::order`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(pub BTreeMap<String, EventHistory>);

impl History {
    /// Notes one occurrence.
    pub fn record(&mut self, name: &str, one: &Series, dimensions: &[(String, String)]) {
        let entry = match self.0.get_mut(name) {
            Some(entry) => {
                entry.all.merge(one);
                entry
            }
            None => {
                self.0.entry(name.to_owned()).or_insert_with(|| EventHistory { all: one.clone(), by: BTreeMap::new() })
            }
        };
        for (dimension, value) in dimensions {
            let series = entry.by.entry(dimension.clone()).or_default();
            series.entry(value.clone()).and_modify(|s| s.merge(one)).or_insert_with(|| one.clone());
        }
    }

    /// Joins the past of disjoint events.
    pub fn merge(&mut self, other: &History) {
        for (name, theirs) in &other.0 {
            let Some(ours) = self.0.get_mut(name) else {
                self.0.insert(name.clone(), theirs.clone());
                continue;
            };
            ours.all.merge(&theirs.all);
            for (dimension, values) in &theirs.by {
                let mine = ours.by.entry(dimension.clone()).or_default();
                for (value, series) in values {
                    mine.entry(value.clone()).and_modify(|s| s.merge(series)).or_insert_with(|| series.clone());
                }
            }
        }
    }

    /// The past of `name`, of one `(dimension, value)` of it where given.
    pub fn series(&self, name: &str, of: Option<(&str, &str)>) -> Option<&Series> {
        let entry = self.0.get(name)?;
        match of {
            None => Some(&entry.all),
            Some((dimension, value)) => entry.by.get(dimension)?.get(value),
        }
    }
}
