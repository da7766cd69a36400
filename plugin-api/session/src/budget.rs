//! How much one read may do.

use std::time::{Duration, Instant};

/// The host expects a read to return within 20 ms. The rest is for the item that is being rendered, and for others that need
/// the CPU.
const TIME: Duration = Duration::from_millis(10);
/// Items that take less time than this limit allows are cheap ones.
const ITEMS: u32 = 1 << 14;
/// The clock is read after this many items.
const ITEMS_BETWEEN_LOOKS: u32 = 8;

/// Limits a read by time and by number of items, whatever lines they make.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    began: Instant,
    items: u32,
}

impl ReadBudget {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), items: 0 }
    }

    /// Counts one item. Returns whether there is time for another one.
    pub(crate) fn allows_another(&mut self) -> bool {
        self.items += 1;
        self.items < ITEMS && (self.items % ITEMS_BETWEEN_LOOKS != 0 || self.began.elapsed() < TIME)
    }
}
