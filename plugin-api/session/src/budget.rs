//! The limits of one read.

use std::time::{Duration, Instant};

/// The host expects a read to return within 20 ms. The remaining time is a reserve for the last item and for other tasks on the
/// CPU.
const TIME: Duration = Duration::from_millis(10);
/// Cheap items reach this limit before the limit of time.
const ITEMS: u32 = 1 << 14;
/// The clock is read at least once for this many items.
const MAX_ITEMS_PER_CHECK: u32 = 64;

/// Limits a read by time and by number of items, independent of the lines that the items produce.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    began: Instant,
    items: u32,
    /// The number of items after which the clock is read again.
    next_check: u32,
}

impl ReadBudget {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), items: 0, next_check: 1 }
    }

    /// Counts one item. Returns whether there is time for another one.
    pub(crate) fn allows_another(&mut self) -> bool {
        self.items += 1;
        if self.items < self.next_check {
            return true;
        }
        let elapsed = self.began.elapsed();
        self.next_check = (self.items + self.items_until_check(elapsed)).min(ITEMS);
        self.items < ITEMS && elapsed < TIME
    }

    /// Half of the items for which time is left, at the cost of the items so far.
    fn items_until_check(&self, elapsed: Duration) -> u32 {
        let left = TIME.saturating_sub(elapsed).as_nanos();
        let items = u128::from(self.items) * left / elapsed.as_nanos().max(1) / 2;
        u32::try_from(items).unwrap_or(u32::MAX).clamp(1, MAX_ITEMS_PER_CHECK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_more_often_the_more_an_item_costs() {
        let budget = ReadBudget { began: Instant::now(), items: 1, next_check: 1 };
        assert_eq!(budget.items_until_check(Duration::from_micros(1)), MAX_ITEMS_PER_CHECK);
        assert_eq!(budget.items_until_check(Duration::from_millis(1)), 4);
        assert_eq!(budget.items_until_check(Duration::from_millis(8)), 1);
        assert_eq!(budget.items_until_check(Duration::from_millis(80)), 1);
    }
}
