//! An instance's events as text: complete, in time order, whatever the reader's speed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::events::NEW_TASK;
use crate::format::{Field, Formatter};
use crate::instance::Instance;
use crate::ring::{Item, RingBuffer, Timeline, TimelineRecord};
use crate::spool::{Entry, Spool};
use crate::task_filter::TaskFilter;
use crate::{Pid, stats};

/// Carries the events of an instance from the kernel's ring buffer to lines of text.
///
/// ```text
/// ring ──pages──▶ spool ──pages──▶ timeline ──records──▶ filter ──▶ formatter ──lines──▶
/// ```
///
/// The kernel's buffer is emptied by [`collect`](Self::collect), text is made by [`write_lines`](Self::write_lines). The two
/// need not keep step: what is between them waits in the [`Spool`].
///
/// While this lives, the instance cannot be removed.
#[derive(Debug)]
pub struct EventStream {
    ring: RingBuffer,
    spool: Spool,
    timeline: Timeline,
    formatter: Formatter,
    filter: Option<Filtering>,
    /// Records that the spool had no room for, by CPU.
    refused: BTreeMap<u32, u64>,
    /// Records that were not those of the targets, or are ours alone.
    left_out: u64,
    /// Nothing more comes out of the ring.
    ended: bool,
    /// Nothing more comes out of the spool.
    finished: bool,
}

/// What became of an instance's events. Each is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All that the kernel recorded, or tried to, of the targets, as far as it is known whose they were.
    pub recorded: u64,
    /// Those of them that the kernel or the spool had no room for, by CPU. CPUs without losses are left out.
    pub lost: BTreeMap<u32, u64>,
}

/// A task filter, and where the records that it learns from have what it needs.
#[derive(Debug)]
struct Filtering {
    tasks: TaskFilter,
    new_task: u16,
    pid: Field,
    clone_flags: Field,
}

impl EventStream {
    /// Opens the stream of an instance whose events are enabled and whose options and clock are set.
    ///
    /// The spool takes up to `spool_size` bytes, in `spool_directory` for the greater part.
    ///
    /// # Errors
    /// A file of the instance that cannot be read.
    pub fn open(
        instance: &Instance,
        procfs: &Path,
        filter: Option<TaskFilter>,
        spool_directory: &Path,
        spool_size: u64,
    ) -> Result<Self> {
        let ring = RingBuffer::open(instance.path())?;
        let mut formatter = Formatter::with_procfs(instance.tracefs().root(), instance.path(), procfs)?;
        formatter.load_enabled()?;
        let timeline = Timeline::new(ring.layout());
        let filter = filter.map(|tasks| Filtering::new(tasks, &mut formatter)).transpose()?;
        let spool = Spool::new(spool_directory, spool_size);
        Ok(Self {
            ring,
            spool,
            timeline,
            formatter,
            filter,
            refused: BTreeMap::new(),
            left_out: 0,
            ended: false,
            finished: false,
        })
    }

    /// Empties the kernel's buffers. To be called every few milliseconds. Returns whether there was much.
    ///
    /// # Errors
    /// A buffer that cannot be read.
    pub fn collect(&mut self) -> Result<bool> {
        let Self { ring, spool, refused, .. } = self;
        let sweep = ring.collect(|page| {
            if !spool.push_page(page.cpu, page.bytes, page.records) {
                *refused.entry(page.cpu).or_default() += page.records;
            }
        })?;
        if sweep.pages > 0 || !self.spool.is_empty() {
            self.spool.push_settled(sweep.settled);
        } else {
            self.timeline.settle(sweep.settled);
        }
        Ok(!sweep.drained)
    }

    /// Collects what is left after recording was stopped. All of it comes out then, without waiting for more.
    ///
    /// # Errors
    /// A buffer that cannot be read.
    pub fn end(&mut self) -> Result<()> {
        while self.collect()? {}
        self.ended = true;
        Ok(())
    }

    /// Appends about `room` bytes of lines to `out`. Returns whether it stopped for want of room.
    ///
    /// # Errors
    /// The spool's file cannot be read.
    pub fn write_lines(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool> {
        let limit = out.len().saturating_add(room);
        while out.len() < limit {
            if self.write_settled(out, limit) {
                continue;
            }
            if !self.take_from_spool()? {
                self.caught_up();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The filter that was given.
    pub fn filter(&self) -> Option<&TaskFilter> {
        self.filter.as_ref().map(|filtering| &filtering.tasks)
    }

    /// What became of the events. Exact once recording is stopped and all lines are written.
    ///
    /// # Errors
    /// The kernel's own counts cannot be read.
    pub fn tally(&self, instance: &Instance) -> Result<Tally> {
        let mut tally = Tally::default();
        for (cpu, counts) in stats::per_cpu(instance)? {
            tally.recorded += counts.recorded();
            let lost = counts.lost() + self.refused.get(&cpu).copied().unwrap_or(0);
            if lost > 0 {
                tally.lost.insert(cpu, lost);
            }
        }
        tally.recorded = tally.recorded.saturating_sub(self.left_out);
        Ok(tally)
    }

    /// Writes what may come out. Returns whether it was anything, be it something that is left out.
    fn write_settled(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let mut any = false;
        while out.len() < limit
            && let Some(item) = self.timeline.next()
        {
            any = true;
            match item {
                Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, out),
                Item::Record(record) => {
                    let filter = self.filter.as_mut();
                    if filter.is_none_or(|filter| filter.keeps(&record, &self.formatter)) {
                        self.formatter.write_record(record.cpu, record.stamp, record.data, out);
                    } else {
                        self.left_out += 1;
                    }
                }
            }
        }
        any
    }

    /// Moves pages from the spool to the timeline, up to where the next records are settled.
    fn take_from_spool(&mut self) -> Result<bool> {
        while let Some(entry) = self.spool.pop().map_err(|error| Error::Spool { source: error })? {
            match entry {
                Entry::Page { cpu, bytes, refused } => {
                    self.timeline.lose(cpu, refused);
                    self.timeline.push(cpu, bytes);
                }
                Entry::Settled(stamp) => {
                    self.timeline.settle(stamp);
                    return Ok(true);
                }
            }
        }
        if !self.ended {
            return Ok(false);
        }
        // The end has to be let out once.
        for (cpu, count) in self.spool.take_refused() {
            self.timeline.lose(cpu, count);
        }
        self.timeline.finish();
        Ok(!std::mem::replace(&mut self.finished, true))
    }

    fn caught_up(&mut self) {
        if let Some(filtering) = &mut self.filter {
            filtering.tasks.caught_up();
        }
    }
}

impl Filtering {
    fn new(tasks: TaskFilter, formatter: &mut Formatter) -> Result<Self> {
        let (system, event) = NEW_TASK;
        let new_task = formatter.load(system, event)?;
        let mut field = |name: &str| {
            let format = formatter.event(new_task);
            format.and_then(|format| format.field(name)).cloned().ok_or(Error::NoNewTaskEvent)
        };
        Ok(Self { tasks, new_task, pid: field("pid")?, clone_flags: field("clone_flags")? })
    }

    /// Whether the record passes. A record of a new task is taken note of.
    fn keeps(&mut self, record: &TimelineRecord<'_>, formatter: &Formatter) -> bool {
        let task = formatter.pid(record.data).unwrap_or(0);
        if formatter.id(record.data) != Some(self.new_task) {
            return self.tasks.keeps(task);
        }
        let pid = self.pid.number(record.data).unwrap_or(0) as Pid;
        let clone_flags = self.clone_flags.number(record.data).unwrap_or(0) as u64;
        self.tasks.new_task(task, pid, clone_flags);
        self.tasks.shows_new_tasks() && self.tasks.keeps(task)
    }
}
