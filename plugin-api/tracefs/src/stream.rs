//! An instance's events as text: complete, in time order, whatever the reader's speed.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use crate::collector::Collector;
use crate::error::{Error, Result};
use crate::events::{NEW_TASK, RENAME};
use crate::format::{Field, Formatter};
use crate::instance::Instance;
use crate::losses::Losses;
use crate::ring::{Item, RingBuffer, Timeline, TimelineRecord};
use crate::spool::{Entry, Spool, SpoolReader};
use crate::task_filter::TaskFilter;
use crate::{Pid, stats};

/// Carries the events of an instance from the kernel's ring buffer to lines of text.
///
/// ```text
/// ring ──pages──▶ spool ──pages──▶ timeline ──records──▶ filter ──▶ formatter ──lines──▶
/// ```
///
/// A thread empties the kernel's buffer, [`write_lines`](Self::write_lines) makes text. The two need not keep step: what is
/// between them waits in the [`Spool`].
///
/// Until [`end`](Self::end) the instance cannot be removed.
#[derive(Debug)]
pub struct EventStream {
    collector: Collector,
    spool: Arc<Spool>,
    reader: SpoolReader,
    timeline: Timeline,
    formatter: Formatter,
    filter: Option<Filtering>,
    /// Records that were not those of the targets, or are ours alone.
    left_out: u64,
    /// Events that are enabled only for what can be learnt from them.
    hidden: Vec<u16>,
    formats_loaded: bool,
    /// The collector's sweeps when everything was last found to be written.
    caught_up_at: u64,
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
    /// The fields that name the tasks an event is about, for those events that the kernel also records when somebody
    /// makes them whom nobody asked for.
    subjects: HashMap<u16, Vec<Field>>,
}

/// See [`TaskFilter::keeps_any`].
const ABOUT_OTHERS: [(&str, &[&str]); 4] = [
    ("sched_switch", &["prev_pid", "next_pid"]),
    ("sched_waking", &["pid"]),
    ("sched_wakeup", &["pid"]),
    ("sched_wakeup_new", &["pid"]),
];

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
        let timeline = Timeline::new(ring.layout());
        let filter = filter.map(|tasks| Filtering::new(tasks, &mut formatter)).transpose()?;
        let hidden = [NEW_TASK, RENAME].into_iter().filter(|event| !instance.is_asked_for(*event));
        let hidden = hidden.filter_map(|(system, event)| formatter.load(system, event).ok()).collect();
        let spool = Arc::new(Spool::new(spool_directory, spool_size));
        let collector = Collector::start(ring, Losses::of(instance), Arc::clone(&spool))?;
        Ok(Self {
            collector,
            reader: SpoolReader::new(Arc::clone(&spool)),
            spool,
            timeline,
            formatter,
            filter,
            left_out: 0,
            hidden,
            formats_loaded: false,
            caught_up_at: 0,
            ended: false,
            finished: false,
        })
    }

    /// Takes what is left after recording was stopped. All of it comes out then, without waiting for more.
    ///
    /// # Errors
    /// A buffer that cannot be read.
    pub fn end(&mut self) -> Result<()> {
        self.ended = true;
        self.collector.finish()
    }

    /// Appends about `room` bytes of lines to `out`. Returns whether it stopped for want of room.
    ///
    /// # Errors
    /// A buffer or the spool's file cannot be read.
    pub fn write_lines(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool> {
        let limit = out.len().saturating_add(room);
        let sweeps = self.collector.sweeps();
        self.collector.acknowledge();
        while out.len() < limit {
            if self.write_settled(out, limit) {
                continue;
            }
            if !self.take_from_spool()? {
                self.caught_up(sweeps)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Polls as readable when there are lines to write, until the next [`write_lines`](Self::write_lines).
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.collector.found()
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
        let refused = self.spool.refused();
        let mut tally = Tally::default();
        for (cpu, counts) in stats::per_cpu(instance)? {
            tally.recorded += counts.recorded();
            let lost = counts.lost() + refused.get(&cpu).copied().unwrap_or(0);
            if lost > 0 {
                tally.lost.insert(cpu, lost);
            }
        }
        tally.recorded = tally.recorded.saturating_sub(self.left_out);
        Ok(tally)
    }

    /// Writes what may come out. Returns whether it was anything, be it something that is left out.
    fn write_settled(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        self.prepare_formatter();
        let mut any = false;
        while out.len() < limit
            && let Some(item) = self.timeline.next()
        {
            any = true;
            match item {
                Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, out),
                Item::Record(record) => {
                    let filter = self.filter.as_mut();
                    let passes = filter.is_none_or(|filter| filter.keeps(&record, &self.formatter));
                    let id = self.formatter.id(record.data);
                    let is_hidden = id.is_some_and(|id| self.hidden.contains(&id));
                    if passes && !is_hidden {
                        self.formatter.write_record(record.cpu, record.stamp, record.data, out);
                    } else {
                        self.formatter.learn(record.data);
                        self.left_out += 1;
                    }
                }
            }
        }
        any
    }

    /// Not done before there is something to write: with many events it takes dozens of milliseconds, and somebody
    /// waits for the session to start.
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
        while let Some(entry) = self.reader.pop().map_err(|source| Error::Spool { source })? {
            match entry {
                Entry::Page { cpu, bytes, lost } => {
                    self.timeline.lose(cpu, lost);
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
        for (cpu, count) in self.spool.take_untold() {
            self.timeline.lose(cpu, count);
        }
        self.timeline.finish();
        Ok(!std::mem::replace(&mut self.finished, true))
    }

    /// Everything is written that was collected when the collector had done so many sweeps.
    fn caught_up(&mut self, sweeps: u64) -> Result<()> {
        // Only a whole sweep since the last time finds all that a task left which was gone then.
        if let Some(filtering) = &mut self.filter
            && sweeps >= self.caught_up_at + 2
        {
            filtering.tasks.caught_up();
            self.caught_up_at = sweeps;
        }
        match self.collector.has_ended() {
            true => self.collector.finish(),
            false => Ok(()),
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
        let (pid, clone_flags) = (field("pid")?, field("clone_flags")?);
        let mut subjects = HashMap::new();
        for (event, names) in ABOUT_OTHERS {
            // A kernel without the event records none of it.
            let Ok(id) = formatter.load("sched", event) else { continue };
            let fields = formatter.event(id).map(|format| names.iter().filter_map(|name| format.field(name)));
            subjects.insert(id, fields.into_iter().flatten().cloned().collect());
        }
        Ok(Self { tasks, new_task, pid, clone_flags, subjects })
    }

    /// Whether the record passes. A record of a new task is taken note of.
    fn keeps(&mut self, record: &TimelineRecord<'_>, formatter: &Formatter) -> bool {
        let task = formatter.pid(record.data).unwrap_or(0);
        let id = formatter.id(record.data).unwrap_or(0);
        if let Some(fields) = self.subjects.get(&id) {
            let named = fields.iter().filter_map(|field| field.number(record.data)).map(|pid| pid as Pid);
            return self.tasks.keeps_any(&[task].into_iter().chain(named).collect::<Vec<_>>());
        }
        if id != self.new_task {
            return self.tasks.keeps(task);
        }
        let pid = self.pid.number(record.data).unwrap_or(0) as Pid;
        let clone_flags = self.clone_flags.number(record.data).unwrap_or(0) as u64;
        self.tasks.new_task(task, pid, clone_flags);
        self.tasks.keeps(task)
    }
}
