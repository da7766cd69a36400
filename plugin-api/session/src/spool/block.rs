//! The binary form of entries in a block.

use std::collections::BTreeMap;

use super::clock_reading::ClockReading;

/// What a block holds, in case it cannot be read back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The records in its pages, by CPU.
    pub records: BTreeMap<u32, u64>,
    /// The losses before its pages, by CPU.
    pub lost: BTreeMap<u32, u64>,
}

impl Contents {
    pub fn add_page(&mut self, cpu: u32, records: u64, lost: u64) {
        *self.records.entry(cpu).or_default() += records;
        *self.lost.entry(cpu).or_default() += lost;
    }
}

/// An entry of a spool. Entries come out in the order in which they were added.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A page of a CPU.
    Page {
        /// The CPU.
        cpu: u32,
        /// The page.
        bytes: &'a [u8],
        /// Records of the CPU that were lost between its previous page and this one.
        lost: u64,
    },
    /// All pages with records up to this time stamp have come out.
    Settled(u64),
    /// A reading of the clock of the records.
    Clock(ClockReading),
    /// Pages of a CPU that cannot be read back.
    Unread {
        /// The CPU.
        cpu: u32,
        /// The records in these pages, and the losses before them.
        lost: u64,
    },
}

/// The header of an entry: CPU and length of the page, both `u32`, and the losses before it, a `u64`.
const HEADER: usize = 16;
/// In place of the CPU: an entry without a page, with the settled time stamp in place of the losses.
const SETTLED: u32 = u32::MAX;
/// In place of the CPU: an entry with the CPU in place of the page.
const UNREAD: u32 = u32::MAX - 1;
/// In place of the CPU: an entry with a reading of the clock in place of the page.
const CLOCK: u32 = u32::MAX - 2;

impl<'a> Entry<'a> {
    /// Its size in a block, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Page { bytes, .. } => HEADER + bytes.len(),
            Self::Settled(_) => HEADER,
            Self::Clock(_) => HEADER + ClockReading::SIZE,
            Self::Unread { cpu, .. } => HEADER + size_of_val(cpu),
        }
    }

    pub(super) fn append_to(&self, block: &mut Vec<u8>) {
        let reading;
        let (cpu, number, bytes) = match self {
            Self::Page { cpu, bytes, lost } => (*cpu, *lost, *bytes),
            Self::Settled(stamp) => (SETTLED, *stamp, &[][..]),
            Self::Clock(clock) => {
                reading = clock.to_bytes();
                (CLOCK, 0, &reading[..])
            }
            Self::Unread { cpu, lost } => (UNREAD, *lost, &cpu.to_ne_bytes()[..]),
        };
        block.extend_from_slice(&cpu.to_ne_bytes());
        block.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        block.extend_from_slice(&number.to_ne_bytes());
        block.extend_from_slice(bytes);
    }

    /// The first entry in `bytes` and its size. `None` if the bytes end within it.
    pub(super) fn first_of(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (cpu, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let page = rest.get(..u32::from_ne_bytes(*length) as usize)?;
        let number = u64::from_ne_bytes(*number);
        let entry = match u32::from_ne_bytes(*cpu) {
            SETTLED => Self::Settled(number),
            CLOCK => Self::Clock(ClockReading::from_bytes(page)?),
            UNREAD => Self::Unread { cpu: u32::from_ne_bytes(page.try_into().ok()?), lost: number },
            cpu => Self::Page { cpu, bytes: page, lost: number },
        };
        Some((entry, HEADER + page.len()))
    }
}
