//! The counts of the programs: `struct distribution` in `bpf/latency.bpf.c`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use trace_ebpf::aya::Pod;
use trace_ebpf::aya::maps::{MapData, PerCpuHashMap};
use trace_hook_api::{Histogram, Result};
use trace_syscalls::Abi;

// As in `bpf/latency.bpf.c`.
const PARTS_LOG2: usize = 4;
const PARTS: usize = 1 << PARTS_LOG2;
const HIGHEST_POWER: usize = 43;
const BUCKETS: usize = (HIGHEST_POWER - PARTS_LOG2 + 2) * PARTS;
const COMPAT: u32 = 1 << 31;
/// The number under which the programs count all calls that do not exist.
const NO_CALL: u32 = 1023;

/// A system call of one of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub number: u32,
    pub is_compat: bool,
}

/// The durations of a call, on one CPU or on all.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durations {
    total: u64,
    max: u64,
    buckets: [u64; BUCKETS],
}

// SAFETY: plain integers without padding; all byte patterns are valid.
unsafe impl Pod for Durations {}

/// The durations of all calls.
///
/// Bounded: the programs count 1,024 system calls of each interface.
pub struct Counts(PerCpuHashMap<MapData, u32, Durations>);

impl Counts {
    /// The counts in this map of the programs.
    pub fn new(map: PerCpuHashMap<MapData, u32, Durations>) -> Self {
        Self(map)
    }

    /// Everything counted so far.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn read(&self) -> Result<BTreeMap<Call, Durations>> {
        let mut all = BTreeMap::new();
        for key in self.0.keys() {
            let key = key?;
            let by_cpu = self.0.get(&key, 0)?;
            let call = Call { number: key & !COMPAT, is_compat: key & COMPAT != 0 };
            all.insert(call, by_cpu.iter().fold(Durations::NONE, Durations::with));
        }
        Ok(all)
    }
}

impl Call {
    /// The name of the call: `none` for numbers that no call has, `call_471` for one that is newer than our tables.
    pub fn name(self) -> Cow<'static, str> {
        if self.number == NO_CALL {
            return "none".into();
        }
        let abi = if self.is_compat { Abi::Compat } else { Abi::Native };
        abi.name(self.number).map_or_else(|| format!("call_{}", self.number).into(), Cow::Borrowed)
    }
}

impl Durations {
    /// The durations of no call.
    pub const NONE: Self = Self { total: 0, max: 0, buckets: [0; BUCKETS] };

    fn with(mut self, more: &Self) -> Self {
        self.total += more.total;
        self.max = self.max.max(more.max);
        self.buckets.iter_mut().zip(more.buckets).for_each(|(bucket, more)| *bucket += more);
        self
    }

    /// The durations that were counted after `before` was read.
    pub fn since(mut self, before: &Self) -> Self {
        self.total -= before.total;
        self.buckets.iter_mut().zip(before.buckets).for_each(|(bucket, before)| *bucket -= before);
        if self.max == before.max {
            // The maximum is older; of the maximum since, only the bucket is known.
            let highest = self.buckets.iter().rposition(|count| *count > 0);
            self.max = highest.map_or(0, |bucket| least_of(bucket + 1) - 1).min(before.max);
        }
        self
    }

    /// The sum of all durations.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The durations as a histogram.
    pub fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (bucket, count) in self.buckets.iter().enumerate() {
            histogram.add_many(least_of(bucket), *count);
        }
        histogram.set_exactly(self.total.into(), self.max);
        histogram
    }
}

/// The least duration of a bucket.
fn least_of(bucket: usize) -> u64 {
    match bucket {
        ..PARTS => bucket as u64,
        _ => ((PARTS + bucket % PARTS) as u64) << (bucket / PARTS - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[u64]) -> Durations {
        let mut all = Durations::NONE;
        for duration in durations {
            let bucket = (0..BUCKETS).rfind(|bucket| least_of(*bucket) <= *duration).unwrap();
            all.buckets[bucket] += 1;
            all.total += duration;
            all.max = all.max.max(*duration);
        }
        all
    }

    #[test]
    fn calls_without_a_name_are_printed_by_number() {
        let name = |number, is_compat| Call { number, is_compat }.name();
        assert_eq!((name(5, true), name(1022, false)), ("open".into(), "call_1022".into()));
        assert_eq!(name(NO_CALL, true), "none");
    }

    #[test]
    fn classes_are_adjacent() {
        let bounds: Vec<u64> = (0..=BUCKETS).map(least_of).collect();
        assert!(bounds.is_sorted_by(|a, b| a < b));
        assert_eq!((bounds[16], bounds[31], bounds[32], bounds[48]), (16, 31, 32, 64));
        assert_eq!(bounds[BUCKETS], 1 << (HIGHEST_POWER + 1));
    }

    #[test]
    fn counts_of_an_interval_are_the_difference() {
        let before = of(&[100, 5_000_000]);
        let histogram = before.with(&of(&[200, 300])).since(&before).histogram();
        assert_eq!((histogram.count(), histogram.mean()), (2, 250));
        assert!(histogram.max().abs_diff(300) <= 300 / 16, "{}", histogram.max());
        let histogram = before.with(&of(&[6_000_001])).since(&before).histogram();
        assert_eq!((histogram.count(), histogram.max()), (1, 6_000_001));
        assert_eq!(before.since(&before), Durations { max: 0, ..Durations::NONE });
    }
}
