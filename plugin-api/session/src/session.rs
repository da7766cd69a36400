//! The session that all hooks share.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, LineKind, Progress, Result, Session, Stats};

use crate::budget::ReadBudget;
use crate::source::{Counts, End, EventSource, Rendered};

/// How often a session checks whether a traced task is left.
const TASK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Early losses are reported at most this often, so that the reports of a long overload stay few.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A session that renders the items of a source: stops when the last traced task has ended, reads within a budget, and
/// counts.
#[derive(Debug)]
pub struct SourceSession<S> {
    source: S,
    state: State,
    tasks_checked: Instant,
    losses_reported: Option<Instant>,
    /// Events among the rendered items.
    events: u64,
    /// Lines of events that were made.
    lines: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Recording,
    Stopped,
    Finished,
}

impl<S: EventSource> SourceSession<S> {
    /// A session of this source, which is recording.
    pub fn new(source: S) -> Self {
        Self {
            source,
            state: State::Recording,
            tasks_checked: Instant::now(),
            losses_reported: None,
            events: 0,
            lines: 0,
        }
    }

    fn stop_without_tasks(&mut self) -> Result<()> {
        if self.state == State::Recording && self.tasks_checked.elapsed() >= TASK_CHECK_INTERVAL {
            self.tasks_checked = Instant::now();
            if !self.source.any_task_alive()? {
                self.stop()?;
            }
        }
        Ok(())
    }

    fn report_early_losses(&mut self, lines: &mut LineBuffer) {
        if self.losses_reported.is_none_or(|reported| reported.elapsed() >= LOSS_REPORT_INTERVAL) {
            let losses = self.source.take_early_losses();
            if !losses.is_empty() {
                self.losses_reported = Some(Instant::now());
            }
            for (cpu, count) in losses {
                lines.lost(cpu, count);
            }
        }
    }

    fn render(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.source.begin_read()?;
        let mut budget = ReadBudget::begin();
        loop {
            match self.source.render_next(lines)? {
                Rendered::Event => self.events += 1,
                Rendered::Other => {}
                Rendered::Nothing => break,
                Rendered::Blocked => return Ok(Progress::More),
            }
            if lines.is_full() || !budget.allows_another() {
                return Ok(Progress::More);
            }
        }
        if self.state == State::Recording {
            self.source.pause(lines)?;
            return Ok(Progress::Idle);
        }
        match self.source.end(lines)? {
            End::MoreLines => Ok(Progress::More),
            End::Complete => {
                self.state = State::Finished;
                Ok(Progress::Finished)
            }
        }
    }
}

impl<S: EventSource> Session for SourceSession<S> {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        self.stop_without_tasks()?;
        if self.state == State::Finished {
            return Ok(Progress::Finished);
        }
        if lines.is_full() {
            return Ok(Progress::More);
        }
        self.report_early_losses(lines);
        let before = lines.entries().len();
        let progress = self.render(lines);
        let is_event = |entry: &&trace_hook_api::LineEntry| entry.kind() == LineKind::Event;
        self.lines += lines.entries()[before..].iter().filter(is_event).count() as u64;
        progress
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.source.wakes()
    }

    fn stop(&mut self) -> Result<()> {
        match self.state {
            State::Recording => {
                // Also if it fails: what was recorded is still to be read.
                self.state = State::Stopped;
                self.source.stop()
            }
            State::Stopped | State::Finished => Ok(()),
        }
    }

    /// The host counts lines. An event may make none, or several.
    fn stats(&self) -> Result<Stats> {
        let Counts { recorded, lost } = self.source.counts()?;
        Ok(Stats::new((recorded + self.lines).saturating_sub(self.events), lost))
    }

    fn close(&mut self) -> Result<()> {
        let stopped = self.stop();
        self.source.close().and(stopped)
    }
}
