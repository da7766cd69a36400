//! The session of `trace_profile`: samples stacks.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Origin, Progress, Request, Result, Session, Stats};
use trace_session::SPOOL_DIRECTORY;
use trace_session::spool::Spool;
use trace_tasks::Procfs;

use super::collector::Collector;
use super::folded::Folded;
use super::modules::Modules;
use super::process_state::Processes;
use super::recording::{RecordSource, Recording};
use super::symbolizer::Symbolizer;
use super::throttling::{self, ThrottleReports};
use super::timeline::{Item, Timeline};
use crate::perf_event::{Body, ClockOffset, Record, Records};

/// How often it is checked whether any traced task is left.
const TASK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How long after the stop samples wait for symbols that are being read.
const SYMBOL_WAIT_AFTER_STOP: Duration = Duration::from_secs(1);

/// Which lines are made of the samples.
#[derive(Debug)]
pub enum Output {
    /// A line for each sample.
    Samples,
    /// At this interval, a line for each different stack.
    Folded(Duration),
}

/// Turns the kernel's samples into lines.
pub struct ProfileSession {
    recording: Option<Recording>,
    collector: Option<Collector>,
    checked_tasks_at: Instant,
    stopped: Option<Instant>,
    spool: Arc<Spool>,
    timeline: Timeline,
    /// The record before those in the timeline, whose symbols are still being read.
    deferred: Option<Box<[u8]>>,
    processes: Processes,
    modules: Arc<Modules>,
    symbolizer: Symbolizer,
    clock_offset: ClockOffset,
    folded: Option<Folded>,
    throttle_reports: ThrottleReports,
    emitted: Emitted,
    /// Records for which the kernel had no room, by CPU. Known once recording has stopped.
    lost: BTreeMap<u32, u64>,
    /// Samples that were collected. Known once recording has stopped.
    samples: u64,
}

/// What was written so far.
#[derive(Debug, Default)]
struct Emitted {
    samples: u64,
    lines: u64,
}

impl ProfileSession {
    /// Starts to collect what is recorded.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(
        request: &Request,
        recording: Recording,
        source: RecordSource,
        shape: Output,
    ) -> Result<Self> {
        let procfs = Procfs::at(&request.environment.procfs);
        let fallback_processes = request.tasks.pids.iter().chain(&request.tasks.parents).copied().collect();
        let modules = Arc::new(Modules::new(procfs.root(), fallback_processes));
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let symbolizer = Symbolizer::new(procfs.root());
        let collector = Collector::start(source, procfs, Arc::clone(&spool), Arc::clone(&modules))?;
        Ok(Self {
            recording: Some(recording),
            collector: Some(collector),
            checked_tasks_at: Instant::now(),
            stopped: None,
            timeline: Timeline::of(&spool),
            deferred: None,
            spool,
            processes: Processes::default(),
            modules,
            symbolizer,
            clock_offset: ClockOffset::measure(),
            folded: match shape {
                Output::Samples => None,
                Output::Folded(every) => Some(Folded::every(every)),
            },
            throttle_reports: ThrottleReports::default(),
            emitted: Emitted::default(),
            lost: BTreeMap::new(),
            samples: 0,
        })
    }

    fn stop_if_tasks_ended(&mut self) -> Result<()> {
        if self.checked_tasks_at.elapsed() >= TASK_CHECK_INTERVAL
            && let Some(recording) = &mut self.recording
        {
            self.checked_tasks_at = Instant::now();
            if !recording.has_live_tasks() {
                self.stop()?;
            }
        }
        Ok(())
    }

    /// Writes lines until the buffer is full. Returns whether nothing is left to write.
    fn write_lines(&mut self, lines: &mut LineBuffer) -> Result<bool> {
        while !lines.is_full() && !self.folded.as_ref().is_some_and(Folded::is_full) {
            let deferred = self.deferred.take().map(Item::Record);
            match deferred.map_or_else(|| self.timeline.next(), |item| Ok(Some(item)))? {
                None => return Ok(true),
                Some(Item::Lost(cpu, count)) => lines.lost(cpu, Some(count)),
                Some(Item::Record(bytes)) => {
                    if Records(&bytes).any(|(_, record)| !self.write_record(&record, lines)) {
                        self.deferred = Some(bytes);
                        return Ok(false);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Returns whether the record was written. It is not, as long as its symbols are being read.
    fn write_record(&mut self, record: &Record<'_>, lines: &mut LineBuffer) -> bool {
        self.processes.apply(record, &self.modules);
        let stack = match record.body {
            Body::Sample(stack) => stack,
            Body::Throttle => {
                self.write_throttling(record, lines);
                return true;
            }
            _ => return true,
        };
        let code = self.processes.code(record.process);
        let may_wait = self.stopped.is_none_or(|stopped| stopped.elapsed() < SYMBOL_WAIT_AFTER_STOP);
        let Some(frames) = self.symbolizer.resolve(stack, code.map(AsRef::as_ref), may_wait) else {
            return false;
        };
        self.emitted.samples += 1;
        if let Some(folded) = &mut self.folded {
            folded.add(self.processes.comm(record.thread), frames);
            return true;
        }
        self.emitted.lines += 1;
        let names = frames.iter().map(|frame| frame.name.as_bytes());
        lines.event(&self.origin(record), "sample").list("stack", names);
        true
    }

    fn write_throttling(&mut self, record: &Record<'_>, lines: &mut LineBuffer) {
        if self.throttle_reports.should_report(record.cpu, record.time) {
            self.emitted.lines += 1;
            lines.event(&self.origin(record), "throttled").word("limit", throttling::LIMIT);
        }
    }

    fn origin(&self, record: &Record<'_>) -> Origin<'_> {
        Origin::at(self.clock_offset.boot_time_of(record.time))
            .cpu(record.cpu)
            .pid(record.process)
            .tid(record.thread)
            .comm(self.processes.comm(record.thread))
    }
}

impl Session for ProfileSession {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_if_tasks_ended()?;
        if let Some(collector) = &self.collector {
            collector.notifier().acknowledge();
        }
        self.clock_offset.update();
        let is_over = self.recording.is_none();
        let is_all = self.write_lines(lines)?;
        if let Some(folded) = &mut self.folded {
            let is_end = is_over && is_all;
            self.emitted.lines += folded.write(lines, is_end);
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
        self.collector.as_ref().map(|collector| collector.notifier().as_fd())
    }

    fn stop(&mut self) -> Result<()> {
        let (Some(recording), Some(collector)) = (self.recording.take(), &mut self.collector) else {
            return Ok(());
        };
        recording.stop()?;
        self.stopped = Some(Instant::now());
        let reported = collector.finish()?;
        self.timeline.complete();
        self.samples = collector.samples();
        self.lost = recording.lost();
        for (cpu, lost) in &self.lost {
            // The losses after the last record are not in any record.
            let reported = reported.get(cpu).copied().unwrap_or(0);
            self.spool.lose(*cpu, lost.saturating_sub(reported));
        }
        for (cpu, reported) in reported {
            // A kernel before 6.0 does not count them, but its records report most of them.
            let lost = self.lost.entry(cpu).or_default();
            *lost = (*lost).max(reported);
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
        // Counted in lines, as the host does.
        let recorded = (recorded + self.emitted.lines).saturating_sub(self.emitted.samples);
        Ok(Stats::new(recorded, lost))
    }

    fn close(&mut self) -> Result<()> {
        self.stop()?;
        self.collector = None;
        Ok(())
    }
}
