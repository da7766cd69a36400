//! The current time, by the clock of the records.

use std::time::{Duration, Instant};

/// The clock of the records. Only a record gives its time; between two records, the elapsed time is added.
#[derive(Debug, Default)]
pub struct Clock {
    /// The time of the latest record since the clock was last read.
    record: Option<u64>,
    /// When the clock was last read, and its time then.
    read: Option<(Instant, u64)>,
}

impl Clock {
    /// Sets the clock by the time of a record.
    pub fn record(&mut self, stamp: u64) {
        self.record = Some(stamp);
    }

    /// The current time, or a little earlier: a record is seen some time after it was made. `None` before the first record.
    pub fn now(&mut self) -> Option<u64> {
        if let Some(stamp) = self.record.take() {
            self.read = Some((Instant::now(), stamp));
        }
        let (at, stamp) = self.read?;
        let since = u64::try_from(at.elapsed().as_nanos()).ok()?;
        stamp.checked_add(since)
    }
}

/// A periodic deadline, by that clock.
#[derive(Debug)]
pub struct Interval {
    every: u64,
    due: Option<u64>,
}

impl Interval {
    /// The first interval begins with the first call of [`passes`](Self::passes).
    pub fn new(every: Duration) -> Self {
        Self { every: u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1), due: None }
    }

    /// Returns the deadline, if it has passed at the time `now`. After a long pause, only the first one that passed.
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
    fn deadlines_stay_in_phase_after_a_pause() {
        let mut interval = Interval::new(Duration::from_nanos(100));
        let due = [1000, 1099, 1100, 1150, 1530, 1599, 1600].map(|now| interval.passes(now));
        assert_eq!(due, [None, None, Some(1100), None, Some(1200), None, Some(1600)]);
    }
}
