//! Samples that the kernel does not take because there are too many (throttling).

use std::collections::HashMap;

/// The least time between two lines about a CPU, in nanoseconds. The kernel writes a record at each timer tick.
const MIN_INTERVAL: u64 = 1_000_000_000;

/// The setting that is the limit. The kernel lowers it by itself if samples take too long (`perf_cpu_time_max_percent`).
pub const LIMIT: &str = "kernel.perf_event_max_sample_rate";

/// Decides which throttle records get a line.
#[derive(Debug, Default)]
pub struct ThrottleReports {
    /// The time of the last line, by CPU.
    reported: HashMap<u32, u64>,
}

impl ThrottleReports {
    /// Whether a CPU took fewer samples than requested.
    pub fn are_any(&self) -> bool {
        !self.reported.is_empty()
    }

    /// Whether a line is due for a throttle record of this CPU and time, in nanoseconds.
    pub fn should_report(&mut self, cpu: u32, time: u64) -> bool {
        let is_due =
            self.reported.get(&cpu).is_none_or(|reported| time.saturating_sub(*reported) >= MIN_INTERVAL);
        if is_due {
            self.reported.insert(cpu, time);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_one_line_a_second() {
        let mut reports = ThrottleReports::default();
        let mut reported = |cpu, millis: u64| reports.should_report(cpu, millis * 1_000_000);
        assert!(reported(0, 5_000) && reported(1, 5_000));
        assert!(!reported(0, 5_004) && !reported(0, 5_999) && !reported(1, 5_004));
        assert!(reported(0, 6_000) && !reported(0, 6_004));
        assert!(reported(1, 9_000));
    }
}
