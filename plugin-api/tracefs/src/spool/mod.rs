//! Pages of the ring buffer on their way from the kernel to a slow reader.
//!
//! The kernel's buffer holds some milliseconds of a busy task. So pages are taken off it as fast as they come, and wait
//! here, binary as they are: the first few mebibytes in memory, the rest in a temporary file without a name. Made text
//! they would need four times the room.

mod disk;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use disk::DiskQueue;

/// How much is kept in memory before the file is used.
const MEMORY: usize = 8 << 20;
/// How much is moved between memory and file at a time.
const CHUNK: usize = 256 << 10;

/// A queue of pages and of what is known about them. It never takes more than its limit.
#[derive(Debug)]
pub struct Spool {
    /// The oldest entries.
    front: VecDeque<u8>,
    /// The entries after those.
    disk: DiskQueue,
    /// The newest entries, which will go to the file together.
    tail: Vec<u8>,
    limit: u64,
    /// Records that found no room, by CPU.
    refused: BTreeMap<u32, u64>,
    /// Records that were lost, here or before, by CPU: to be told with the CPU's next page.
    untold: BTreeMap<u32, u64>,
    settled: u64,
    entry: Vec<u8>,
}

/// What comes out of a spool, in the order in which it went in.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A page of this CPU.
    Page {
        /// The CPU.
        cpu: u32,
        /// The page.
        bytes: &'a [u8],
        /// How many records of this CPU were lost between its page before and this one.
        lost: u64,
    },
    /// All pages with records up to this time stamp have come out.
    Settled(u64),
}

/// Before each page: the CPU and the length, both `u32`, and what was lost before it, a `u64`.
///
/// Instead of the CPU, this number says that there is no page, but a settled time stamp in the place of the last.
const SETTLED: u32 = u32::MAX;
const HEADER: usize = 16;

impl Spool {
    /// A spool for up to `limit` bytes. What goes to disk, goes to a file in `directory` that has no name and so
    /// vanishes with this process.
    pub fn new(directory: &Path, limit: u64) -> Self {
        Self {
            front: VecDeque::new(),
            disk: DiskQueue::new(directory, limit),
            tail: Vec::new(),
            limit,
            refused: BTreeMap::new(),
            untold: BTreeMap::new(),
            settled: 0,
            entry: Vec::new(),
        }
    }

    /// Adds a page of this CPU with so many records, before which so many were lost already.
    ///
    /// `false`: there was no room, and its records are counted as refused.
    pub fn push_page(&mut self, cpu: u32, bytes: &[u8], records: u64, lost: u64) -> bool {
        self.lose(cpu, lost);
        if !self.has_room(HEADER + bytes.len()) {
            *self.refused.entry(cpu).or_default() += records;
            *self.untold.entry(cpu).or_default() += records;
            return false;
        }
        let lost = self.untold.remove(&cpu).unwrap_or(0);
        self.push(cpu, lost, bytes);
        true
    }

    /// Says that so many records of this CPU were lost after its last page.
    pub fn lose(&mut self, cpu: u32, records: u64) {
        if records > 0 {
            *self.untold.entry(cpu).or_default() += records;
        }
    }

    /// Says that all pages with records up to this time stamp have been added, or refused.
    pub fn push_settled(&mut self, stamp: u64) {
        // Where there is no room, the next one says it as well.
        if stamp > self.settled && self.has_room(HEADER) {
            self.settled = stamp;
            self.push(SETTLED, stamp, &[]);
        }
    }

    /// How many records found no room so far, by CPU.
    pub fn refused(&self) -> &BTreeMap<u32, u64> {
        &self.refused
    }

    /// What was lost after the last page of each CPU: to be asked for once nothing is added any more.
    pub fn take_untold(&mut self) -> BTreeMap<u32, u64> {
        std::mem::take(&mut self.untold)
    }

    /// The oldest entry.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be read. What was in it is gone.
    pub fn pop(&mut self) -> io::Result<Option<Entry<'_>>> {
        if !self.fill_front(HEADER)? {
            return Ok(None);
        }
        let header: [u8; HEADER] = std::array::from_fn(|at| self.front[at]);
        let [cpu, length] =
            [0, 4].map(|at| u32::from_ne_bytes(std::array::from_fn(|byte| header[at + byte])));
        let number = u64::from_ne_bytes(std::array::from_fn(|byte| header[8 + byte]));
        let length = length as usize;
        if !self.fill_front(HEADER + length)? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool ends within an entry"));
        }
        self.front.drain(..HEADER);
        self.entry.clear();
        self.entry.extend(self.front.drain(..length));
        Ok(Some(match cpu {
            SETTLED => Entry::Settled(number),
            cpu => Entry::Page { cpu, bytes: &self.entry, lost: number },
        }))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// How many bytes wait.
    pub fn size(&self) -> u64 {
        self.front.len() as u64 + self.disk.len() + self.tail.len() as u64
    }

    fn has_room(&self, needed: usize) -> bool {
        self.size() + needed as u64 <= self.limit && !self.disk.is_broken()
    }

    fn push(&mut self, cpu: u32, number: u64, bytes: &[u8]) {
        let length = bytes.len() as u32;
        let parts = [&cpu.to_ne_bytes()[..], &length.to_ne_bytes(), &number.to_ne_bytes(), bytes];
        let behind_front = self.disk.len() > 0 || !self.tail.is_empty();
        if !behind_front && self.front.len() < MEMORY {
            parts.iter().for_each(|part| self.front.extend(*part));
            return;
        }
        parts.iter().for_each(|part| self.tail.extend_from_slice(part));
        // A disk that is full, or broken, makes the spool full: the tail stays here until it is taken.
        if self.tail.len() >= CHUNK && self.disk.push(&self.tail) {
            self.tail.clear();
        }
    }

    /// Makes sure that so many bytes are in front, if there are as many.
    fn fill_front(&mut self, wanted: usize) -> io::Result<bool> {
        while self.front.len() < wanted {
            if self.disk.len() > 0 {
                self.disk.pop_into(&mut self.front, CHUNK)?;
            } else if !self.tail.is_empty() {
                self.front.extend(self.tail.drain(..));
                self.disk.try_again();
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(number: u32, length: usize) -> Vec<u8> {
        (0..length).map(|at| (number as usize + at) as u8).collect()
    }

    #[test]
    fn far_more_than_memory_comes_out_as_it_went_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(directory.path(), 64 << 20);
        let pages = 12_000;
        for number in 0..pages {
            assert!(spool.push_page(number % 3, &page(number, 4080), 1, 0));
            spool.push_settled(u64::from(number) + 1);
        }
        assert!(spool.size() > 5 * MEMORY as u64);
        for number in 0..pages {
            let expected = page(number, 4080);
            assert_eq!(
                spool.pop().expect("pop"),
                Some(Entry::Page { cpu: number % 3, bytes: &expected, lost: 0 })
            );
            assert_eq!(spool.pop().expect("pop"), Some(Entry::Settled(u64::from(number) + 1)));
        }
        assert_eq!(spool.pop().expect("pop"), None);
        assert!(spool.is_empty());
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_where_it_is_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(directory.path(), 10_000);
        assert!(spool.push_page(0, &page(0, 4000), 10, 0));
        assert!(spool.push_page(1, &page(1, 4000), 20, 0));
        assert!(!spool.push_page(0, &page(2, 4000), 30, 0));
        assert!(!spool.push_page(0, &page(3, 4000), 31, 0));
        assert!(!spool.push_page(1, &page(4, 4000), 40, 0));
        spool.pop().expect("pop");
        assert!(spool.push_page(0, &page(5, 4000), 50, 0));
        spool.pop().expect("pop");
        let expected = page(5, 4000);
        assert_eq!(spool.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &expected, lost: 61 }));
        assert_eq!(spool.take_untold(), BTreeMap::from([(1, 40)]));
    }

    #[test]
    fn without_a_disk_it_is_as_large_as_its_memory() {
        let mut spool = Spool::new(Path::new("/nowhere"), 1 << 30);
        let taken = (0..10_000).filter(|number| spool.push_page(0, &page(*number, 4096), 1, 0)).count();
        assert!((MEMORY / 4200..=(MEMORY + 2 * CHUNK) / 4096).contains(&taken), "{taken}");
        for number in 0..taken {
            let expected = page(number as u32, 4096);
            assert_eq!(spool.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &expected, lost: 0 }));
        }
        assert_eq!(spool.take_untold(), BTreeMap::from([(0, 10_000 - taken as u64)]));
    }

    #[test]
    fn what_was_lost_before_is_told_with_the_page_or_the_next() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(directory.path(), 5_000);
        let bytes = page(0, 4000);
        assert!(spool.push_page(0, &bytes, 10, 7));
        assert!(!spool.push_page(0, &bytes, 10, 3));
        assert_eq!(spool.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 7 }));
        assert!(spool.push_page(0, &bytes, 10, 0));
        assert_eq!(spool.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 13 }));
        assert!(spool.push_page(0, &bytes, 10, 0));
        assert_eq!(spool.pop().expect("pop"), Some(Entry::Page { cpu: 0, bytes: &bytes, lost: 0 }));
    }

    proptest! {
        /// Nothing is lost uncounted, whatever goes in and out in whatever order.
        #[test]
        fn every_record_comes_out_or_is_counted(
            steps in prop::collection::vec((0u32..3, 0usize..5000, 0u64..100, 0usize..3), 0..300),
            limit in 0u64..100_000,
        ) {
            let directory = tempfile::tempdir().expect("a directory");
            let mut spool = Spool::new(directory.path(), limit);
            let (mut pushed, mut came, mut refused) = (0, VecDeque::new(), 0);
            let mut records_out = 0;
            for (cpu, length, records, pops) in steps {
                pushed += records;
                if spool.push_page(cpu, &page(cpu, length), records, 0) {
                    came.push_back((cpu, length, records));
                }
                prop_assert!(spool.size() <= limit);
                for _ in 0..pops {
                    match spool.pop().expect("pop") {
                        Some(Entry::Page { cpu, bytes, lost }) => {
                            refused += lost;
                            let (expected, length, records) = came.pop_front().expect("one that went in");
                            prop_assert_eq!((cpu, bytes), (expected, &page(cpu, length)[..]));
                            records_out += records;
                        }
                        Some(Entry::Settled(_)) | None => {}
                    }
                }
            }
            let waiting: u64 = came.iter().map(|(_, _, records)| records).sum();
            while let Some(entry) = spool.pop().expect("pop") {
                if let Entry::Page { lost, .. } = entry {
                    refused += lost;
                }
            }
            refused += spool.take_untold().values().sum::<u64>();
            prop_assert_eq!(pushed, records_out + waiting + refused);
        }
    }
}
