//! The counts of the programs' records: `bpf/losses.h`.

use std::collections::BTreeMap;

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use trace_hook_api::Result;

/// The counts of one CPU: `struct losses` in `bpf/losses.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordCounts {
    /// Records that were kept.
    pub kept: u64,
    /// Records that were lost.
    pub lost: u64,
    /// Lost records that a later record of the same CPU has reported.
    pub reported: u64,
    /// Forked processes that are not traced, because the map of processes was full.
    pub missed_children: u64,
}

// SAFETY: plain integers without padding; all byte patterns are valid.
unsafe impl Pod for RecordCounts {}

/// The counts of all CPUs.
pub struct Losses(PerCpuArray<MapData, RecordCounts>);

impl Losses {
    pub(crate) fn new(map: PerCpuArray<MapData, RecordCounts>) -> Self {
        Self(map)
    }

    /// The counts by CPU.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn by_cpu(&self) -> Result<BTreeMap<u32, RecordCounts>> {
        Ok((0..).zip(self.0.get(&0, 0)?.iter().copied()).collect())
    }

    /// Lost records by CPU. CPUs without losses are omitted.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn lost(&self) -> Result<BTreeMap<u32, u64>> {
        let counts = self.by_cpu()?.into_iter();
        Ok(counts.filter(|(_, counts)| counts.lost > 0).map(|(cpu, counts)| (cpu, counts.lost)).collect())
    }

    /// A sentence about forked processes that were not traced, if there are any: what they did is counted nowhere.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn missed_children(&self) -> Result<Option<String>> {
        Ok(missed_children(self.by_cpu()?.values()))
    }
}

fn missed_children<'a>(counts: impl Iterator<Item = &'a RecordCounts>) -> Option<String> {
    let missed: u64 = counts.map(|counts| counts.missed_children).sum();
    let text = || format!("{missed} forked processes were not traced: the map of traced processes was full");
    (missed > 0).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_children_of_all_cpus_are_one_warning() {
        let of = |missed_children| RecordCounts { missed_children, ..RecordCounts::default() };
        assert_eq!(missed_children([of(0), of(0)].iter()), None);
        let warning = missed_children([of(3), of(4)].iter());
        assert!(warning.is_some_and(|text| text.starts_with("7 forked processes were not traced")));
    }
}
