use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much memory the symbols of all files together may take.
///
/// The files of traced programs can claim to have any number of symbols, and there can be hundreds of files.
#[derive(Debug)]
pub struct MemoryBudget {
    left: AtomicU64,
}

/// A part of a [`MemoryBudget`] that is in use until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of this many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    /// Reserves memory. One reservation gets half of what is left at most, so that something is left for others: `None`, if
    /// it needs more.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }
}

impl Reservation {
    /// Reserves more, under the same rule. Returns whether it could.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let less = |left: u64| (bytes <= left / 2).then(|| left - bytes);
        let is_granted = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        self.bytes += if is_granted { bytes } else { 0 };
        is_granted
    }

    /// Gives back what is not needed.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let unused = self.bytes.saturating_sub(bytes);
        self.bytes -= unused;
        self.budget.left.fetch_add(unused, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_takes_no_more_than_half_of_what_is_left() {
        let budget = MemoryBudget::new(100);
        assert!(budget.reserve(51).is_none());
        let mut first = budget.reserve(50).unwrap();
        assert!(budget.reserve(26).is_none());
        first.shrink_to(10);
        first.shrink_to(20);
        let mut second = budget.reserve(45).unwrap();
        assert!(budget.reserve(23).is_none() && !second.grow(23) && second.grow(22));
        drop((first, second));
        assert!(budget.reserve(50).is_some());
    }
}
