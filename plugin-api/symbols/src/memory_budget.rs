use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much memory the symbols of all files together may take.
///
/// The files of traced programs can claim to have any number of symbols, and there can be hundreds of files.
#[derive(Debug)]
pub struct MemoryBudget {
    left: AtomicU64,
    disk: Option<Disk>,
    decompression: Mutex<()>,
}

/// Where names are kept instead of in memory.
#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    budget: Arc<MemoryBudget>,
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
        Arc::new(Self::of(bytes, None))
    }

    /// A budget of this many bytes, beside which unnamed files in a directory hold up to `on_disk` bytes of names. Where such a file
    /// cannot be written, the names take memory.
    pub fn with_disk(bytes: u64, directory: &Path, on_disk: u64) -> Arc<Self> {
        let disk = Disk { directory: directory.to_owned(), budget: Self::new(on_disk) };
        Arc::new(Self::of(bytes, Some(disk)))
    }

    fn of(bytes: u64, disk: Option<Disk>) -> Self {
        Self { left: AtomicU64::new(bytes), disk, decompression: Mutex::default() }
    }

    /// Reserves memory. One reservation gets half of what is left at most, so that something is left for others: `None`, if
    /// it needs more.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }

    /// An empty file on disk with room for this many bytes, if there is to be one.
    pub(crate) fn file(&self, bytes: u64) -> Option<io::Result<(File, Reservation)>> {
        let disk = self.disk.as_ref()?;
        let reservation = disk.budget.reserve(bytes)?;
        Some(tempfile::tempfile_in(&disk.directory).map(|file| (file, reservation)))
    }

    /// Waits until no other file is being decompressed, which takes memory that is not reserved.
    pub(crate) fn decompression(&self) -> MutexGuard<'_, ()> {
        self.decompression.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn files_have_a_budget_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let budget = MemoryBudget::with_disk(100, directory.path(), 1000);
        let (_file, reservation) = budget.file(500).unwrap().unwrap();
        assert!(budget.file(500).is_none() && budget.reserve(50).is_some());
        drop(reservation);
        assert!(budget.file(500).is_some() && MemoryBudget::new(100).file(1).is_none());
        assert!(MemoryBudget::with_disk(1, Path::new("/nonexistent"), 10).file(1).unwrap().is_err());
    }
}
