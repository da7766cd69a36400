use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use super::page::{Cursor, Step};
use super::{Layout, Page};

/// Decodes pages and merges the CPUs into one stream in time order.
///
/// Pages are added in the order of [`super::RingBuffer::collect`], possibly much later; items are returned up to the settled time
/// stamp. The timeline holds the pages until they have been read to their end, and reuses their memory.
#[derive(Debug)]
pub struct Timeline {
    layout: Layout,
    buffers: Vec<CpuBuffer>,
    /// The other buffers with an item, ordered by time and then by CPU, as in the kernel.
    waiting: BinaryHeap<Reverse<(u64, u32, usize)>>,
    /// The buffer being read.
    reading: Option<usize>,
    /// Whether the head of that buffer has been returned.
    head_returned: bool,
    settled: u64,
    newest: u64,
    late: u64,
    damaged: u64,
    spare: Vec<Vec<u8>>,
}

/// An item of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record(TimelineRecord<'a>),
    /// A gap in the records of one CPU, just before its next record.
    Lost(Gap),
}

/// A record and the CPU that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineRecord<'a> {
    /// The CPU that wrote it.
    pub cpu: u32,
    /// The time stamp, in units of the trace clock.
    pub stamp: u64,
    /// The entry itself, starting with its `common_type`.
    pub data: &'a [u8],
}

/// Lost records of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The CPU.
    pub cpu: u32,
    /// Their number; `None` if it is unknown, because the kernel does not report it or a page was damaged. 0 if they were
    /// reported already.
    pub count: Option<u64>,
}

/// The pages of one CPU.
#[derive(Debug, Default)]
struct CpuBuffer {
    cpu: u32,
    pages: VecDeque<Vec<u8>>,
    /// The number of lost records that was reported before each page.
    lost: VecDeque<Option<u64>>,
    /// The same for the next page.
    lost_next: Option<u64>,
    /// Whether no more pages will follow.
    finished: bool,
    /// The position in the first page; `None` before its header is parsed.
    cursor: Option<(Cursor, Range<usize>)>,
    head: Option<Head>,
    newest: u64,
    /// Number of records returned.
    returned: u64,
}

#[derive(Debug)]
enum Head {
    Record { stamp: u64, range: Range<usize> },
    Lost { stamp: u64, count: Option<u64> },
}

/// Page buffers kept for the next pages.
const SPARE_PAGES: usize = 64;

impl Timeline {
    /// An empty timeline for pages of this layout.
    pub fn new(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            buffers: Vec::new(),
            waiting: BinaryHeap::new(),
            reading: None,
            head_returned: false,
            settled: 0,
            newest: 0,
            late: 0,
            damaged: 0,
            spare: Vec::new(),
        }
    }

    /// Adds lost records of `cpu` that are younger than all its pages so far. The count in its next page is then ignored.
    pub fn lose(&mut self, cpu: u32, records: u64) {
        let index = self.buffer(cpu);
        if let Some(buffer) = self.buffers.get_mut(index) {
            *buffer.lost_next.get_or_insert(0) += records;
        }
    }

    /// Adds a page of `cpu`, after all its earlier pages.
    pub fn push(&mut self, cpu: u32, bytes: &[u8]) {
        let mut page = self.spare.pop().unwrap_or_default();
        page.clear();
        page.extend_from_slice(bytes);
        let index = self.buffer(cpu);
        let Some(buffer) = self.buffers.get_mut(index) else {
            return;
        };
        buffer.pages.push_back(page);
        buffer.lost.push_back(std::mem::take(&mut buffer.lost_next));
        if self.reading != Some(index) && buffer.head.is_none() {
            self.damaged += buffer.advance(&self.layout, &mut self.spare);
            self.queue(index);
        }
    }

    /// Releases the items up to `stamp`. Every page with an older record must have been pushed.
    pub fn settle(&mut self, stamp: u64) {
        self.settled = self.settled.max(stamp);
    }

    /// Releases all items. No more pages may follow.
    pub fn finish(&mut self) {
        self.settled = u64::MAX;
        for index in 0..self.buffers.len() {
            let Some(buffer) = self.buffers.get_mut(index) else { break };
            buffer.finished = true;
            // Losses after the last page of a buffer have not been reported yet.
            if self.reading != Some(index) && buffer.head.is_none() {
                self.damaged += buffer.advance(&self.layout, &mut self.spare);
                self.queue(index);
            }
        }
    }

    /// The next item in time order; `None` until more is settled.
    #[allow(clippy::should_implement_trait)] // The item borrows from the timeline, which `Iterator` cannot express.
    pub fn next(&mut self) -> Option<Item<'_>> {
        let index = self.earliest()?;
        let buffer = self.buffers.get_mut(index)?;
        let item = match buffer.head.as_ref()? {
            head if head.stamp() > self.settled => return None,
            Head::Lost { count, .. } => Item::Lost(Gap { cpu: buffer.cpu, count: *count }),
            Head::Record { stamp, range } => {
                self.late += u64::from(*stamp < self.newest);
                self.newest = self.newest.max(*stamp);
                buffer.returned += 1;
                let data = buffer.pages.front()?.get(range.clone())?;
                Item::Record(TimelineRecord { cpu: buffer.cpu, stamp: *stamp, data })
            }
        };
        self.head_returned = true;
        Some(item)
    }

    /// Whether there is a next item.
    pub fn next_is_settled(&mut self) -> bool {
        let settled = self.settled;
        let head = self.earliest().and_then(|index| self.buffers.get(index)?.head.as_ref());
        head.is_some_and(|head| head.stamp() <= settled)
    }

    /// The number of records of `cpu` returned.
    pub fn returned(&self, cpu: u32) -> u64 {
        self.buffers.iter().find(|buffer| buffer.cpu == cpu).map_or(0, |buffer| buffer.returned)
    }

    /// Records returned after a younger one, see [`super::RingBuffer::collect`].
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Pages that could not be decoded, or not to their end. Each is reported as a [`Gap`] of unknown size.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The buffer with the earliest head, after the item returned before.
    fn earliest(&mut self) -> Option<usize> {
        if let Some(index) = self.reading {
            if self.head_returned {
                self.head_returned = false;
                let buffer = self.buffers.get_mut(index)?;
                self.damaged += buffer.advance(&self.layout, &mut self.spare);
            }
            let key = self.key(index);
            match (key, self.waiting.peek()) {
                (Some(key), Some(Reverse(other))) if *other < key => self.waiting.push(Reverse(key)),
                (Some(_), _) => return Some(index),
                (None, _) => {}
            }
        }
        self.reading = self.waiting.pop().map(|Reverse((_, _, index))| index);
        self.reading
    }

    fn queue(&mut self, index: usize) {
        if let Some(key) = self.key(index) {
            self.waiting.push(Reverse(key));
        }
    }

    fn key(&self, index: usize) -> Option<(u64, u32, usize)> {
        let buffer = self.buffers.get(index)?;
        Some((buffer.head.as_ref()?.stamp(), buffer.cpu, index))
    }

    fn buffer(&mut self, cpu: u32) -> usize {
        if let Some(index) = self.buffers.iter().position(|buffer| buffer.cpu == cpu) {
            return index;
        }
        self.buffers.push(CpuBuffer { cpu, ..CpuBuffer::default() });
        self.buffers.len() - 1
    }
}

impl Head {
    fn stamp(&self) -> u64 {
        match self {
            Self::Record { stamp, .. } | Self::Lost { stamp, .. } => *stamp,
        }
    }
}

impl CpuBuffer {
    /// Finds the next head, if necessary in the following pages. Returns the number of damaged pages.
    fn advance(&mut self, layout: &Layout, spare: &mut Vec<Vec<u8>>) -> u64 {
        self.head = None;
        while let Some(page) = self.pages.front() {
            let Some((cursor, range)) = &mut self.cursor else {
                if self.enter(layout) {
                    if self.head.is_some() {
                        return 0;
                    }
                    continue;
                }
                return self.leave_damaged(spare);
            };
            let data = page.get(range.clone()).unwrap_or_default();
            match cursor.step(layout, data) {
                Step::Record { stamp, range: found } => {
                    let range = range.start + found.start..range.start + found.end;
                    self.newest = self.newest.max(stamp);
                    self.head = Some(Head::Record { stamp, range });
                    return 0;
                }
                Step::End => self.leave(spare),
                Step::Damaged(_) => return self.leave_damaged(spare),
            }
        }
        if self.finished
            && let Some(count) = self.lost_next.take().filter(|count| *count > 0)
        {
            self.head = Some(Head::Lost { stamp: self.newest, count: Some(count) });
        }
        0
    }

    /// Parses the header of the first page. Returns `false` if it is damaged. A gap before the page becomes the head.
    fn enter(&mut self, layout: &Layout) -> bool {
        let Some(page) = self.pages.front().and_then(|bytes| Page::new(layout, bytes).ok()) else {
            return false;
        };
        let reported_lost = self.lost.front().copied().flatten();
        let gap = match reported_lost {
            Some(0) => page.lost.map(|_| Some(0)),
            Some(count) => Some(Some(count)),
            None => page.lost.map(|lost| lost.count),
        };
        if let Some(count) = gap {
            let first = page.records().next();
            let stamp = first.map_or(page.stamp, |record| record.stamp);
            self.head = Some(Head::Lost { stamp, count });
        }
        self.cursor = Some((Cursor::new(page.stamp), page.data_range()));
        true
    }

    fn leave(&mut self, spare: &mut Vec<Vec<u8>>) {
        self.cursor = None;
        self.lost.pop_front();
        if let Some(page) = self.pages.pop_front()
            && spare.len() < SPARE_PAGES
        {
            spare.push(page);
        }
    }

    /// Puts a gap in the place of the remaining records of a damaged page.
    fn leave_damaged(&mut self, spare: &mut Vec<Vec<u8>>) -> u64 {
        self.leave(spare);
        self.head = Some(Head::Lost { stamp: self.newest, count: None });
        1
    }
}
