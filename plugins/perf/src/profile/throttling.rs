//! Samples that the kernel does not take, although they were asked for.

use std::collections::HashMap;

/// Nanoseconds between two lines that tell so of a CPU: the kernel does at each tick of its clock.
const BETWEEN_LINES: u64 = 1_000_000_000;

/// What sets the limit. The kernel lowers it by itself where samples take too long (`perf_cpu_time_max_percent`).
pub const LIMIT: &str = "kernel.perf_event_max_sample_rate";

/// Tells of it now and then, as long as it goes on.
#[derive(Debug, Default)]
pub struct Throttling {
    /// When it was told of a CPU.
    told: HashMap<u32, u64>,
}

impl Throttling {
    /// Whether to tell that the kernel throttled an event on this CPU at this time, in nanoseconds.
    pub fn is_to_tell(&mut self, cpu: u32, time: u64) -> bool {
        let is_due = self.told.get(&cpu).is_none_or(|told| time.saturating_sub(*told) >= BETWEEN_LINES);
        if is_due {
            self.told.insert(cpu, time);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_is_told_of_once_a_second() {
        let mut throttling = Throttling::default();
        let mut told = |cpu, millis: u64| throttling.is_to_tell(cpu, millis * 1_000_000);
        assert!(told(0, 5_000) && told(1, 5_000));
        assert!(!told(0, 5_004) && !told(0, 5_999) && !told(1, 5_004));
        assert!(told(0, 6_000) && !told(0, 6_004));
        assert!(told(1, 9_000));
    }
}
