//! Histograms, for hooks that report many events in a few lines.

use std::collections::BTreeMap;

use crate::{EventLine, LineBuffer};

/// The number of buckets in each power of two. The error of a percentile is at most 1/16.
const PARTS: u64 = 16;
/// The columns of the longest bar of a chart.
const WIDEST_BAR: u64 = 40;

/// A histogram of durations in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The number of values by the least value of their bucket.
    buckets: BTreeMap<u64, u64>,
    count: u64,
    total: u128,
    max: u64,
}

impl Histogram {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        self.add_many(value, 1);
    }

    /// Adds a value `count` times, such as a bucket that an eBPF program has counted.
    pub fn add_many(&mut self, value: u64, count: u64) {
        if count > 0 {
            *self.buckets.entry(bucket_of(value)).or_default() += count;
            self.count += count;
            self.total += u128::from(value) * u128::from(count);
            self.max = self.max.max(value);
        }
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Sets the sum and the maximum, if they are known more exactly than the values that were added.
    pub fn set_exactly(&mut self, total: u128, max: u64) {
        self.total = total;
        self.max = max;
    }

    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all values.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// Returns the mean, or 0 if there are no values.
    pub fn mean(&self) -> u64 {
        self.total.checked_div(u128::from(self.count)).unwrap_or(0) as u64
    }

    /// Returns the maximum.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the value that `percent` of all values do not exceed, with an error of at most 1/16.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (from, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return (from + width_of(*from) / 2).min(self.max);
            }
        }
        self.max
    }

    /// Returns the number of values in each power of two, from the first that has any to the last: from, to (excluded), count.
    pub fn powers(&self) -> Vec<(u64, u64, u64)> {
        let mut powers: BTreeMap<u32, u64> = BTreeMap::new();
        for (from, count) in &self.buckets {
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
    /// Adds the fields `count`, `mean`, `p50`, `p99` and `max` of a histogram; in JSON also `buckets`.
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
    /// Adds a chart below the line of a histogram: a row for each power of two nanoseconds. Adds nothing in JSON, where the line has
    /// the numbers.
    pub fn picture(&mut self, of: &Histogram) {
        let powers = of.powers();
        let most = powers.iter().map(|(_, _, count)| *count).max().unwrap_or(1).max(1);
        for (from, to, count) in powers {
            // Even the smallest count has a column.
            let width = (count * WIDEST_BAR).div_ceil(most) as usize;
            let range = format!("{}..{} ns", short(from), short(to));
            self.continuation(&format!("{range:>16} {count:>10} |{:<40}|", "@".repeat(width)));
        }
    }
}

/// Returns the least value of the bucket that contains `value`.
fn bucket_of(value: u64) -> u64 {
    value - value % width_of(value)
}

fn width_of(value: u64) -> u64 {
    let power = 1u64 << value.max(1).ilog2();
    (power / PARTS).max(1)
}

/// Formats a number as bpftrace does: `512`, `2K`, `4M`, `1G`, where K is 1024.
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
    fn chart_has_a_row_for_each_power() {
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
    fn exact_sum_and_maximum_are_used() {
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
    fn merge_equals_adding_all_values() {
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
