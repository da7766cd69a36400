//! The kernel's own counts of what it recorded.

use crate::dir::Dir;
use crate::error::Result;
use crate::instance::Instance;

/// The counts in a `per_cpu/cpuN/stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    entries: u64,
    read: u64,
    overrun: u64,
    dropped: u64,
}

impl Counts {
    /// Events that were recorded, or were to be.
    pub(crate) fn recorded(&self) -> u64 {
        self.entries + self.read + self.lost()
    }

    /// Events that were overwritten before they were read, or dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.overrun + self.dropped
    }

    /// Reads lines of the form `name: value`.
    fn parse(text: &str) -> Self {
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

/// The counts of one CPU.
pub(crate) fn of_cpu(instance: &Dir, cpu: u32) -> Result<Counts> {
    Ok(Counts::parse(&instance.read(format!("per_cpu/cpu{cpu}/stats"))?))
}

/// The counts of every CPU.
pub(crate) fn per_cpu(instance: &Instance) -> Result<Vec<(u32, Counts)>> {
    let mut counts = Vec::new();
    for directory in instance.dir.directories_in("per_cpu")? {
        if let Some(cpu) = directory.strip_prefix("cpu").and_then(|cpu| cpu.parse().ok()) {
            counts.push((cpu, of_cpu(&instance.dir, cpu)?));
        }
    }
    counts.sort_unstable_by_key(|(cpu, _)| *cpu);
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_overruns_and_dropped_events() {
        let text = "entries: 7\noverrun: 40\ncommit overrun: 5\nbytes: 300\noldest event ts:  1.0\n\
                    now ts:  2.0\ndropped events: 2\nread events: 9\n";
        let counts = Counts::parse(text);
        assert_eq!((counts.recorded(), counts.lost()), (58, 42));
        assert_eq!(Counts::parse("nonsense\noverrun: many\n"), Counts::default());
    }
}
