//! From the clock of the kernel's records to that of lines.

use trace_hook_api::{boot_time, monotonic_time};

/// The clocks drift apart only while the machine is suspended. A smaller change is an inaccuracy of the measurement.
const MIN_SLEEP: u64 = 1_000_000;

/// How far [`boot_time`], the clock of lines, is ahead of [`monotonic_time`], the clock of records, in nanoseconds. The kernel
/// offers no other clock for records that it can read in a non-maskable interrupt.
#[derive(Debug, Clone, Copy)]
pub struct ClockOffset(u64);

impl ClockOffset {
    /// The offset as it is now.
    pub fn measure() -> Self {
        Self(boot_time().saturating_sub(monotonic_time()))
    }

    /// Measures again, in case that the machine was suspended.
    pub fn update(&mut self) {
        let Self(measured) = Self::measure();
        if measured.abs_diff(self.0) >= MIN_SLEEP {
            self.0 = measured;
        }
    }

    /// The time of a line about a record of this time.
    pub fn boot_time_of(self, record_time: u64) -> u64 {
        record_time.saturating_add(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_changes_only_after_a_suspend() {
        let mut clock_offset = ClockOffset::measure();
        let (before, record, after) = (boot_time(), monotonic_time(), boot_time());
        assert!(clock_offset.boot_time_of(record).abs_diff(before) < MIN_SLEEP + (after - before));
        let first = clock_offset.boot_time_of(record);
        clock_offset.update();
        assert_eq!(clock_offset.boot_time_of(record), first);
        let mut before_sleep = ClockOffset(clock_offset.0 + 2 * MIN_SLEEP);
        before_sleep.update();
        assert!(before_sleep.0.abs_diff(clock_offset.0) < MIN_SLEEP);
    }
}
