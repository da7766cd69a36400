//! The session of `trace_profile`: samples stacks.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_hook_api::{HookError, LineBuffer, Origin, Request, Result};
use trace_session::spool::Spool;
use trace_session::{Collector, Counts, End, EventSource, Rendered, SPOOL_DIRECTORY, SourceSession};
use trace_stacks::{Folded, FoldedUnit, Modules, Symbolizer};
use trace_tasks::Procfs;

use super::collector::{CollectedCounts, RecordCollector};
use super::process_state::Processes;
use super::recording::Recording;
use super::sampled_time;
use super::throttling::{self, ThrottleReports};
use super::timeline::{Item, Timeline};
use crate::perf_event::{Attributes, Body, ClockOffset, Record, Records};

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
    recording: Recording,
    collector: Collector<RecordCollector>,
    collected: Arc<CollectedCounts>,
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
    /// Records for which the kernel had no room, by CPU, by its own count. Known once recording has stopped.
    lost: BTreeMap<u32, u64>,
    /// The samples per second of CPU time, if none of it is excluded.
    hertz: Option<u64>,
    /// The CPU time of the traced tasks, once recording has stopped.
    cpu_time: Duration,
}

impl ProfileSession {
    /// Starts to collect what is recorded.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(request: &Request, attributes: &Attributes, shape: Output) -> Result<SourceSession<Self>> {
        let (recording, source) = Recording::start(request, attributes)?;
        if source.rings.is_empty() {
            return Err(HookError::new("no CPU has perf events"));
        }
        let procfs = Procfs::at(&request.environment.procfs);
        let fallback_processes = request.tasks.pids.iter().chain(&request.tasks.parents).copied().collect();
        let modules = Arc::new(Modules::new(&request.environment, fallback_processes, request.spool_size));
        let spool = Arc::new(Spool::new(Path::new(SPOOL_DIRECTORY), request.spool_size));
        let symbolizer = Symbolizer::new(procfs.root(), attributes.has_kernel_frames());
        let records =
            RecordCollector::new(source, &request.environment, Arc::clone(&spool), Arc::clone(&modules))?;
        let collected = records.counts();
        Ok(SourceSession::new(Self {
            collector: Collector::start(records)?,
            collected,
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
                Output::Folded(every) => Some(Folded::every(every, FoldedUnit::Samples)),
            },
            throttle_reports: ThrottleReports::default(),
            lost: BTreeMap::new(),
            // The time of all tasks includes that without any.
            hertz: attributes.samples_of_all_time().filter(|_| !request.tasks.all),
            cpu_time: Duration::ZERO,
            recording,
        }))
    }

    /// Renders a record, unless its symbols are still being read.
    fn render(&mut self, record: &Record<'_>, lines: &mut LineBuffer) -> Rendered {
        self.processes.apply(record, &self.modules);
        let stack = match record.body {
            Body::Sample(stack) => stack,
            Body::Throttle => {
                self.write_throttling(record, lines);
                return Rendered::Other;
            }
            _ => return Rendered::Other,
        };
        let code = self.processes.code(record.process);
        let may_wait = self.stopped.is_none_or(|stopped| stopped.elapsed() < SYMBOL_WAIT_AFTER_STOP);
        let Some(frames) = self.symbolizer.resolve(stack, code.map(AsRef::as_ref), may_wait) else {
            return Rendered::Blocked;
        };
        if let Some(folded) = &mut self.folded {
            folded.add(self.processes.comm(record.process, record.thread), frames, 1);
            return Rendered::Event;
        }
        let names = || frames.iter().map(|frame| frame.name.as_bytes());
        lines.add_event(&self.origin(record), "sample", |line| line.list("stack", names()));
        Rendered::Event
    }

    /// A sentence about CPU time without samples. Throttling has lines of its own.
    fn unsampled(&self, lost: u64) -> Option<String> {
        let hertz = self.hertz.filter(|_| !self.throttle_reports.are_any())?;
        sampled_time::warning(self.cpu_time, self.collected.taken() + lost, hertz)
    }

    fn write_throttling(&mut self, record: &Record<'_>, lines: &mut LineBuffer) {
        if self.throttle_reports.should_report(record.cpu, record.time) {
            lines.event(&self.origin(record), "throttled").word("limit", throttling::LIMIT);
        }
    }

    fn origin(&self, record: &Record<'_>) -> Origin<'_> {
        Origin::at(self.clock_offset.boot_time_of(record.time))
            .cpu(record.cpu)
            .pid(record.process)
            .tid(record.thread)
            .comm(self.processes.comm(record.process, record.thread))
    }
}

impl EventSource for ProfileSession {
    fn any_task_alive(&mut self) -> Result<bool> {
        Ok(self.recording.has_live_tasks())
    }

    fn begin_read(&mut self) -> Result<()> {
        self.collector.notifier().acknowledge();
        self.clock_offset.update();
        Ok(())
    }

    fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
        if let Some(folded) = self.folded.as_mut().filter(|folded| folded.is_due()) {
            folded.write(lines, false);
            return Ok(Rendered::Other);
        }
        let item = match self.deferred.take() {
            Some(bytes) => Some(Item::Record(bytes)),
            None => self.timeline.next()?,
        };
        let bytes = match item {
            None => return Ok(Rendered::Nothing),
            Some(Item::Lost(cpu, count)) => {
                lines.lost(cpu, count);
                return Ok(Rendered::Other);
            }
            Some(Item::Record(bytes)) => bytes,
        };
        let Some((_, record)) = Records(&bytes).next() else { return Ok(Rendered::Other) };
        let rendered = self.render(&record, lines);
        if rendered == Rendered::Blocked {
            self.deferred = Some(bytes);
        }
        Ok(rendered)
    }

    fn pause(&mut self, lines: &mut LineBuffer) -> Result<()> {
        self.folded.iter_mut().for_each(|folded| folded.write(lines, false));
        Ok(())
    }

    fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
        if let Some(folded) = &mut self.folded {
            folded.write(lines, true);
            if !folded.is_written(true) {
                return Ok(End::MoreLines);
            }
        }
        for (cpu, count) in self.spool.take_unreported_losses() {
            lines.lost(cpu, count);
        }
        Ok(End::Complete)
    }

    fn stop(&mut self) -> Result<()> {
        let stopped = self.recording.stop();
        self.stopped = Some(Instant::now());
        // The rings stay readable even if stopping failed.
        let finished = self.collector.finish();
        self.timeline.complete();
        let reported = self.collected.lost();
        let counted = self.recording.counted();
        self.lost = counted.lost;
        for (cpu, lost) in &self.lost {
            // The losses after the last record are not in any record.
            let reported = reported.get(cpu).copied().unwrap_or(0);
            self.spool.lose(*cpu, lost.saturating_sub(reported));
        }
        self.cpu_time = counted.cpu_time;
        self.recording.close();
        stopped.and(finished.map(drop))
    }

    fn counts(&self) -> Result<Counts> {
        let mut lost = self.lost.clone();
        for (cpu, reported) in self.collected.lost() {
            // The kernel's own count is known after the stop only, and never before 6.0, but records report most losses.
            let lost = lost.entry(cpu).or_default();
            *lost = (*lost).max(reported);
        }
        lost.retain(|_, lost| *lost > 0);
        let recorded = self.collected.samples() + lost.values().sum::<u64>();
        let unsampled = self.unsampled(lost.values().sum());
        let warnings = self.recording.left_out().cloned().into_iter().chain(unsampled);
        let warnings = warnings.chain(self.modules.left_out());
        Ok(Counts::new(recorded, lost).with_lost(self.spool.refused()).with_warnings(warnings))
    }

    fn take_losing(&mut self) -> BTreeSet<u32> {
        self.spool.take_losing()
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.collector.notifier().as_fd())
    }
}
