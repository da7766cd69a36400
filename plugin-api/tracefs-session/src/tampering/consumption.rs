//! Whether another process reads or empties the ring buffer.
//!
//! The kernel counts the records that were read, by any process, and the collector counts those that it has read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracefs::{CpuStats, CpuStatsFile, Instance};

use super::{FilterTrust, Notices};
use crate::buffer_number;

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What another process did to the events of processes that join cgroups.
const JOINS_READ: &str = "read or emptied the ring buffer of a tracing instance of this session, which records the processes that \
    join the cgroups; those that ended soon may be missing, and not counted";

/// Compares what the kernel counts as read with what was collected. Used by the collector, between two of its reads.
#[derive(Debug)]
pub(crate) struct Consumption {
    buffers: BTreeMap<u32, Buffer>,
    looked: Instant,
    looked_at: SystemTime,
    corrections: Corrections,
    notices: Notices,
    trust: FilterTrust,
    is_of_joins: bool,
}

/// What other processes did to one buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    pub buffer: u32,
    /// The records that they read.
    pub taken: u64,
    /// They have emptied it: the kernel has begun to count anew.
    pub emptied: bool,
}

/// How the kernel's counts have to be corrected, by buffer number; shared with the thread that reports counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Corrections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    buffers: Mutex<BTreeMap<u32, Correction>>,
    collected: AtomicU64,
}

/// What has to be added to the kernel's counts of one buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Correction {
    pub recorded: i64,
    pub lost: u64,
}

#[derive(Debug)]
struct Buffer {
    stats: CpuStatsFile,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    collected: u64,
    /// How much more the kernel has counted as read than was collected.
    surplus: i64,
    taken: u64,
    /// The records that the kernel counts as lost.
    lost: u64,
    /// Those that it counted before the buffer was emptied.
    lost_before: u64,
    /// Damaged pages are not counted exactly.
    is_inexact: bool,
}

impl Consumption {
    /// The buffers of an instance, and optionally a second one, from which nothing has been read yet.
    pub fn of(instance: &Instance, second: Option<&Instance>, notices: Notices, trust: FilterTrust) -> Self {
        let numbers: [fn(u32) -> u32; 2] = [|cpu| cpu, buffer_number::in_second];
        let mut buffers = BTreeMap::new();
        for (instance, number) in [Some(instance), second].into_iter().flatten().zip(numbers) {
            let stats = instance.buffer_stats();
            for cpu in stats.cpus().unwrap_or_default() {
                // Without a descriptor for it, the buffer is not watched.
                if let Ok(stats) = stats.open_cpu(cpu) {
                    buffers.insert(number(cpu), Buffer { stats, counts: Counts::default() });
                }
            }
        }
        let (looked, looked_at) = (Instant::now(), SystemTime::now());
        let corrections = Corrections::default();
        Self { buffers, looked, looked_at, corrections, notices, trust, is_of_joins: false }
    }

    /// The buffers of the instance that records the processes that join cgroups.
    pub fn of_joins(instance: &Instance, notices: Notices) -> Self {
        Self { is_of_joins: true, ..Self::of(instance, None, notices, FilterTrust::default()) }
    }

    pub fn corrections(&self) -> Corrections {
        self.corrections.clone()
    }

    /// A page was read.
    pub fn collected(&mut self, buffer: u32, records: u64, is_damaged: bool) {
        if let Some(Buffer { counts, .. }) = self.buffers.get_mut(&buffer) {
            counts.collected += records;
            counts.is_inexact |= is_damaged;
        }
        self.corrections.0.collected.fetch_add(records, Ordering::Relaxed);
    }

    pub fn is_due(&self) -> bool {
        self.looked.elapsed() >= LOOK
    }

    /// What other processes have done since the last call.
    pub fn look(&mut self) -> Vec<Finding> {
        let since = std::mem::replace(&mut self.looked_at, SystemTime::now());
        self.looked = Instant::now();
        let mut findings = Vec::new();
        for (&buffer, Buffer { stats, counts }) in &mut self.buffers {
            let Ok(stats) = stats.read() else { continue };
            let finding = Finding { buffer, ..counts.compare(&stats) };
            if finding.taken > 0 || finding.emptied {
                findings.push(finding);
                self.corrections.set(buffer, counts.correction());
            }
        }
        self.report(&findings, since);
        findings
    }

    fn report(&self, findings: &[Finding], since: SystemTime) {
        let taken: u64 = findings.iter().map(|finding| finding.taken).sum();
        if self.is_of_joins {
            if !findings.is_empty() {
                self.notices.note("joins read", since, JOINS_READ);
            }
            return;
        }
        if taken > 0 {
            self.trust.miss_starts();
            let what = "read events of this session from the ring buffer of its tracing instance (trace_pipe, for example)";
            self.notices.note_taken("read", since, what, taken);
        }
        if findings.iter().any(|finding| finding.emptied) {
            self.trust.miss_starts();
            let what = "emptied the ring buffer of this session's tracing instance; the events in it are missing, and not counted";
            self.notices.note("emptied", since, what);
        }
    }
}

impl Counts {
    fn compare(&mut self, stats: &CpuStats) -> Finding {
        let lost = stats.lost();
        let surplus = i64::try_from(stats.read()).unwrap_or(0) - i64::try_from(self.collected).unwrap_or(0);
        let mut finding = Finding::default();
        if self.is_inexact {
            return finding;
        }
        if surplus < self.surplus || lost < self.lost {
            self.lost_before += self.lost;
            finding.emptied = true;
        } else {
            finding.taken = surplus.abs_diff(self.surplus);
            self.taken += finding.taken;
        }
        self.lost = lost;
        self.surplus = surplus;
        finding
    }

    fn correction(&self) -> Correction {
        let lost = self.lost_before + self.taken;
        let recorded = i64::try_from(lost).unwrap_or(0) - self.surplus;
        Correction { recorded, lost }
    }
}

impl Corrections {
    /// What has to be added to the counts of this buffer.
    pub fn of(&self, buffer: u32) -> Correction {
        let buffers = self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.get(&buffer).copied().unwrap_or_default()
    }

    /// How many records have been collected.
    pub fn collected(&self) -> u64 {
        self.0.collected.load(Ordering::Relaxed)
    }

    fn set(&self, buffer: u32, correction: Correction) {
        self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner).insert(buffer, correction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(entries: u64, read: u64, overrun: u64) -> CpuStats {
        CpuStats::parse(&format!("entries: {entries}\noverrun: {overrun}\nread events: {read}\n"))
    }

    /// The recorded and the lost events after correction.
    fn corrected(counts: &Counts, stats: &CpuStats) -> (u64, u64) {
        let Correction { recorded, lost } = counts.correction();
        (stats.recorded().saturating_add_signed(recorded), stats.lost() + lost)
    }

    #[test]
    fn a_buffer_that_only_the_session_reads_needs_no_correction() {
        let mut counts = Counts { collected: 7, ..Counts::default() };
        assert_eq!(counts.compare(&stats(3, 7, 5)), Finding::default());
        assert_eq!(corrected(&counts, &stats(3, 7, 5)), (15, 5));
    }

    #[test]
    fn records_that_others_read_are_lost() {
        let mut counts = Counts { collected: 7, ..Counts::default() };
        assert_eq!(counts.compare(&stats(0, 10, 0)).taken, 3);
        assert_eq!(corrected(&counts, &stats(0, 10, 0)), (10, 3));
        counts.collected += 5;
        assert_eq!(counts.compare(&stats(0, 15, 0)), Finding::default(), "reported once");
        assert_eq!(counts.compare(&stats(0, 16, 0)).taken, 1);
        assert_eq!(corrected(&counts, &stats(0, 16, 0)), (16, 4));
    }

    #[test]
    fn counts_go_on_when_the_buffer_is_emptied() {
        let mut counts = Counts { collected: 7, ..Counts::default() };
        counts.compare(&stats(0, 7, 2));
        counts.collected += 5;
        assert!(counts.compare(&stats(1, 4, 1)).emptied);
        // 12 collected, 2 lost before and 1 after, 1 not collected yet.
        assert_eq!(corrected(&counts, &stats(1, 4, 1)), (16, 3));
        counts.collected += 1;
        assert_eq!(counts.compare(&stats(0, 5, 1)), Finding::default());
        assert_eq!(corrected(&counts, &stats(0, 5, 1)), (16, 3));
    }

    #[test]
    fn damaged_pages_are_no_proof() {
        let mut counts = Counts { collected: 7, is_inexact: true, ..Counts::default() };
        assert_eq!(counts.compare(&stats(0, 90, 0)), Finding::default());
    }
}
