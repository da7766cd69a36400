//! The events of an instance: complete, in time order, at any speed of the reader.

mod new_task;
mod processes;
mod record;
mod record_filter;
mod requested;
mod stacks;
mod start_signal;
mod task_ends;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trace_hook_api::{HookError, Result, log};
use trace_session::spool::{Entry, Spool, SpoolReader};
use trace_session::{Collector, Rendered};
use trace_tasks::{Pid, Procfs};
use tracefs::format::{EventFormat, Formatter};
use tracefs::ring::{Gap, Item, RingBuffer, Timeline, TimelineRecord};
use tracefs::{EXEC, Instance};

use crate::boot_time::BootTime;
use crate::buffer_number;
use crate::clock_reading;
use crate::collector::PageCollector;
use crate::ended_tasks::EndedTasks;
use crate::losses::Losses;
use crate::new_programs::NewPrograms;
use crate::reused_pids::ReusedPid;
use crate::tampering::{Consumption, Corrections, FilterTrust, Notices};
use crate::traced_tasks::TracedTasks;
use crate::unrecorded::Unrecorded;
use new_task::NewTaskEvent;
use processes::Processes;
use record_filter::RecordFilter;
use requested::Requested;
use stacks::Stacks;
use start_signal::StartSignal;
use task_ends::TaskEnds;

pub use record::Record;

/// The most tasks whose names are looked up at the start of a session, which takes about a millisecond.
const MOST_LOOKED_UP: usize = 100;

/// Turns the events of an instance from records in the kernel's ring buffer into lines of text.
///
/// ```text
/// ring ──pages──▶ spool ──pages──▶ timeline ──records──▶ filter ──▶ formatter ──lines──▶
/// ```
///
/// A thread empties the kernel's buffer; [`write_lines`](Self::write_lines) formats text. In between, pages wait in the
/// [`Spool`].
///
/// Until [`end`](Self::end) the instance cannot be removed.
#[derive(Debug)]
pub struct EventStream {
    collector: Collector<PageCollector>,
    /// The number of the collector's whole sweeps, each of which read all records that existed when it began.
    whole_sweeps: Arc<AtomicU64>,
    /// Their number when the current read began.
    sweeps_at_read: u64,
    spool: Arc<Spool>,
    reader: SpoolReader,
    timeline: Timeline,
    boot_time: BootTime,
    formatter: Formatter,
    filter: Option<RecordFilter>,
    processes: Processes,
    /// The event of new tasks. Not every kernel has it.
    new_task: Option<NewTaskEvent>,
    ends: TaskEnds,
    /// The number of records that were not printed: of other tasks, or of hidden events.
    filtered_out: u64,
    /// Pids that new traced tasks have got from others, since the last call of [`take_reused_pids`](Self::take_reused_pids).
    reused_pids: Vec<ReusedPid>,
    /// Where to report programs that traced processes execute, and the id of the event.
    programs: Option<(u16, NewPrograms)>,
    /// Events that are not enabled for internal use only, or by another process.
    requested: Requested,
    /// Set until it was recorded.
    start_signal: Option<StartSignal>,
    /// Set if the instance records stack traces.
    stacks: Option<Stacks>,
    formats_loaded: bool,
    /// The number of whole sweeps when all records had last been read.
    caught_up_at: u64,
    /// Whether the ring buffer has been read to its end.
    ended: bool,
    /// The collector's error, if it ended by itself. Returned after all other items.
    failure: Option<HookError>,
    /// Whether records are missing that were not counted.
    incomplete: bool,
    /// The number of damaged pages that were reported.
    reported_damaged: u64,
    /// What other processes did to the instances, and how they changed the kernel's counts.
    notices: Notices,
    corrections: Corrections,
    /// Whether the spool has been read to its end.
    finished: bool,
}

/// An item of a stream, in time order.
#[derive(Debug)]
pub enum StreamItem<'a> {
    /// A record of an event.
    Record(Record<'a>),
    /// A gap in the records of one CPU, just before its next record.
    Lost(Gap),
}

/// The counts of an instance's events. Each event is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// The events of traced tasks that the kernel recorded or tried to record.
    pub recorded: u64,
    /// The events among them that were lost, in the kernel or in the spool, by CPU. CPUs without losses are omitted.
    pub lost: BTreeMap<u32, u64>,
}

impl StreamStats {
    fn lose(&mut self, cpu: u32, records: u64) {
        if records > 0 {
            *self.lost.entry(cpu).or_default() += records;
        }
    }
}

impl EventStream {
    /// Opens the stream of an instance whose events are enabled and whose options are set.
    ///
    /// The spool takes up to `spool_size` bytes, most of them in `spool_directory`.
    ///
    /// # Errors
    /// A file of the instance cannot be read.
    pub fn open(
        instance: &Instance,
        procfs: &Path,
        filter: Option<TracedTasks>,
        spool_directory: &Path,
        spool_size: u64,
    ) -> Result<Self> {
        Self::open_both(instance, None, procfs, filter, spool_directory, spool_size)
    }

    /// The same, and merges the records of a second instance into the stream, in time order. The filter does not apply to
    /// them: they are system-wide.
    ///
    /// # Errors
    /// A file of an instance cannot be read.
    pub fn open_both(
        instance: &Instance,
        second: Option<&Instance>,
        procfs: &Path,
        mut filter: Option<TracedTasks>,
        spool_directory: &Path,
        spool_size: u64,
    ) -> Result<Self> {
        let mut ring = RingBuffer::open(instance.path())?;
        if let Some(second) = second {
            ring.join(RingBuffer::open(second.path())?, buffer_number::in_second);
        }
        let mut formatter = Formatter::with_procfs(instance.tracefs().root(), instance.path(), procfs)?;
        let timeline = Timeline::new(ring.layout());
        let new_task = NewTaskEvent::load(&mut formatter);
        let ends = TaskEnds::new(instance, &mut formatter);
        if filter.as_ref().is_some_and(TracedTasks::drops_any) && new_task.is_none() {
            return Err(tracefs::Error::NoNewTaskEvent.into());
        }
        let processes = filter.as_mut().map(TracedTasks::take_processes).unwrap_or_default();
        let traced = filter.as_ref().into_iter().flat_map(TracedTasks::traced);
        traced.take(MOST_LOOKED_UP).for_each(|thread| formatter.look_up_comm(thread));
        let filter =
            filter.map(|tasks| RecordFilter::new(tasks, &mut formatter, !instance.filters_new_tasks()));
        let stacks = Stacks::load(instance, &mut formatter);
        formatter.check_symbols();
        let spool = Arc::new(Spool::new(spool_directory, spool_size));
        let whole_sweeps = Arc::new(AtomicU64::new(0));
        let losses = Losses::of(instance, second);
        let clock = instance.clock()?;
        let boot_time = BootTime::new(clock_reading::read(&clock)?);
        let notices = Notices::default();
        let trust = filter.as_ref().map(|filter| filter.tasks.trust()).unwrap_or_default();
        let consumption = Consumption::of(instance, second, notices.clone(), trust);
        let corrections = consumption.corrections();
        let pages = PageCollector::new(
            ring,
            clock,
            losses,
            consumption,
            Arc::clone(&spool),
            Arc::clone(&whole_sweeps),
        );
        let collector = Collector::start(pages)?;
        Ok(Self {
            collector,
            whole_sweeps,
            sweeps_at_read: 0,
            reader: SpoolReader::new(Arc::clone(&spool)),
            spool,
            timeline,
            boot_time,
            formatter,
            filter,
            processes: Processes::new(Procfs::at(procfs), processes),
            new_task,
            ends,
            filtered_out: 0,
            reused_pids: Vec::new(),
            programs: None,
            requested: Requested::of(instance, second),
            start_signal: None,
            stacks,
            formats_loaded: false,
            caught_up_at: 0,
            ended: false,
            failure: None,
            incomplete: false,
            reported_damaged: 0,
            notices,
            corrections,
            finished: false,
        })
    }

    /// Collects the remaining records after recording was stopped. All items can then be read without waiting.
    ///
    /// # Errors
    /// A buffer could not be read. The records read before can still be rendered.
    pub fn end(&mut self) -> Result<()> {
        self.ended = true;
        // The buffers are closed here: the kernel does not remove an instance while one of its files is open.
        let finished = self.collector.finish().map(drop);
        self.incomplete |= finished.is_err();
        finished
    }

    /// Appends about `room` bytes of lines to `out`. Returns whether it stopped because there was no more room.
    ///
    /// # Errors
    /// A buffer or the spool's file cannot be read.
    pub fn write_lines(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool> {
        if room == 0 {
            return Ok(true);
        }
        let limit = out.len().saturating_add(room);
        self.begin_read();
        while out.len() < limit {
            let step = self.next(|item| match item {
                StreamItem::Record(mut record) => record.write_text(out),
                StreamItem::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, out),
            })?;
            if step == Rendered::Nothing {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Call it before the available items are read.
    pub fn begin_read(&mut self) {
        self.sweeps_at_read = self.whole_sweeps.load(Ordering::Acquire);
        self.collector.notifier().acknowledge();
    }

    /// Passes the next item to `show`, unless it is filtered out.
    ///
    /// # Errors
    /// A buffer or the spool's file cannot be read. All items that could be read were passed on before.
    pub fn next(&mut self, show: impl FnOnce(StreamItem<'_>)) -> Result<Rendered> {
        self.prepare_formatter();
        while !self.timeline.next_is_settled() {
            if self.take_from_spool()? {
                self.prepare_formatter();
                continue;
            }
            self.report_damage();
            self.caught_up();
            if !self.has_failed() {
                return self.failure.take().map_or(Ok(Rendered::Nothing), Err);
            }
        }
        Ok(self.show_next(show))
    }

    /// The CPUs that have lost records since the last call because the spool was full.
    pub fn take_losing(&mut self) -> BTreeSet<u32> {
        self.spool.take_losing().into_iter().map(buffer_number::cpu).collect()
    }

    /// Reports the programs that traced processes execute from now on.
    ///
    /// # Errors
    /// The kernel has no event for it.
    pub(crate) fn report_programs(&mut self, programs: NewPrograms) -> Result<()> {
        let (system, event) = EXEC;
        let id = self.formatter.load(system, event)?;
        self.programs = Some((id, programs));
        Ok(())
    }

    /// Traces this process from the execution of a command on, for which it waits.
    pub(crate) fn await_execution(&mut self, process: Pid) {
        self.start_signal = Some(StartSignal::load(process, &mut self.formatter));
    }

    /// Decides by their records about ended tasks from now on. Those with reused pids are counted in `not_recorded` if they were not
    /// recorded to their end.
    pub(crate) fn decide_about(&mut self, ended: EndedTasks, not_recorded: Unrecorded) {
        self.ends.decide_about(ended, not_recorded);
    }

    /// Call it when recording was stopped, with the tasks that were in the kernel's filter then.
    pub(crate) fn stopped(&mut self, in_filter: HashSet<Pid>) {
        self.ends.stopped(in_filter);
    }

    /// The new traced tasks since the last call whose pids were those of other traced tasks.
    pub(crate) fn take_reused_pids(&mut self) -> Vec<ReusedPid> {
        mem::take(&mut self.reused_pids)
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }

    pub(crate) fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    /// The trust in the kernel's pid filter, for the threads that change it.
    pub(crate) fn trust(&self) -> FilterTrust {
        self.traced_tasks().map(TracedTasks::trust).unwrap_or_default()
    }

    /// The format of an event, to read its fields.
    ///
    /// # Errors
    /// The kernel has no such event, or its format cannot be read.
    pub fn format_of(&mut self, system: &str, event: &str) -> Result<EventFormat> {
        Ok(self.formatter.format_of(system, event)?.clone())
    }

    /// Polls as readable when there are lines to write, until the next [`write_lines`](Self::write_lines).
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.collector.notifier().as_fd()
    }

    /// The traced tasks. `None` if tasks were not chosen, or the kernel has no `task:task_newtask`.
    pub fn traced_tasks(&self) -> Option<&TracedTasks> {
        self.filter.as_ref().map(|filter| &filter.tasks)
    }

    /// The known traced processes. Right after opening, these are all of them.
    pub fn wanted_processes(&mut self) -> BTreeSet<Pid> {
        let threads = self.filter.as_ref().map(|filter| filter.tasks.traced()).into_iter().flatten();
        threads.filter_map(|thread| self.processes.of(thread)).collect()
    }

    /// The counts of the instances of this stream. Exact once recording is stopped and all lines are written.
    ///
    /// # Errors
    /// The kernel's own counts cannot be read.
    pub fn stats<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) -> Result<StreamStats> {
        let mut stats = StreamStats::default();
        let incomplete = self.incomplete || self.timeline.damaged() > 0;
        let buffers: [fn(u32) -> u32; 2] = [|cpu| cpu, buffer_number::in_second];
        for (instance, buffer_of) in instances.into_iter().zip(buffers) {
            for (cpu, counts) in instance.buffer_stats().per_cpu()? {
                let correction = self.corrections.of(buffer_of(cpu));
                let recorded = counts.recorded().saturating_add_signed(correction.recorded);
                stats.recorded += recorded;
                let lost = match incomplete {
                    // All records that have not been returned are lost.
                    true => recorded.saturating_sub(self.timeline.returned(buffer_of(cpu))),
                    false => counts.lost() + correction.lost,
                };
                stats.lose(cpu, lost);
            }
        }
        for (buffer, records) in self.spool.refused().into_iter().filter(|_| !incomplete) {
            stats.lose(buffer_number::cpu(buffer), records);
        }
        stats.recorded = stats.recorded.saturating_sub(self.filtered_out);
        Ok(stats)
    }

    /// Passes on the next item, which is settled.
    fn show_next(&mut self, show: impl FnOnce(StreamItem<'_>)) -> Rendered {
        let record = match self.timeline.next() {
            None => return Rendered::Nothing,
            Some(Item::Lost(gap)) => {
                self.filter.iter_mut().for_each(|filter| filter.tasks.lost());
                self.ends.lost();
                self.stacks.iter_mut().for_each(|stacks| stacks.forget(gap.cpu));
                show(StreamItem::Lost(Gap { cpu: buffer_number::cpu(gap.cpu), ..gap }));
                return Rendered::Other;
            }
            Some(Item::Record(record)) => record,
        };
        let buffer = record.cpu;
        let stamp = self.boot_time.at(record.stamp);
        let record = TimelineRecord { cpu: buffer_number::cpu(buffer), stamp, ..record };
        let task = self.formatter.pid(record.data).unwrap_or(0);
        let id = self.formatter.id(record.data).unwrap_or(0);
        self.filter.iter_mut().for_each(|filter| filter.tasks.reach(stamp));
        if let Some(new) = self.new_task.as_ref().and_then(|event| event.read(id, record.data)) {
            self.processes.new_task(task, new);
            if self.filter.as_mut().is_some_and(|filter| filter.new_task(task, new)) {
                let reused = ReusedPid::new(new.pid, stamp);
                self.ends.reused(reused.clone());
                self.reused_pids.push(reused);
            }
        }
        self.filter.iter_mut().for_each(|filter| filter.observe(task, id, record.data));
        if self.ends.observe(task, id) {
            self.filter.iter_mut().for_each(|filter| filter.tasks.ended(task));
        }
        if let Some((exec, programs)) = &self.programs
            && *exec == id
            && self.filter.as_mut().is_none_or(|filter| filter.tasks.is_traced(task))
        {
            // The thread that executes a program gets the id of its process.
            programs.report([task]);
        }
        let interrupts = self.formatter.interrupts(record.data);
        let mut by_itself = || {
            let filter = self.filter.as_mut().filter(|_| !buffer_number::is_in_second(buffer));
            let is_start_signal = |signal: &mut StartSignal| signal.is_in(task, id, record.data);
            filter.is_none_or(|filter| filter.keeps(task, id, record.data))
                && self.requested.has(buffer, id, &mut self.formatter)
                && self.start_signal.take_if(is_start_signal).is_none()
        };
        let is_shown = match &mut self.stacks {
            None => by_itself(),
            Some(stacks) => stacks.decide(buffer, interrupts, id, by_itself),
        };
        if !is_shown {
            self.formatter.learn(record.data);
            self.filtered_out += 1;
            return Rendered::Other;
        }
        let tasks = self.filter.as_mut().map(|filter| &mut filter.tasks);
        let (formatter, processes) = (&mut self.formatter, &mut self.processes);
        show(StreamItem::Record(Record::new(record, id, task, formatter, processes, tasks)));
        Rendered::Event
    }

    /// Loads the formats when the first record arrives: with many events this takes tens of milliseconds, which would delay
    /// the start of the session.
    fn prepare_formatter(&mut self) {
        if !self.formats_loaded && self.timeline.next_is_settled() {
            self.formats_loaded = true;
            if let Err(error) = self.formatter.load_enabled() {
                // Each is looked up again when a record needs it.
                log::debug!("{error}");
            }
        }
    }

    /// Moves pages from the spool to the timeline, up to where the next records are settled.
    fn take_from_spool(&mut self) -> Result<bool> {
        while let Some(entry) = self.reader.pop().map_err(unreadable)? {
            match entry {
                Entry::Page { cpu, bytes, lost } => {
                    self.timeline.lose(cpu, lost);
                    self.timeline.push(cpu, bytes);
                }
                Entry::Unread { cpu, lost } => self.timeline.lose(cpu, lost),
                Entry::Clock(reading) => self.boot_time.add(reading),
                Entry::Settled(stamp) => {
                    self.timeline.settle(stamp);
                    return Ok(true);
                }
            }
        }
        if !self.ended {
            return Ok(false);
        }
        // Release the last losses and items.
        for (cpu, count) in self.spool.take_unreported_losses() {
            self.timeline.lose(cpu, count);
        }
        self.timeline.finish();
        Ok(!mem::replace(&mut self.finished, true))
    }

    /// Call it when everything has been read that had been collected when this read began.
    fn caught_up(&mut self) {
        let sweeps = self.sweeps_at_read;
        // Only a whole sweep that began since the last call has found all records of a task that had exited then.
        if sweeps >= self.caught_up_at + 2 {
            self.filter.iter_mut().for_each(|filter| filter.tasks.caught_up());
            self.ends.caught_up();
            self.caught_up_at = self.whole_sweeps.load(Ordering::Acquire);
        }
        if self.finished {
            self.ends.finish();
        }
    }

    /// Whether the collector has just failed. The items that it collected can still be read.
    fn has_failed(&mut self) -> bool {
        let has_failed = !self.ended && self.collector.has_ended();
        if has_failed {
            self.failure = self.end().err();
        }
        has_failed
    }

    fn report_damage(&mut self) {
        let damaged = self.timeline.damaged();
        if damaged > self.reported_damaged {
            let more = damaged - self.reported_damaged;
            log::warn!("{more} pages of the kernel's buffer are damaged; the events in them are lost");
            self.reported_damaged = damaged;
        }
    }
}

fn unreadable(error: std::io::Error) -> HookError {
    HookError::new(format!("cannot read the spool's temporary file: {error}"))
}
