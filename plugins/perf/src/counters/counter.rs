//! One counter of one task.

use std::io;

use crate::perf_event::{Event, Reading};

/// An event, and what it had counted when it was last read.
#[derive(Debug)]
pub struct Counter {
    event: Event,
    last: Reading,
}

/// What was counted between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// The count, scaled to the time in which the counter was enabled.
    pub value: f64,
    /// How long the counter was enabled, and how long of that it was counting, in nanoseconds.
    pub enabled: u64,
    pub running: u64,
}

impl Counter {
    pub fn of(event: Event) -> Self {
        Self { event, last: Reading::default() }
    }

    /// What was counted since the last call.
    ///
    /// # Errors
    ///
    /// The event cannot be read.
    pub fn advance(&mut self) -> io::Result<Amount> {
        let now = self.event.read()?;
        let last = std::mem::replace(&mut self.last, now);
        let [value, enabled, running] = [
            now.value.saturating_sub(last.value),
            now.enabled.saturating_sub(last.enabled),
            now.running.saturating_sub(last.running),
        ];
        Ok(Amount { value: scaled(value, enabled, running), enabled, running })
    }

    /// Stops counting.
    ///
    /// # Errors
    ///
    /// The event cannot be disabled.
    pub fn stop(&self) -> io::Result<()> {
        self.event.disable()
    }
}

/// Scales a count to all of the time in which the counter was enabled.
fn scaled(value: u64, enabled: u64, running: u64) -> f64 {
    match running {
        0 => value as f64,
        _ if running >= enabled => value as f64,
        _ => value as f64 * enabled as f64 / running as f64,
    }
}

impl Amount {
    pub fn add(&mut self, other: Self) {
        self.value += other.value;
        self.enabled += other.enabled;
        self.running += other.running;
    }

    /// Subtracts the count of a part of the same tasks.
    pub fn subtract(&mut self, part: Self) {
        self.value -= part.value;
    }

    /// The share of the enabled time in which the counter was counting.
    pub fn share(self) -> f64 {
        if self.enabled == 0 { 1.0 } else { self.running.min(self.enabled) as f64 / self.enabled as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn a_count_of_half_the_time_is_doubled() {
        assert_eq!(scaled(100, 50, 25), 200.0);
        assert_eq!(scaled(100, 50, 50), 100.0);
        assert_eq!(scaled(0, 50, 0), 0.0);
    }
}
