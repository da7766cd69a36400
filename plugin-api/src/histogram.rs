//! How a quantity is distributed, for hooks that tell of many events in few lines.

use std::collections::BTreeMap;

use crate::{EventLine, LineBuffer};

/// How many classes each power of two is parted into: a percentile is off by 1/16 at most.
const PARTS: u64 = 16;
/// The columns of the longest bar in a picture.
const WIDEST_BAR: u64 = 40;

/// Durations in nanoseconds, counted by their size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By the least value of the class.
    classes: BTreeMap<u64, u64>,
    count: u64,
    total: u128,
    max: u64,
}

impl Histogram {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Adds a value so many times, such as all of a class that somebody else has counted.
    pub fn add_many(&mut self, value: u64, count: u64) {
        if count > 0 {
            *self.classes.entry(class_of(value)).or_default() += count;
            self.count += count;
            self.total += u128::from(value) * u128::from(count);
            self.max = self.max.max(value);
        }
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
        self.count += other.count;
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Sets the sum and the greatest of the values, for those who were told them exactly, and of the values only the
    /// classes.
    pub fn set_exactly(&mut self, total: u128, max: u64) {
        self.total = total;
        self.max = max;
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// The mean; 0 of no values.
    pub fn mean(&self) -> u64 {
        self.total.checked_div(u128::from(self.count)).unwrap_or(0) as u64
    }

    /// The greatest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that so many percent of all values do not exceed, but for an error of a sixteenth.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (from, count) in &self.classes {
            seen += count;
            if seen >= rank {
                return (from + width_of(*from) / 2).min(self.max);
            }
        }
        self.max
    }

    /// How many values lie in each power of two, from the first that has some to the last: from, to (not included), count.
    pub fn powers(&self) -> Vec<(u64, u64, u64)> {
        let mut powers: BTreeMap<u32, u64> = BTreeMap::new();
        for (from, count) in &self.classes {
            *powers.entry(from.max(&1).ilog2()).or_default() += count;
        }
        let (Some(first), Some(last)) = (powers.keys().next(), powers.keys().next_back()) else {
            return Vec::new();
        };
        let edge = |power: u32| 1u64.checked_shl(power).unwrap_or(u64::MAX);
        (*first..=*last)
            .map(|power| (edge(power), edge(power + 1), powers.get(&power).copied().unwrap_or(0)))
            .collect()
    }
}

impl EventLine<'_> {
    /// What there is to say of a distribution: `count`, `mean`, `p50`, `p99` and `max`; in JSON also its `buckets`.
    pub fn distribution(self, of: &Histogram) -> Self {
        self.number("count", of.count())
            .duration("mean", of.mean())
            .duration("p50", of.percentile(50))
            .duration("p99", of.percentile(99))
            .duration("max", of.max())
            .buckets(&of.powers())
    }
}

impl LineBuffer {
    /// A picture of a distribution, below the line that tells of it: a row for each power of two nanoseconds. In JSON, nothing: the line has the numbers.
    pub fn picture(&mut self, of: &Histogram) {
        let powers = of.powers();
        let most = powers.iter().map(|(_, _, count)| *count).max().unwrap_or(1).max(1);
        for (from, to, count) in powers {
            // A count that is there is seen.
            let width = (count * WIDEST_BAR).div_ceil(most) as usize;
            let range = format!("{}..{} ns", short(from), short(to));
            self.continuation(&format!("{range:>16} {count:>10} |{:<40}|", "@".repeat(width)));
        }
    }
}

/// The least value of the class that `value` is in.
fn class_of(value: u64) -> u64 {
    value - value % width_of(value)
}

fn width_of(value: u64) -> u64 {
    let power = 1u64 << value.max(1).ilog2();
    (power / PARTS).max(1)
}

/// In bpftrace's way: `512`, `2K`, `4M`, `1G`, where a K is 1024.
fn short(number: u64) -> String {
    let units = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.into_iter().find(|(_, size)| number >= *size) {
        Some((unit, size)) => format!("{}{unit}", number / size),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Format, Origin};

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    #[test]
    fn a_picture_has_a_row_for_each_power() {
        let mut lines = LineBuffer::with_room(4096);
        lines.picture(&of(&[1000, 1030, 1500, 5000]));
        let text = str::from_utf8(lines.as_bytes()).unwrap();
        let rows: Vec<&str> = text.lines().map(|line| line.trim_end_matches([' ', '|'])).collect();
        assert_eq!(
            rows,
            [
                " =>       512..1K ns          1 |@@@@@@@@@@@@@@@@@@@@",
                " =>        1K..2K ns          2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
                " =>        2K..4K ns          0",
                " =>        4K..8K ns          1 |@@@@@@@@@@@@@@@@@@@@",
            ]
        );
    }

    #[test]
    fn what_is_known_exactly_is_told_exactly() {
        let mut histogram = Histogram::default();
        histogram.add_many(1000, 3);
        histogram.set_exactly(3060, 1025);
        assert_eq!((histogram.mean(), histogram.max(), histogram.percentile(50)), (1020, 1025, 1008));
    }

    #[test]
    fn json_has_the_numbers() {
        let mut lines = LineBuffer::with_room(4096).in_format(Format::Json);
        lines.event(&Origin::default(), "waits").distribution(&of(&[3, 3, 9]));
        let line: serde_json::Value = serde_json::from_slice(lines.as_bytes()).unwrap();
        assert_eq!((&line["count"], &line["mean_ns"], &line["max_ns"]), (&3.into(), &5.into(), &9.into()));
        assert_eq!(
            line["buckets"],
            serde_json::json!([
                {"from_ns": 2, "to_ns": 4, "count": 2},
                {"from_ns": 4, "to_ns": 8, "count": 0},
                {"from_ns": 8, "to_ns": 16, "count": 1},
            ])
        );
    }

    #[test]
    fn merged_is_as_if_all_had_been_added() {
        let mut merged = of(&[3, 1000]);
        merged.merge(&of(&[3, 7, 123_456]));
        assert_eq!(merged, of(&[3, 1000, 3, 7, 123_456]));
    }

    proptest! {
        #[test]
        fn percentiles_are_near(mut values in prop::collection::vec(any::<u64>(), 1..200), percent in 1u64..=100) {
            let histogram = of(&values);
            values.sort_unstable();
            let exact = values[(values.len() * percent as usize).div_ceil(100).max(1) - 1];
            let error = histogram.percentile(percent).abs_diff(exact);
            prop_assert!(error <= exact / PARTS + 1, "{} for {exact}", histogram.percentile(percent));
            prop_assert_eq!(histogram.powers().iter().map(|(_, _, count)| count).sum::<u64>(), values.len() as u64);
        }
    }
}
