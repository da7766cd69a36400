//! What became of the programs' records: `bpf/losses.h`.

use std::collections::BTreeMap;

use aya::Pod;
use aya::maps::{MapData, PerCpuArray};
use trace_hook_api::{Result, log};

/// The counts of one CPU, as the programs keep them.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub kept: u64,
    pub lost: u64,
    /// Those of the lost that a record has told of.
    pub told: u64,
    /// Processes that are not traced for want of room.
    pub missed_children: u64,
}

// SAFETY: plain numbers without padding; any bytes are a value.
unsafe impl Pod for Counts {}

/// The counts of all CPUs.
pub struct Losses(PerCpuArray<MapData, Counts>);

impl Losses {
    /// The counts in this map of the programs.
    pub fn new(map: PerCpuArray<MapData, Counts>) -> Self {
        Self(map)
    }

    /// The counts by CPU.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn by_cpu(&self) -> Result<BTreeMap<u32, Counts>> {
        Ok((0..).zip(self.0.get(&0, 0)?.iter().copied()).collect())
    }

    /// Tells the log of processes that are not traced, if there are any: what they did, nobody counts.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn warn_of_missed_children(&self) -> Result<()> {
        let missed: u64 = self.by_cpu()?.values().map(|counts| counts.missed_children).sum();
        if missed > 0 {
            log::warn!("{missed} forked processes found no room and were not traced");
        }
        Ok(())
    }

    /// What is lost, by CPU. CPUs without losses are left out.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn lost(&self) -> Result<BTreeMap<u32, u64>> {
        let counts = self.by_cpu()?.into_iter();
        Ok(counts.filter(|(_, counts)| counts.lost > 0).map(|(cpu, counts)| (cpu, counts.lost)).collect())
    }
}
