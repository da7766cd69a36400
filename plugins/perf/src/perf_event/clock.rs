//! Two clocks: that of the kernel's records, and that of lines.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use trace_hook_api::boot_time;

/// The clocks do not get further apart than they can be read, but while the machine sleeps.
const LEAST_SLEEP: u64 = 1_000_000;

/// The time of records: CLOCK_MONOTONIC, in nanoseconds. It stands still while the machine sleeps, but is the one that an
/// interrupt that cannot be masked may read.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| TimeSpec::new(0, 0));
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// How much the time of lines, which is [`boot_time`], is ahead of that of records.
#[derive(Debug, Clone, Copy)]
pub struct Ahead(u64);

impl Ahead {
    /// As it is now.
    pub fn measured() -> Self {
        Self(boot_time().saturating_sub(now()))
    }

    /// Takes account of a sleep, if there was one.
    pub fn update(&mut self) {
        let Self(measured) = Self::measured();
        if measured.abs_diff(self.0) >= LEAST_SLEEP {
            self.0 = measured;
        }
    }

    /// The time of a line about a record of this time.
    pub fn time_of_line(self, time_of_record: u64) -> u64 {
        time_of_record.saturating_add(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_get_the_time_of_lines_and_keep_their_order() {
        let mut ahead = Ahead::measured();
        let (before, record, after) = (boot_time(), now(), boot_time());
        assert!(ahead.time_of_line(record).abs_diff(before) < LEAST_SLEEP + (after - before));
        let first = ahead.time_of_line(record);
        ahead.update();
        assert_eq!(ahead.time_of_line(record), first);
        let mut before_sleep = Ahead(ahead.0 + 2 * LEAST_SLEEP);
        before_sleep.update();
        assert!(before_sleep.0.abs_diff(ahead.0) < LEAST_SLEEP);
    }
}
