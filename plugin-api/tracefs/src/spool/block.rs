//! Entries as they lie in a block of bytes.

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

impl<'a> Entry<'a> {
    /// The bytes that it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Page { bytes, .. } => HEADER + bytes.len(),
            Self::Settled(_) => HEADER,
        }
    }

    pub(super) fn append_to(&self, block: &mut Vec<u8>) {
        let (cpu, number, bytes) = match *self {
            Self::Page { cpu, bytes, lost } => (cpu, lost, bytes),
            Self::Settled(stamp) => (SETTLED, stamp, &[][..]),
        };
        block.extend_from_slice(&cpu.to_ne_bytes());
        block.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        block.extend_from_slice(&number.to_ne_bytes());
        block.extend_from_slice(bytes);
    }

    /// The first entry of the bytes, and how many it takes. `None`: they end within it.
    pub(super) fn first_of(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (cpu, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let page = rest.get(..u32::from_ne_bytes(*length) as usize)?;
        let number = u64::from_ne_bytes(*number);
        let entry = match u32::from_ne_bytes(*cpu) {
            SETTLED => Self::Settled(number),
            cpu => Self::Page { cpu, bytes: page, lost: number },
        };
        Some((entry, HEADER + page.len()))
    }
}
