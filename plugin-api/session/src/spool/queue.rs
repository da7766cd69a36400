//! What is behind the spool's lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::block::{Contents, Entry};
use super::disk::{DiskQueue, Place};

/// How much is kept in memory before the file is used.
pub const MEMORY: usize = 8 << 20;
/// How much is passed on at a time.
pub const BLOCK: usize = 256 << 10;

/// Blocks of entries: the oldest in memory, those after them in a file, and the last one, which is being filled.
#[derive(Debug)]
pub struct Queue {
    memory: VecDeque<Vec<u8>>,
    in_memory: usize,
    disk: DiskQueue,
    last: Vec<u8>,
    in_last: Contents,
    limit: u64,
    /// Records that found no room, by CPU.
    refused: BTreeMap<u32, u64>,
    /// Those of them that were not reported: to be reported early, or else with the CPU's next page.
    unreported: BTreeMap<u32, u64>,
    /// Records that were lost before they came here, by CPU: to be reported with the CPU's next page.
    untold: BTreeMap<u32, u64>,
    /// CPUs whose next page has a gap before it that was reported early.
    gaps: BTreeSet<u32>,
    settled: u64,
    /// The user was warned that the limit is reached.
    warned: bool,
}

/// The oldest block, or where it is.
#[derive(Debug)]
pub enum Oldest {
    Nothing,
    Taken,
    OnDisk(Place),
}

impl Queue {
    pub fn new(directory: &Path, limit: u64) -> Self {
        Self {
            memory: VecDeque::new(),
            in_memory: 0,
            disk: DiskQueue::new(directory, limit),
            last: Vec::new(),
            in_last: Contents::default(),
            limit,
            refused: BTreeMap::new(),
            unreported: BTreeMap::new(),
            untold: BTreeMap::new(),
            gaps: BTreeSet::new(),
            settled: 0,
            warned: false,
        }
    }

    pub fn push_page(&mut self, cpu: u32, bytes: &[u8], records: u64, lost: u64) -> bool {
        self.lose(cpu, lost);
        let unreported =
            [&self.untold, &self.unreported].map(|losses| losses.get(&cpu).copied().unwrap_or(0));
        let lost = unreported.iter().sum();
        let has_gap = lost > 0 || self.gaps.contains(&cpu);
        let pushed = self.push(&Entry::Page { cpu, bytes, lost, has_gap });
        if pushed {
            self.in_last.add_page(cpu, records, lost);
            self.untold.remove(&cpu);
            self.unreported.remove(&cpu);
            self.gaps.remove(&cpu);
        } else if records > 0 {
            *self.refused.entry(cpu).or_default() += records;
            *self.unreported.entry(cpu).or_default() += records;
        }
        pushed
    }

    pub fn lose(&mut self, cpu: u32, records: u64) {
        if records > 0 {
            *self.untold.entry(cpu).or_default() += records;
        }
    }

    pub fn push_settled(&mut self, stamp: u64) {
        // Where there is no room, the next one says it as well.
        if stamp > self.settled && self.push(&Entry::Settled(stamp)) {
            self.settled = stamp;
        }
    }

    pub fn refused(&self) -> &BTreeMap<u32, u64> {
        &self.refused
    }

    pub fn take_refused(&mut self) -> BTreeMap<u32, u64> {
        let unreported = std::mem::take(&mut self.unreported);
        self.gaps.extend(unreported.keys());
        unreported
    }

    pub fn take_untold(&mut self) -> BTreeMap<u32, u64> {
        let mut losses = std::mem::take(&mut self.untold);
        for (cpu, records) in std::mem::take(&mut self.unreported) {
            *losses.entry(cpu).or_default() += records;
        }
        losses
    }

    pub fn size(&self) -> u64 {
        self.in_memory as u64 + self.disk.len() + self.last.len() as u64
    }

    /// Moves the oldest block into `block`, which is empty, or says where in the file it lies.
    pub fn take_oldest(&mut self, block: &mut Vec<u8>) -> Oldest {
        if let Some(oldest) = self.memory.pop_front() {
            self.in_memory -= oldest.len();
            *block = oldest;
            return Oldest::Taken;
        }
        if let Some(place) = self.disk.oldest() {
            return Oldest::OnDisk(place);
        }
        // The memory of the block that was read is filled next.
        std::mem::swap(&mut self.last, block);
        self.in_last = Contents::default();
        if block.is_empty() { Oldest::Nothing } else { Oldest::Taken }
    }

    /// Says that the block was read that the file's oldest place holds.
    pub fn release_oldest(&mut self) {
        self.disk.release_oldest();
    }

    /// Says that it cannot be read. What was in it is refused after all, and told to be lost in its place.
    pub fn give_up_oldest(&mut self, block: &mut Vec<u8>) {
        let Contents { records, lost } = self.disk.release_oldest();
        for (cpu, records) in records {
            *self.refused.entry(cpu).or_default() += records;
            let lost = records + lost.get(&cpu).copied().unwrap_or(0);
            Entry::Unread { cpu, lost }.append_to(block);
        }
    }

    fn push(&mut self, entry: &Entry<'_>) -> bool {
        if self.size() + entry.size() as u64 > self.limit {
            self.warn_once();
            return false;
        }
        let fits = self.make_room_for(entry.size());
        if fits {
            entry.append_to(&mut self.last);
        }
        fits
    }

    fn warn_once(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            log::warn!(
                "the spool has reached its limit of {} bytes: events are lost until they are read faster; a larger \
                 --spool-size helps with short bursts",
                self.limit
            );
        }
    }

    /// Makes sure that the last block does not become too large. It stays as it is where there is no place for it.
    fn make_room_for(&mut self, size: usize) -> bool {
        if self.last.len() + size <= BLOCK || self.last.is_empty() {
            return true;
        }
        if self.disk.is_empty() && self.in_memory < MEMORY {
            self.in_memory += self.last.len();
            self.memory.push_back(std::mem::take(&mut self.last));
            self.in_last = Contents::default();
            return true;
        }
        let moved = self.disk.push(&self.last, &mut self.in_last);
        if moved {
            self.last.clear();
        }
        moved
    }
}
