use std::ops::Range;

use super::{Damage, Layout};

/// The writer overwrote records before this page (`RB_MISSED_EVENTS` in `kernel/trace/ring_buffer.c`).
const MISSED_EVENTS: u64 = 1 << 31;
/// Their number is stored after the data (`RB_MISSED_STORED`). Not set if the page had no room for the number.
const MISSED_STORED: u64 = 1 << 30;

/// The bits of the commit word that hold the length. Those above the flags have no meaning: the kernel adds `1 << 31`, a
/// negative `int`, to a `long`, which sets them all.
const LENGTH: u64 = MISSED_STORED - 1;

/// A binary page of the ring buffer of one CPU, as read from `trace_pipe_raw`.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The base time stamp, to which the delta of the first record is added, in units of the trace clock.
    pub stamp: u64,
    /// Records that the writer overwrote between the page before and this one.
    pub lost: Option<Lost>,
    data: &'a [u8],
    used: usize,
    layout: &'a Layout,
}

/// Records that were overwritten before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Their number; `None` if the kernel does not report it.
    pub count: Option<u64>,
}

/// One record of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The time stamp, in units of the trace clock.
    pub stamp: u64,
    /// The entry itself, starting with its `common_type`; padded to four bytes by the kernel.
    pub data: &'a [u8],
}

impl<'a> Page<'a> {
    /// Parses the header of `bytes`, a whole page or only its used part.
    ///
    /// # Errors
    /// The header is truncated, or its length exceeds the data.
    pub fn new(layout: &'a Layout, bytes: &'a [u8]) -> Result<Self, Damage> {
        let stamp = number(bytes, layout.stamp.offset, layout.stamp.size).ok_or(Damage::Header)?;
        let commit = number(bytes, layout.commit.offset, layout.commit.size).ok_or(Damage::Header)?;
        let rest = bytes.get(layout.data..).ok_or(Damage::Header)?;
        let length = usize::try_from(commit & LENGTH).map_err(|_| Damage::Commit)?;
        let (data, after) = rest.split_at_checked(length).ok_or(Damage::Commit)?;
        let missed = commit & MISSED_EVENTS != 0;
        let stored = missed && commit & MISSED_STORED != 0;
        let count = if stored { number(after, 0, layout.commit.size) } else { None };
        let used = layout.data + length + if count.is_some() { layout.commit.size } else { 0 };
        Ok(Self { stamp, lost: missed.then_some(Lost { count }), data, used, layout })
    }

    /// The number of used bytes; the others need not be kept.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The records in the order they were written.
    pub fn records(&self) -> Records<'a> {
        Records { layout: self.layout, data: self.data, cursor: Cursor::new(self.stamp), damage: None }
    }

    pub(super) fn data_range(&self) -> Range<usize> {
        self.layout.data..self.layout.data + self.data.len()
    }
}

/// The records of a page. Ends early at damage; see [`Records::damage`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    layout: &'a Layout,
    data: &'a [u8],
    cursor: Cursor,
    damage: Option<Damage>,
}

impl Records<'_> {
    /// The damage that ended the iteration, if any.
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        match self.cursor.step(self.layout, self.data) {
            Step::Record { stamp, range } => Some(Record { stamp, data: self.data.get(range)? }),
            Step::End => None,
            Step::Damaged(damage) => {
                self.damage = Some(damage);
                None
            }
        }
    }
}

/// A position in a page.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    position: usize,
    stamp: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Record { stamp: u64, range: Range<usize> },
    End,
    Damaged(Damage),
}

/// The bits of an absolute time stamp for which a record has no room. They are taken from the time stamp before it
/// (`TS_MSB`).
const STAMP_HIGH_BITS: u64 = 0xf8 << 56;

impl Cursor {
    pub(super) fn new(page_stamp: u64) -> Self {
        Self { position: 0, stamp: page_stamp }
    }

    /// Advances to the next record of `data`. Stays at the end, and after damage.
    #[inline]
    pub(super) fn step(&mut self, layout: &Layout, data: &[u8]) -> Step {
        loop {
            if self.position >= data.len() {
                return Step::End;
            }
            let Some(word) = word(data, self.position) else {
                return self.damaged(data);
            };
            let (kind, delta) = layout.event.split(word);
            if kind > 0 && kind <= layout.event.max_data {
                self.stamp = self.stamp.wrapping_add(delta);
                return self.record(data, 4, 4 * kind as usize);
            }
            // All other types have a second word, except padding that ends the page.
            if kind == layout.event.padding && delta == 0 {
                self.position = data.len();
                return Step::End;
            }
            let Some(second) = self::word(data, self.position + 4) else {
                return self.damaged(data);
            };
            if kind == 0 {
                // The length word counts itself.
                self.stamp = self.stamp.wrapping_add(delta);
                return match (second as usize).checked_sub(4) {
                    Some(length) if length % 4 == 0 => self.record(data, 8, length),
                    _ => self.damaged(data),
                };
            }
            let large = u64::from(second) << layout.event.delta_bits | delta;
            if kind == layout.event.time_extend {
                self.stamp = self.stamp.wrapping_add(large);
                self.position += 8;
            } else if kind == layout.event.time_stamp {
                self.stamp = absolute(large, self.stamp);
                self.position += 8;
            } else if kind == layout.event.padding && second % 4 == 0 {
                // A discarded record. As in the kernel's own readers, its delta is not added to the time.
                self.position = self.position.saturating_add(4 + second as usize);
                if self.position > data.len() {
                    return self.damaged(data);
                }
            } else {
                return self.damaged(data);
            }
        }
    }

    #[inline]
    fn record(&mut self, data: &[u8], header: usize, length: usize) -> Step {
        let start = self.position + header;
        let end = start.saturating_add(length);
        if end > data.len() {
            return self.damaged(data);
        }
        self.position = end;
        Step::Record { stamp: self.stamp, range: start..end }
    }

    #[cold]
    fn damaged(&mut self, data: &[u8]) -> Step {
        self.position = data.len();
        Step::Damaged(Damage::Record)
    }
}

/// `rb_fix_abs_ts`: the 59 bits of a record, with the high bits of the time stamp before it.
fn absolute(stamp: u64, before: u64) -> u64 {
    let high = before & STAMP_HIGH_BITS;
    let fixed = stamp | high;
    if high != 0 && fixed < before { fixed.wrapping_add(1 << 59) } else { fixed }
}

#[inline]
fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(size)?)?;
    match size {
        4 => Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?))),
        8 => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
