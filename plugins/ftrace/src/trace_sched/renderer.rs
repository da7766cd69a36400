//! From scheduling records to waits that have ended.

use trace_hook_api::{LineBuffer, Origin, Result};
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::records::{Happened, Records};
use super::waits::{MissedRun, Wait, Waits};
use crate::clock::Clock;

/// A task that has just got a CPU.
pub struct Run<'a> {
    pub origin: Origin<'a>,
    /// Its wait, if known.
    pub wait: Option<Wait>,
    /// The task that had the CPU before.
    pub prev: Pid,
    pub prev_comm: &'a [u8],
}

/// Turns runs into lines.
pub trait Show: Send {
    /// A task has got a CPU.
    fn run(&mut self, run: &Run<'_>, lines: &mut LineBuffer);

    /// A task leaves a CPU, and no record shows when it got it.
    fn missed_run(&mut self, origin: &Origin<'_>, run: MissedRun, lines: &mut LineBuffer);

    /// The time is `now`, in nanoseconds since boot; all earlier runs have been reported.
    fn time_passes(&mut self, now: u64) {
        let _ = now;
    }

    /// See [`Renderer::next_due`].
    fn next_due(&mut self, lines: &mut LineBuffer) -> bool {
        let _ = lines;
        false
    }

    /// The session has ended.
    fn end(&mut self) {}
}

pub struct SchedRenderer<S> {
    records: Records,
    waits: Waits,
    /// The value of `--over`, in nanoseconds.
    over: Option<u64>,
    clock: Clock,
    show: S,
}

impl<S: Show> SchedRenderer<S> {
    pub fn new(stream: &mut EventStream, over: Option<u64>, show: S) -> Result<Self> {
        let records = Records::new(stream)?;
        Ok(Self { records, waits: Waits::default(), over, clock: Clock::default(), show })
    }

    /// With `--over`, there is no line: the length of the wait is not known.
    fn missed_run(&mut self, task: Pid, run: MissedRun, record: &mut Record<'_>, lines: &mut LineBuffer) {
        if self.over.is_some() {
            return;
        }
        let Self { records, show, .. } = self;
        with_origin(record, task, |record, origin| {
            show.missed_run(&origin.comm(records.prev_comm(record)), run, lines);
        });
    }

    fn runs(&mut self, prev: Pid, next: Pid, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let wait = self.waits.runs(next, record.time());
        if self.over.is_some_and(|over| wait.is_none_or(|wait| wait.length <= over)) {
            return;
        }
        let Self { records, show, .. } = self;
        with_origin(record, next, |record, origin| {
            let origin = origin.comm(records.next_comm(record));
            show.run(&Run { origin, wait, prev, prev_comm: records.prev_comm(record) }, lines);
        });
    }
}

impl<S: Show> Renderer for SchedRenderer<S> {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let now = record.time();
        self.clock.record(now);
        self.show.time_passes(now);
        // Each record concerns a traced task, but may name others.
        match self.records.read(record) {
            Some(Happened::Waking(task)) if record.is_traced(task) => self.waits.waking(task, now),
            Some(Happened::Wakeup(task)) if record.is_traced(task) => self.waits.wakeup(task, now),
            Some(Happened::WakeupNew(task)) if record.is_traced(task) => self.waits.starts(task, now),
            Some(Happened::Switch { prev, left, next }) => {
                if record.is_traced(prev)
                    && let Some(run) = self.waits.leaves(prev, left, now)
                {
                    self.missed_run(prev, run, record, lines);
                }
                if record.is_traced(next) {
                    self.runs(prev, next, record, lines);
                }
            }
            _ => {}
        }
    }

    fn lost(&mut self, _gap: Gap) {
        self.waits.forget();
    }

    fn pause(&mut self, _: &mut LineBuffer) {
        if let Some(now) = self.clock.now() {
            self.show.time_passes(now);
        }
    }

    fn next_due(&mut self, lines: &mut LineBuffer) -> bool {
        self.show.next_due(lines)
    }

    fn end(&mut self, _: &mut LineBuffer) {
        self.show.end();
    }
}
