//! What the time is, on the clock of the records.

use std::time::Instant;

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
