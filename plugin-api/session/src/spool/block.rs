//! Entries as they lie in a block of bytes.

use std::collections::BTreeMap;

/// What is in a block, for the case that it cannot be read any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The records in its pages, by CPU.
    pub records: BTreeMap<u32, u64>,
    /// What its pages say that was lost before them, by CPU.
    pub lost: BTreeMap<u32, u64>,
}

impl Contents {
    pub fn add_page(&mut self, cpu: u32, records: u64, lost: u64) {
        *self.records.entry(cpu).or_default() += records;
        *self.lost.entry(cpu).or_default() += lost;
    }
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
        /// How many records of this CPU were lost between its page before and this one, and not reported early.
        lost: u64,
        /// Whether any were lost there.
        has_gap: bool,
    },
    /// All pages with records up to this time stamp have come out.
    Settled(u64),
    /// Pages of this CPU cannot be read any more.
    Unread {
        /// The CPU.
        cpu: u32,
        /// How many records they had, and how many were lost before them.
        lost: u64,
    },
}

/// Before each page: the CPU and the length, both `u32`, and what was lost before it, a `u64`. The length has [`GAP`] set
/// where any was lost.
///
/// Instead of the CPU, this number says that there is no page, but a settled time stamp in the place of the last.
const SETTLED: u32 = u32::MAX;
/// And this one that there is the CPU in the place of the page.
const UNREAD: u32 = u32::MAX - 1;
const HEADER: usize = 16;
const GAP: u32 = 1 << 31;

impl<'a> Entry<'a> {
    /// The bytes that it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Page { bytes, .. } => HEADER + bytes.len(),
            Self::Settled(_) => HEADER,
            Self::Unread { cpu, .. } => HEADER + size_of_val(cpu),
        }
    }

    pub(super) fn append_to(&self, block: &mut Vec<u8>) {
        let (cpu, number, bytes, flag) = match self {
            Self::Page { cpu, bytes, lost, has_gap } => (*cpu, *lost, *bytes, if *has_gap { GAP } else { 0 }),
            Self::Settled(stamp) => (SETTLED, *stamp, &[][..], 0),
            Self::Unread { cpu, lost } => (UNREAD, *lost, &cpu.to_ne_bytes()[..], 0),
        };
        block.extend_from_slice(&cpu.to_ne_bytes());
        block.extend_from_slice(&(bytes.len() as u32 | flag).to_ne_bytes());
        block.extend_from_slice(&number.to_ne_bytes());
        block.extend_from_slice(bytes);
    }

    /// The first entry of the bytes, and how many it takes. `None`: they end within it.
    pub(super) fn first_of(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (cpu, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let length = u32::from_ne_bytes(*length);
        let page = rest.get(..(length & !GAP) as usize)?;
        let number = u64::from_ne_bytes(*number);
        let entry = match u32::from_ne_bytes(*cpu) {
            SETTLED => Self::Settled(number),
            UNREAD => Self::Unread { cpu: u32::from_ne_bytes(page.try_into().ok()?), lost: number },
            cpu => Self::Page { cpu, bytes: page, lost: number, has_gap: length & GAP != 0 },
        };
        Some((entry, HEADER + page.len()))
    }
}
