//! The counts of the programs: `struct distribution` in `bpf/latency.bpf.c`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use trace_ebpf::aya::Pod;
use trace_ebpf::aya::maps::{MapData, MapError, PerCpuHashMap, Queue};
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
    errors: u64,
    buckets: [u64; BUCKETS],
}

// SAFETY: plain integers without padding; all byte patterns are valid.
unsafe impl Pod for Durations {}

/// A call that the programs could not count: `struct late_call`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LateCall {
    took: u64,
    number: u32,
    failed: u32,
}

// SAFETY: plain integers without padding; all byte patterns are valid.
unsafe impl Pod for LateCall {}

/// The durations of all calls.
///
/// Bounded: the programs count 1,024 system calls of each interface.
pub struct Counts {
    by_programs: PerCpuHashMap<MapData, u32, Durations>,
    late_calls: Queue<MapData, LateCall>,
    /// What was in the queue.
    late: BTreeMap<Call, Durations>,
}

impl Counts {
    /// The counts in these maps of the programs.
    pub fn new(
        by_programs: PerCpuHashMap<MapData, u32, Durations>,
        late_calls: Queue<MapData, LateCall>,
    ) -> Self {
        Self { by_programs, late_calls, late: BTreeMap::new() }
    }

    /// Everything counted so far.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn read(&mut self) -> Result<BTreeMap<Call, Durations>> {
        self.read_late_calls()?;
        let mut all = self.late.clone();
        for key in self.by_programs.keys() {
            let key = key?;
            let by_cpu = self.by_programs.get(&key, 0)?;
            let durations = all.entry(Call::of(key)).or_insert(Durations::NONE);
            *durations = by_cpu.iter().fold(*durations, Durations::with);
        }
        Ok(all)
    }

    fn read_late_calls(&mut self) -> Result<()> {
        loop {
            match self.late_calls.pop(0) {
                Ok(LateCall { took, number, failed }) => {
                    self.late.entry(Call::of(number)).or_insert(Durations::NONE).add(took, failed != 0);
                }
                Err(MapError::ElementNotFound) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Call {
    /// The call that the programs have given this key.
    fn of(key: u32) -> Self {
        Self { number: key & !COMPAT, is_compat: key & COMPAT != 0 }
    }

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
    pub const NONE: Self = Self { total: 0, max: 0, errors: 0, buckets: [0; BUCKETS] };

    fn add(&mut self, duration: u64, failed: bool) {
        self.total += duration;
        self.errors += u64::from(failed);
        self.max = self.max.max(duration);
        self.buckets[bucket_of(duration)] += 1;
    }

    fn with(mut self, more: &Self) -> Self {
        self.total += more.total;
        self.max = self.max.max(more.max);
        self.errors += more.errors;
        self.buckets.iter_mut().zip(more.buckets).for_each(|(bucket, more)| *bucket += more);
        self
    }

    /// The durations that were counted after `before` was read.
    pub fn since(mut self, before: &Self) -> Self {
        self.total -= before.total;
        self.errors -= before.errors;
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

    /// How many of the calls have failed.
    pub fn errors(&self) -> u64 {
        self.errors
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

/// The bucket of a duration: `class_of` in `bpf/latency.bpf.c`.
fn bucket_of(duration: u64) -> usize {
    let power = duration.checked_ilog2().unwrap_or(0) as usize;
    match power {
        0..PARTS_LOG2 => duration as usize,
        PARTS_LOG2..=HIGHEST_POWER => {
            (power - PARTS_LOG2 + 1) * PARTS + ((duration >> (power - PARTS_LOG2)) as usize & (PARTS - 1))
        }
        _ => BUCKETS - 1,
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
        durations.iter().for_each(|duration| all.add(*duration, duration % 2 == 1));
        all
    }

    #[test]
    fn each_duration_is_in_the_bucket_that_it_reaches() {
        for duration in (0..70).map(|power| 1_u64.checked_shl(power).unwrap_or(u64::MAX)).chain(0..5000) {
            let reached = (0..BUCKETS).rfind(|bucket| least_of(*bucket) <= duration);
            assert_eq!(Some(bucket_of(duration)), reached, "{duration}");
            let before = duration.saturating_sub(1);
            let reached = (0..BUCKETS).rfind(|bucket| least_of(*bucket) <= before);
            assert_eq!(Some(bucket_of(before)), reached, "{before}");
        }
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
        assert_eq!(before.with(&of(&[1, 2, 3])).since(&before).errors(), 2);
        assert_eq!(before.since(&before), Durations { max: 0, ..Durations::NONE });
    }
}
