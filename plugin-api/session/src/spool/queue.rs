//! The part of the spool that its lock protects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::block::{Contents, Entry};
use super::clock_reading::ClockReading;
use super::disk::{DiskQueue, Place};

/// The bytes kept in memory before the file is used.
pub const MEMORY: usize = 8 << 20;
/// The size of a block, the unit of the handover to the reader.
pub const BLOCK: usize = 256 << 10;

/// Blocks of entries: the oldest ones in memory, the following ones in a file, and the last one, which is being filled.
#[derive(Debug)]
pub struct Queue {
    memory: VecDeque<Vec<u8>>,
    in_memory: usize,
    disk: DiskQueue,
    last: Vec<u8>,
    in_last: Contents,
    limit: u64,
    /// Refused records, by CPU.
    refused: BTreeMap<u32, u64>,
    /// Records that were lost, here or before they reached the spool, by CPU: they are reported with the CPU's next page.
    unreported: BTreeMap<u32, u64>,
    /// CPUs of which records were refused since this was last asked for.
    losing: BTreeSet<u32>,
    settled: u64,
    /// The user was warned that the limit is reached.
    warned: bool,
}

/// The oldest block, or its position.
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
            losing: BTreeSet::new(),
            settled: 0,
            warned: false,
        }
    }

    pub fn push_page(&mut self, cpu: u32, bytes: &[u8], records: u64, lost: u64) -> bool {
        self.lose(cpu, lost);
        let lost = self.unreported.get(&cpu).copied().unwrap_or(0);
        let pushed = self.push(&Entry::Page { cpu, bytes, lost });
        if pushed {
            self.in_last.add_page(cpu, records, lost);
            self.unreported.remove(&cpu);
        } else if records > 0 {
            *self.refused.entry(cpu).or_default() += records;
            self.lose(cpu, records);
            self.losing.insert(cpu);
        }
        pushed
    }

    pub fn lose(&mut self, cpu: u32, records: u64) {
        if records > 0 {
            *self.unreported.entry(cpu).or_default() += records;
        }
    }

    pub fn push_settled(&mut self, stamp: u64) {
        // If there is no room, a later one will mark this time stamp as well.
        if stamp > self.settled && self.push(&Entry::Settled(stamp)) {
            self.settled = stamp;
        }
    }

    pub fn push_clock(&mut self, reading: ClockReading) {
        // If there is no room, the records between two other readings have come out further apart.
        self.push(&Entry::Clock(reading));
    }

    pub fn refused(&self) -> &BTreeMap<u32, u64> {
        &self.refused
    }

    pub fn take_losing(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.losing)
    }

    pub fn take_unreported_losses(&mut self) -> BTreeMap<u32, u64> {
        std::mem::take(&mut self.unreported)
    }

    pub fn size(&self) -> u64 {
        self.in_memory as u64 + self.disk.len() + self.last.len() as u64
    }

    /// Moves the oldest block into `block`, which is empty, or returns its position in the file.
    pub fn take_oldest(&mut self, block: &mut Vec<u8>) -> Oldest {
        if let Some(oldest) = self.memory.pop_front() {
            self.in_memory -= oldest.len();
            *block = oldest;
            return Oldest::Taken;
        }
        if let Some(place) = self.disk.oldest() {
            return Oldest::OnDisk(place);
        }
        // The memory of the block that was read is reused.
        std::mem::swap(&mut self.last, block);
        self.in_last = Contents::default();
        if block.is_empty() { Oldest::Nothing } else { Oldest::Taken }
    }

    /// Frees the space of the oldest block in the file, after it was read.
    pub fn release_oldest(&mut self) {
        self.disk.release_oldest();
    }

    /// Replaces the oldest block in the file, which cannot be read, by entries that report its records as lost.
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

    /// Moves the last block on if it would become too large. Returns `false`, and leaves it, if there is no room.
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
