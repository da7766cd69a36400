//! The kernel's counts of recorded and lost events.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::fcntl::OFlag;

use crate::dir::Dir;
use crate::error::Result;

/// Larger than the file of a CPU.
const SIZE: usize = 1024;

/// The counts of an instance's ring buffers, read on each call. This does not prevent the removal of the instance.
#[derive(Debug, Clone)]
pub struct BufferStats(Arc<Dir>);

impl BufferStats {
    pub(crate) fn new(instance: &Arc<Dir>) -> Self {
        Self(Arc::clone(instance))
    }

    /// The counts of one CPU.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn of_cpu(&self, cpu: u32) -> Result<CpuStats> {
        Ok(CpuStats::parse(&self.0.read(format!("per_cpu/cpu{cpu}/stats"))?))
    }

    /// Opens the counts of one CPU, to read them often. The instance cannot be removed while they are open.
    ///
    /// # Errors
    /// The kernel's file cannot be opened.
    pub fn open_cpu(&self, cpu: u32) -> Result<CpuStatsFile> {
        self.0.open_file(format!("per_cpu/cpu{cpu}/stats"), OFlag::O_RDONLY).map(CpuStatsFile)
    }

    /// The CPUs, in ascending order.
    ///
    /// # Errors
    /// The kernel's directory cannot be read.
    pub fn cpus(&self) -> Result<Vec<u32>> {
        let directories = self.0.directories_in("per_cpu")?;
        let cpus = directories.iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok());
        let mut cpus: Vec<u32> = cpus.collect();
        cpus.sort_unstable();
        Ok(cpus)
    }

    /// The counts of every CPU, in the order of the CPUs.
    ///
    /// # Errors
    /// A file of the kernel cannot be read.
    pub fn per_cpu(&self) -> Result<Vec<(u32, CpuStats)>> {
        self.cpus()?.into_iter().map(|cpu| Ok((cpu, self.of_cpu(cpu)?))).collect()
    }
}

/// The counts of one CPU, `per_cpu/cpuN/stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStats {
    entries: u64,
    read: u64,
    overrun: u64,
    dropped: u64,
}

/// The open file with the counts of one CPU.
#[derive(Debug)]
pub struct CpuStatsFile(File);

impl CpuStatsFile {
    /// The counts now. This waits for no lock of the kernel that starts and stops of sessions hold.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn read(&self) -> io::Result<CpuStats> {
        let mut text = [0; SIZE];
        let length = self.0.read_at(&mut text, 0)?;
        Ok(CpuStats::parse(&String::from_utf8_lossy(text.get(..length).unwrap_or_default())))
    }
}

impl CpuStats {
    /// Events that were read, by any process.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Events that the kernel recorded or tried to record.
    pub fn recorded(&self) -> u64 {
        self.entries + self.read + self.lost()
    }

    /// Events that were overwritten before they were read, or dropped.
    pub fn lost(&self) -> u64 {
        self.overrun + self.dropped
    }

    /// Reads lines of the form `name: value`.
    pub fn parse(text: &str) -> Self {
        let count = |wanted: &str| {
            let value =
                text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| *name == wanted);
            value.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            entries: count("entries"),
            read: count("read events"),
            overrun: count("overrun"),
            dropped: count("dropped events"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_overruns_and_dropped_events() {
        let text = "entries: 7\noverrun: 40\ncommit overrun: 5\nbytes: 300\noldest event ts:  1.0\n\
                    now ts:  2.0\ndropped events: 2\nread events: 9\n";
        let counts = CpuStats::parse(text);
        assert_eq!((counts.recorded(), counts.lost()), (58, 42));
        assert_eq!(CpuStats::parse("nonsense\noverrun: many\n"), CpuStats::default());
    }
}
