//! A session that samples stacks.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Origin, Progress, Request, Result, Session, Stats};
use tracefs::Procfs;
use tracefs::spool::Spool;
use tracefs_session::SPOOL_DIRECTORY;

use super::collector::Collector;
use super::folded::Folded;
use super::modules::Modules;
use super::processes::Processes;
use super::recording::{Recording, Source};
use super::stacks::Stacks;
use super::throttling::{self, Throttling};
use super::timeline::{Item, Timeline};
use crate::perf_event::{Ahead, Body, Record, Records};

/// Between two looks whether any traced task is left.
const LOOK_FOR_TASKS: Duration = Duration::from_millis(50);

/// For so long after the end it is waited for names.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What lines are made of samples.
#[derive(Debug)]
pub enum Shape {
    /// A line each.
    Samples,
    /// A line for each different stack, every so often.
    Folded(Duration),
}

/// Samples on their way from the kernel to lines.
pub struct ProfileSession {
    recording: Option<Recording>,
    collector: Option<Collector>,
    looked_for_tasks: Instant,
    stopped: Option<Instant>,
    spool: Arc<Spool>,
    timeline: Timeline,
    /// A record that comes before all that are in the timeline.
    put_off: Option<Box<[u8]>>,
    processes: Processes,
    modules: Arc<Modules>,
    stacks: Stacks,
    ahead: Ahead,
    folded: Option<Folded>,
    throttling: Throttling,
    shown: Shown,
    /// All that the kernel had no room for, by CPU, once that is known.
    lost: BTreeMap<u32, u64>,
    /// Wanted samples that have come, once that is known.
    samples: u64,
}

/// What was made of the samples.
#[derive(Debug, Default)]
struct Shown {
    samples: u64,
    lines: u64,
}

impl ProfileSession {
    /// Takes over what was started.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub fn start(request: &Request, recording: Recording, source: Source, shape: Shape) -> Result<Self> {
        let procfs = Procfs::at(&request.environment.procfs);
        let relatives = request.tasks.pids.iter().chain(&request.tasks.parents).copied().collect();
        let modules = Arc::new(Modules::new(procfs.root(), relatives));
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let stacks = Stacks::new(procfs.root());
        let collector = Collector::start(source, procfs, Arc::clone(&spool), Arc::clone(&modules))?;
        Ok(Self {
            recording: Some(recording),
            collector: Some(collector),
            looked_for_tasks: Instant::now(),
            stopped: None,
            timeline: Timeline::of(&spool),
            put_off: None,
            spool,
            processes: Processes::default(),
            modules,
            stacks,
            ahead: Ahead::measured(),
            folded: match shape {
                Shape::Samples => None,
                Shape::Folded(every) => Some(Folded::every(every)),
            },
            throttling: Throttling::default(),
            shown: Shown::default(),
            lost: BTreeMap::new(),
            samples: 0,
        })
    }

    fn stop_without_tasks(&mut self) -> Result<()> {
        if self.looked_for_tasks.elapsed() >= LOOK_FOR_TASKS
            && let Some(recording) = &mut self.recording
        {
            self.looked_for_tasks = Instant::now();
            if !recording.any_alive() {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// Makes lines of what has come, as far as there is room. Returns whether that is all.
    fn show(&mut self, lines: &mut LineBuffer) -> Result<bool> {
        while !lines.is_full() && !self.folded.as_ref().is_some_and(Folded::is_full) {
            let put_off = self.put_off.take().map(Item::Record);
            match put_off.map_or_else(|| self.timeline.next(), |item| Ok(Some(item)))? {
                None => return Ok(true),
                Some(Item::Lost(cpu, count)) => lines.lost(cpu, Some(count)),
                Some(Item::Record(bytes)) => {
                    if Records(&bytes).any(|(_, record)| !self.show_record(&record, lines)) {
                        self.put_off = Some(bytes);
                        return Ok(false);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether it could be done. It cannot as long as it pays to wait for names.
    fn show_record(&mut self, record: &Record<'_>, lines: &mut LineBuffer) -> bool {
        self.processes.note(record, &self.modules);
        let stack = match record.body {
            Body::Sample(stack) => stack,
            Body::Throttled => {
                self.show_throttling(record, lines);
                return true;
            }
            _ => return true,
        };
        let code = self.processes.code(record.process);
        let may_wait = self.stopped.is_none_or(|stopped| stopped.elapsed() < LAST_WAIT);
        let Some(frames) = self.stacks.resolve(stack, code.map(AsRef::as_ref), may_wait) else {
            return false;
        };
        self.shown.samples += 1;
        if let Some(folded) = &mut self.folded {
            folded.add(self.processes.name(record.thread), frames);
            return true;
        }
        self.shown.lines += 1;
        let names = frames.iter().map(|frame| frame.name.as_bytes());
        lines.event(&self.origin(record), "sample").list("stack", names);
        true
    }

    fn show_throttling(&mut self, record: &Record<'_>, lines: &mut LineBuffer) {
        if self.throttling.is_to_tell(record.cpu, record.time) {
            self.shown.lines += 1;
            lines.event(&self.origin(record), "throttled").word("limit", throttling::LIMIT);
        }
    }

    fn origin(&self, record: &Record<'_>) -> Origin<'_> {
        Origin::at(self.ahead.time_of_line(record.time))
            .cpu(record.cpu)
            .pid(record.process)
            .tid(record.thread)
            .comm(self.processes.name(record.thread))
    }
}

impl Session for ProfileSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_tasks()?;
        if let Some(collector) = &self.collector {
            collector.found().answer();
        }
        self.ahead.update();
        let is_over = self.recording.is_none();
        let is_all = self.show(lines)?;
        if let Some(folded) = &mut self.folded {
            let is_end = is_over && is_all;
            self.shown.lines += folded.write(lines, is_end);
            if !folded.is_written(is_end) {
                return Ok(Progress::More);
            }
        }
        if !is_all {
            return Ok(Progress::More);
        }
        if !is_over {
            return Ok(Progress::Idle);
        }
        for (cpu, count) in self.spool.take_untold() {
            lines.lost(cpu, Some(count));
        }
        Ok(Progress::Finished)
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.collector.as_ref().map(|collector| collector.found().as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        let (Some(recording), Some(collector)) = (self.recording.take(), &mut self.collector) else {
            return Ok(());
        };
        recording.stop()?;
        self.stopped = Some(Instant::now());
        let told = collector.finish()?;
        self.timeline.complete();
        self.samples = collector.samples();
        self.lost = recording.lost();
        for (cpu, lost) in &self.lost {
            // What there was no room for after the last record, no record tells.
            let told = told.get(cpu).copied().unwrap_or(0);
            self.spool.lose(*cpu, lost.saturating_sub(told));
        }
        for (cpu, told) in told {
            // A kernel that does not count them tells most of them at least.
            let lost = self.lost.entry(cpu).or_default();
            *lost = (*lost).max(told);
        }
        self.lost.retain(|_, lost| *lost > 0);
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let mut lost = self.lost.clone();
        let recorded = self.samples + lost.values().sum::<u64>();
        for (cpu, refused) in self.spool.refused() {
            *lost.entry(cpu).or_default() += refused;
        }
        // The host counts lines.
        let recorded = (recorded + self.shown.lines).saturating_sub(self.shown.samples);
        Ok(Stats::new(recorded, lost))
    }

    fn close(&mut self) -> Result<()> {
        self.stop()?;
        self.collector = None;
        Ok(())
    }
}
