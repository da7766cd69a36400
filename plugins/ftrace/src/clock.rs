//! What the time is, on the clock of the records.

use std::time::{Duration, Instant};

/// The clock of the records, which only they can be read from. In between, it is reckoned.
#[derive(Debug, Default)]
pub struct Clock {
    /// The latest record that was seen since the clock was last read.
    record: Option<u64>,
    /// When the clock was read, and what it said.
    read: Option<(Instant, u64)>,
}

impl Clock {
    /// There was a record at this time.
    pub fn record(&mut self, stamp: u64) {
        self.record = Some(stamp);
    }

    /// The time, a little late rather than early; none before the first record.
    pub fn now(&mut self) -> Option<u64> {
        if let Some(stamp) = self.record.take() {
            self.read = Some((Instant::now(), stamp));
        }
        let (at, stamp) = self.read?;
        let since = u64::try_from(at.elapsed().as_nanos()).ok()?;
        stamp.checked_add(since)
    }
}

/// What is to be done every so often, by that clock.
#[derive(Debug)]
pub struct Interval {
    every: u64,
    due: Option<u64>,
}

impl Interval {
    /// From the first look at the time on.
    pub fn new(every: Duration) -> Self {
        Self { every: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1), due: None }
    }

    /// It is `now`. When it was due, if it is due or overdue; after a long silence just once.
    pub fn passes(&mut self, now: u64) -> Option<u64> {
        let due = *self.due.get_or_insert(now.saturating_add(self.every));
        if now < due {
            return None;
        }
        self.due = Some((due + (now - due) / self.every * self.every).saturating_add(self.every));
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_keeps_its_beat_over_a_silence() {
        let mut interval = Interval::new(Duration::from_nanos(100));
        let due = [1000, 1099, 1100, 1150, 1530, 1599, 1600].map(|now| interval.passes(now));
        assert_eq!(due, [None, None, Some(1100), None, Some(1200), None, Some(1600)]);
    }
}
