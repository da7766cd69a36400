//! The kernel's own counts of an instance's events.

use std::fs;
use std::path::Path;

use crate::error::{Explain, Result};

/// The sums over all CPUs.
#[derive(Default)]
pub struct Counts {
    /// The unread events.
    pub waiting: u64,
    pub read: u64,
    /// The events that were overwritten or dropped.
    pub lost: u64,
}

impl Counts {
    pub fn of(instance: &Path) -> Result<Self> {
        let mut counts = Self::default();
        let directory = instance.join("per_cpu");
        for cpu in fs::read_dir(&directory).explain(|| format!("cannot read {}", directory.display()))? {
            counts.add(&fs::read_to_string(cpu?.path().join("stats"))?);
        }
        Ok(counts)
    }

    /// Adds the counts of one CPU, in lines of the form `name: value`.
    fn add(&mut self, stats: &str) {
        for (name, count) in stats.lines().filter_map(|line| line.split_once(':')) {
            let sum = match name {
                "entries" => &mut self.waiting,
                "read events" => &mut self.read,
                "overrun" | "dropped events" => &mut self.lost,
                _ => continue,
            };
            *sum += count.trim().parse::<u64>().unwrap_or_default();
        }
    }
}
