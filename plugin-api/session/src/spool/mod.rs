//! A queue for pages of kernel buffers, between the collector and a slow reader.
//!
//! The kernel's buffer holds some milliseconds of a busy task. So pages are moved here as soon as they are written, in binary
//! form: the first few mebibytes in memory, the rest in an unnamed temporary file. As text they would take four times the
//! space.
//!
//! The collector must never wait for the reader, which may not be scheduled. So entries are handed over in whole blocks, and
//! the lock is held only for the time of one handover.

mod block;
mod clock_reading;
mod disk;
mod queue;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use block::Entry;
pub use clock_reading::ClockReading;
use queue::Queue;
pub use reader::SpoolReader;

/// A queue of pages with a limited size.
///
/// One thread fills it while another one reads it through a [`SpoolReader`].
#[derive(Debug)]
pub struct Spool {
    queue: Mutex<Queue>,
}

impl Spool {
    /// A spool for up to `limit` bytes. Its file in `directory` is unnamed, so it is deleted when this process ends.
    pub fn new(directory: &Path, limit: u64) -> Self {
        Self { queue: Mutex::new(Queue::new(directory, limit)) }
    }

    /// Adds a page of `cpu` that holds `records` records; `lost` records were lost before it.
    ///
    /// Returns `false` if there is no room. The records of the page are then counted as refused.
    pub fn push_page(&self, cpu: u32, bytes: &[u8], records: u64, lost: u64) -> bool {
        self.queue().push_page(cpu, bytes, records, lost)
    }

    /// Counts records of `cpu` that were lost after its last page.
    pub fn lose(&self, cpu: u32, records: u64) {
        self.queue().lose(cpu, records);
    }

    /// Marks that all pages with records up to this time stamp have been added, or refused.
    pub fn push_settled(&self, stamp: u64) {
        self.queue().push_settled(stamp);
    }

    /// Adds a reading of the clock that the time stamps of the records around it come from.
    pub fn push_clock(&self, reading: ClockReading) {
        self.queue().push_clock(reading);
    }

    /// The number of records refused so far, by CPU.
    pub fn refused(&self) -> BTreeMap<u32, u64> {
        self.queue().refused().clone()
    }

    /// The CPUs of which records were refused since the last call. Readers can learn of it long before they reach the gap.
    pub fn take_losing(&self) -> BTreeSet<u32> {
        self.queue().take_losing()
    }

    /// Losses after the last page of each CPU, by CPU. Call it when no more pages are added.
    pub fn take_unreported_losses(&self) -> BTreeMap<u32, u64> {
        self.queue().take_unreported_losses()
    }

    /// The bytes in the queue, without the block that the reader has taken.
    pub fn size(&self) -> u64 {
        self.queue().size()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::queue::{BLOCK, MEMORY};
    use super::*;

    fn spool(directory: &Path, limit: u64) -> (Arc<Spool>, SpoolReader) {
        let spool = Arc::new(Spool::new(directory, limit));
        (Arc::clone(&spool), SpoolReader::new(spool))
    }

    fn page(number: u32, length: usize) -> Vec<u8> {
        (0..length).map(|at| (number as usize + at) as u8).collect()
    }

    fn clock(number: u32) -> ClockReading {
        let number = u64::from(number);
        ClockReading { stamp: number, earliest: u64::MAX - number, latest: u64::MAX }
    }

    #[test]
    fn entries_beyond_memory_come_out_unchanged_and_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, mut reader) = spool(directory.path(), 64 << 20);
        let pages = 12_000;
        for number in 0..pages {
            assert!(spool.push_page(number % 3, &page(number, 4080), 1, 0));
            spool.push_clock(clock(number));
            spool.push_settled(u64::from(number) + 1);
        }
        assert!(spool.size() > 5 * MEMORY as u64);
        for number in 0..pages {
            let expected = page(number, 4080);
            assert_eq!(
                reader.pop().expect("pop"),
                Some(Entry::Page { cpu: number % 3, bytes: &expected, lost: 0 })
            );
            assert_eq!(reader.pop().expect("pop"), Some(Entry::Clock(clock(number))));
            assert_eq!(reader.pop().expect("pop"), Some(Entry::Settled(u64::from(number) + 1)));
        }
        assert_eq!(reader.pop().expect("pop"), None);
        assert_eq!(spool.size(), 0);
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
    }

    #[test]
    fn refused_records_are_reported_with_the_next_page() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, mut reader) = spool(directory.path(), 10_000);
        assert!(spool.push_page(0, &page(0, 4000), 10, 0));
        assert!(spool.push_page(1, &page(1, 4000), 20, 0));
        assert!(!spool.push_page(0, &page(2, 4000), 30, 0));
        assert!(!spool.push_page(0, &page(3, 4000), 31, 0));
        assert!(!spool.push_page(1, &page(4, 4000), 40, 0));
        reader.pop().expect("pop");
        assert!(spool.push_page(0, &page(5, 4000), 50, 0));
        reader.pop().expect("pop");
        let expected = page(5, 4000);
        assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &expected, lost: 61 }));
        assert_eq!(spool.take_unreported_losses(), BTreeMap::from([(1, 40)]));
    }

    #[test]
    fn losing_cpus_are_known_at_once_and_their_losses_stay_in_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, mut reader) = spool(directory.path(), 10_000);
        assert!(spool.push_page(0, &page(0, 8000), 10, 0));
        assert_eq!(spool.take_losing(), BTreeSet::new());
        assert!(!spool.push_page(0, &page(1, 4000), 20, 5));
        assert_eq!(spool.take_losing(), BTreeSet::from([0]));
        assert_eq!(spool.take_losing(), BTreeSet::new());
        assert!(!spool.push_page(0, &page(1, 4000), 7, 0));
        assert_eq!(spool.take_losing(), BTreeSet::from([0]));
        reader.pop().expect("pop");
        assert!(spool.push_page(0, &page(2, 1000), 30, 0));
        let bytes = page(2, 1000);
        assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 32 }));
        assert_eq!(spool.refused(), BTreeMap::from([(0, 27)]));
    }

    #[test]
    fn without_a_file_the_size_is_that_of_the_memory() {
        let (spool, mut reader) = spool(Path::new("/nowhere"), 1 << 30);
        let taken = (0..10_000).filter(|number| spool.push_page(0, &page(*number, 4096), 1, 0)).count();
        assert!((MEMORY / 4200..=(MEMORY + 2 * BLOCK) / 4096).contains(&taken), "{taken}");
        for number in 0..taken {
            let expected = page(number as u32, 4096);
            assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &expected, lost: 0 }));
        }
        assert_eq!(spool.take_unreported_losses(), BTreeMap::from([(0, 10_000 - taken as u64)]));
    }

    #[test]
    fn earlier_losses_are_reported_with_the_page_or_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, mut reader) = spool(directory.path(), 5_000);
        let bytes = page(0, 4000);
        assert!(spool.push_page(0, &bytes, 10, 7));
        assert!(!spool.push_page(0, &bytes, 10, 3));
        assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 7 }));
        assert!(spool.push_page(0, &bytes, 10, 0));
        assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 13 }));
        assert!(spool.push_page(0, &bytes, 10, 0));
        assert_eq!(reader.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 0 }));
    }

    /// The unnamed file that is open in this directory.
    fn spool_file(directory: &Path) -> std::fs::File {
        let open = std::fs::read_dir("/proc/self/fd").expect("our descriptors").flatten();
        let is_it = |fd: &std::path::PathBuf| fd.read_link().is_ok_and(|path| path.starts_with(directory));
        let fd = open.map(|entry| entry.path()).find(is_it).expect("the spool's file");
        std::fs::File::options().write(true).open(fd).expect("our own file")
    }

    #[test]
    fn unreadable_blocks_are_counted_as_losses_in_their_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let (spool, mut reader) = spool(directory.path(), 64 << 20);
        let pages = 4000;
        for number in 0..pages {
            assert!(spool.push_page(number % 2, &page(number, 4080), 10, u64::from(number == 3000)));
        }
        spool_file(directory.path()).set_len(0).expect("truncated");
        let (mut pages_out, mut lost) = (0, BTreeMap::new());
        while let Some(entry) = reader.pop().expect("pop") {
            match entry {
                Entry::Unread { cpu, lost: more } => *lost.entry(cpu).or_default() += more,
                _ => pages_out += 1,
            }
        }
        assert!(pages_out * 4096 >= MEMORY && pages_out < pages as usize, "{pages_out}");
        let refused = spool.refused();
        assert_eq!(refused.values().sum::<u64>(), 10 * (u64::from(pages) - pages_out as u64));
        assert_eq!(lost, BTreeMap::from([(0, refused[&0] + 1), (1, refused[&1])]));
        assert_eq!(spool.size(), 0);
    }

    proptest! {
        /// For any sequence of pushes and pops, no record is lost without being counted.
        #[test]
        fn every_record_comes_out_or_is_counted(
            steps in prop::collection::vec((0u32..3, 0usize..5000, 0u64..100, 0usize..3), 0..300),
            limit in 0u64..100_000,
        ) {
            let directory = tempfile::tempdir().expect("a directory");
            let (spool, mut reader) = spool(directory.path(), limit);
            let (mut pushed, mut came, mut refused) = (0, VecDeque::new(), 0);
            let mut records_out = 0;
            for (cpu, length, records, pops) in steps {
                pushed += records;
                if spool.push_page(cpu, &page(cpu, length), records, 0) {
                    came.push_back((cpu, length, records));
                }
                prop_assert!(spool.size() <= limit);
                for _ in 0..pops {
                    match reader.pop().expect("pop") {
                        Some(Entry::Page { cpu, bytes, lost, .. }) => {
                            refused += lost;
                            let (expected, length, records) = came.pop_front().expect("one that went in");
                            prop_assert_eq!((cpu, bytes), (expected, &page(cpu, length)[..]));
                            records_out += records;
                        }
                        Some(Entry::Unread { .. } | Entry::Settled(_) | Entry::Clock(_)) | None => {}
                    }
                }
            }
            let waiting: u64 = came.iter().map(|(_, _, records)| records).sum();
            while let Some(entry) = reader.pop().expect("pop") {
                if let Entry::Page { lost, .. } = entry {
                    refused += lost;
                }
            }
            refused += spool.take_unreported_losses().values().sum::<u64>();
            prop_assert_eq!(pushed, records_out + waiting + refused);
        }
    }
}
