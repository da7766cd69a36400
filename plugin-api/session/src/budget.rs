//! How much one read may do.

use std::time::{Duration, Instant};

/// The host expects a read to return within 20 ms. The rest is for the item that is being rendered, and for others that need
/// the CPU.
const TIME: Duration = Duration::from_millis(10);
/// Items that take less time than this limit allows are cheap ones.
const ITEMS: u32 = 1 << 14;
/// Between two looks at the clock there are at most so many items.
const MOST_BETWEEN_LOOKS: u32 = 64;

/// Limits a read by time and by number of items, whatever lines they make.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    began: Instant,
    items: u32,
    /// The number of items after which the clock is read again.
    next_look: u32,
}

impl ReadBudget {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), items: 0, next_look: 1 }
    }

    /// Counts one item. Returns whether there is time for another one.
    pub(crate) fn allows_another(&mut self) -> bool {
        self.items += 1;
        if self.items < self.next_look {
            return true;
        }
        let elapsed = self.began.elapsed();
        self.next_look = (self.items + self.until_next_look(elapsed)).min(ITEMS);
        self.items < ITEMS && elapsed < TIME
    }

    /// Half of the items for which there is time left, if they cost what those before did.
    fn until_next_look(&self, elapsed: Duration) -> u32 {
        let left = TIME.saturating_sub(elapsed).as_nanos();
        let items = u128::from(self.items) * left / elapsed.as_nanos().max(1) / 2;
        u32::try_from(items).unwrap_or(u32::MAX).clamp(1, MOST_BETWEEN_LOOKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_more_often_the_more_an_item_costs() {
        let budget = ReadBudget { began: Instant::now(), items: 1, next_look: 1 };
        assert_eq!(budget.until_next_look(Duration::from_micros(1)), MOST_BETWEEN_LOOKS);
        assert_eq!(budget.until_next_look(Duration::from_millis(1)), 4);
        assert_eq!(budget.until_next_look(Duration::from_millis(8)), 1);
        assert_eq!(budget.until_next_look(Duration::from_millis(80)), 1);
    }
}
