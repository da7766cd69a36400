//! One counter of one task.

use std::io;

use crate::perf_event::{Event, Reading};

/// An event, and what it had counted when it was last looked at.
#[derive(Debug)]
pub struct Counter {
    event: Event,
    last: Reading,
}

/// How much there was of something since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// What was counted, with an estimate of what was not.
    pub value: f64,
    /// For how long, in nanoseconds, there was something to count, and for how long of that it was counted.
    pub enabled: u64,
    pub running: u64,
}

impl Counter {
    pub fn of(event: Event) -> Self {
        Self { event, last: Reading::default() }
    }

    /// What has come since the last call.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn advance(&mut self) -> io::Result<Amount> {
        let now = self.event.read()?;
        let last = std::mem::replace(&mut self.last, now);
        let [value, enabled, running] = [
            now.value.saturating_sub(last.value),
            now.enabled.saturating_sub(last.enabled),
            now.running.saturating_sub(last.running),
        ];
        Ok(Amount { value: estimate(value, enabled, running), enabled, running })
    }

    /// Counts no more.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn stop(&self) -> io::Result<()> {
        self.event.disable()
    }
}

/// What would have been counted, had it been counted all the time.
fn estimate(value: u64, enabled: u64, running: u64) -> f64 {
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

    /// Less the value of another, which is part of this.
    pub fn subtract(&mut self, part: Self) {
        self.value -= part.value;
    }

    /// What share of the time was counted.
    pub fn share(self) -> f64 {
        if self.enabled == 0 { 1.0 } else { self.running.min(self.enabled) as f64 / self.enabled as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn what_was_counted_half_of_the_time_is_doubled() {
        assert_eq!(estimate(100, 50, 25), 200.0);
        assert_eq!(estimate(100, 50, 50), 100.0);
        assert_eq!(estimate(0, 50, 0), 0.0);
    }
}
