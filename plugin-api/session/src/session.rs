//! The session that all hooks share.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, LineEntry, LineKind, Progress, Result, Session, Stats};

use crate::budget::ReadBudget;
use crate::source::{Counts, End, EventSource, Rendered};

/// How often a session checks whether a traced task is alive.
const TASK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The shortest time between two notices of losses, which limits their number in a long overload.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A session that renders the items of a source. It stops when the last traced task has ended, reads within a budget, and
/// counts.
#[derive(Debug)]
pub struct SourceSession<S> {
    source: S,
    state: State,
    tasks_checked: Instant,
    losses_reported: Option<Instant>,
    /// Events among the rendered items.
    events: u64,
    /// Event lines written.
    lines: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Recording,
    Stopped,
    Finished,
}

impl<S: EventSource> SourceSession<S> {
    /// A session of a source that is recording.
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

    /// Reports that events are being lost, without a number: that comes where the gap is, behind the backlog.
    fn report_losing(&mut self, lines: &mut LineBuffer) {
        if self.losses_reported.is_none_or(|reported| reported.elapsed() >= LOSS_REPORT_INTERVAL) {
            let losing = self.source.take_losing();
            if !losing.is_empty() {
                self.losses_reported = Some(Instant::now());
            }
            for cpu in losing {
                lines.lost(cpu, None);
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
            return Ok(if lines.is_full() { Progress::More } else { Progress::Idle });
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
        self.report_losing(lines);
        let (before, left_out) = (lines.entries().len(), lines.left_out());
        let progress = self.render(lines);
        let is_event = |entry: &&LineEntry| entry.kind() == LineKind::Event;
        self.lines += lines.entries()[before..].iter().filter(is_event).count() as u64;
        self.lines += lines.left_out() - left_out;
        progress
    }

    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.source.wakes()
    }

    fn stop(&mut self) -> Result<()> {
        match self.state {
            State::Recording => {
                // Even if stopping fails, what was recorded is still read.
                self.state = State::Stopped;
                self.source.stop()
            }
            State::Stopped | State::Finished => Ok(()),
        }
    }

    /// The host counts lines, and an event may have none or several.
    fn stats(&self) -> Result<Stats> {
        let Counts { recorded, lost, warnings } = self.source.counts()?;
        let recorded = (recorded + self.lines).saturating_sub(self.events);
        Ok(Stats::new(recorded, lost).with_warnings(warnings))
    }

    fn close(&mut self) -> Result<()> {
        let stopped = self.stop();
        self.source.close().and(stopped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use nix::time::ClockId;
    use trace_hook_api::HookError;

    use super::*;

    /// The host's limit for a read.
    const READ_LIMIT: Duration = Duration::from_millis(20);

    /// A source without a kernel.
    struct Synthetic {
        /// Remaining items; `None` for an endless supply.
        items: Option<u64>,
        /// The CPU time of an item.
        cost: Duration,
        lines_per_item: u64,
        rendered: u64,
        tasks_alive: bool,
        stop_fails: bool,
        stopped: bool,
        losing: BTreeSet<u32>,
    }

    impl Synthetic {
        fn endless(cost: Duration) -> SourceSession<Self> {
            Self::session(None, cost, 0)
        }

        fn session(items: Option<u64>, cost: Duration, lines_per_item: u64) -> SourceSession<Self> {
            SourceSession::new(Self {
                items,
                cost,
                lines_per_item,
                rendered: 0,
                tasks_alive: true,
                stop_fails: false,
                stopped: false,
                losing: BTreeSet::new(),
            })
        }
    }

    impl EventSource for Synthetic {
        fn any_task_alive(&mut self) -> Result<bool> {
            Ok(self.tasks_alive)
        }

        fn render_next(&mut self, lines: &mut LineBuffer) -> Result<Rendered> {
            match &mut self.items {
                Some(0) => return Ok(Rendered::Nothing),
                Some(items) => *items -= 1,
                None => {}
            }
            let began = Instant::now();
            while began.elapsed() < self.cost {}
            self.rendered += 1;
            (0..self.lines_per_item).for_each(|_| lines.push("line"));
            Ok(Rendered::Event)
        }

        fn end(&mut self, lines: &mut LineBuffer) -> Result<End> {
            lines.push("summary");
            Ok(End::Complete)
        }

        fn stop(&mut self) -> Result<()> {
            self.stopped = true;
            if self.stop_fails { Err(HookError::new("one part failed")) } else { Ok(()) }
        }

        fn counts(&self) -> Result<Counts> {
            Ok(Counts::new(self.rendered + self.items.unwrap_or(0), BTreeMap::new()))
        }

        fn take_losing(&mut self) -> BTreeSet<u32> {
            std::mem::take(&mut self.losing)
        }
    }

    /// The CPU time of a read, which does not depend on the load of the machine.
    fn read_time(session: &mut SourceSession<Synthetic>) -> Duration {
        let mut lines = LineBuffer::with_room(1 << 16);
        let cpu_time = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
        let began = cpu_time();
        assert_eq!(session.read(&mut lines), Ok(Progress::More));
        assert!(lines.as_bytes().is_empty());
        cpu_time() - began
    }

    #[test]
    fn read_without_lines_returns_in_time() {
        for cost in [Duration::ZERO, Duration::from_micros(100), Duration::from_millis(1)] {
            let time = read_time(&mut Synthetic::endless(cost));
            assert!(time < READ_LIMIT, "{time:?} with items of {cost:?}");
        }
    }

    #[test]
    fn read_renders_a_limited_number_of_items() {
        let mut session = Synthetic::endless(Duration::ZERO);
        let mut lines = LineBuffer::with_room(1 << 16);
        assert_eq!(session.read(&mut lines), Ok(Progress::More));
        assert!((1..=1 << 14).contains(&session.source.rendered), "{}", session.source.rendered);
    }

    #[test]
    fn all_items_are_rendered_after_stop_over_several_reads() {
        let items = 50_000;
        let mut session = Synthetic::session(Some(items), Duration::ZERO, 0);
        session.stop().expect("stopped");
        let mut lines = LineBuffer::with_room(1 << 16);
        let mut reads = 1;
        while session.read(&mut lines) == Ok(Progress::More) {
            reads += 1;
        }
        assert!(reads > 3, "{reads} reads");
        assert_eq!((session.source.rendered, lines.as_bytes()), (items, &b"summary\n"[..]));
        assert_eq!(session.read(&mut lines), Ok(Progress::Finished));
        assert_eq!(lines.events(), 1, "the last lines are written once");
    }

    #[test]
    fn failed_stop_is_reported_and_loses_no_items() {
        let mut session = Synthetic::session(Some(10), Duration::ZERO, 1);
        session.source.stop_fails = true;
        assert_eq!(session.stop().unwrap_err().message(), "one part failed");
        let mut lines = LineBuffer::with_room(1 << 16);
        assert_eq!(session.read(&mut lines), Ok(Progress::Finished));
        assert_eq!(lines.events(), 11);
        assert_eq!(session.stop(), Ok(()), "the failure is reported once");
    }

    #[test]
    fn session_stops_when_its_last_task_has_ended() {
        let mut session = Synthetic::session(Some(1), Duration::ZERO, 1);
        let mut lines = LineBuffer::with_room(1 << 16);
        session.source.tasks_alive = false;
        session.tasks_checked = Instant::now() - TASK_CHECK_INTERVAL;
        assert_eq!(session.read(&mut lines), Ok(Progress::Finished));
        assert!(session.source.stopped);
        assert_eq!(lines.as_bytes(), b"line\nsummary\n");
    }

    #[test]
    fn stats_count_lines_of_events_with_none_or_several() {
        for lines_per_item in [0, 1, 3] {
            let mut session = Synthetic::session(Some(10), Duration::ZERO, lines_per_item);
            assert_eq!(session.stats().unwrap().recorded, Some(10), "nothing is rendered yet");
            session.stop().unwrap();
            let mut lines = LineBuffer::with_room(1 << 16);
            while session.read(&mut lines) != Ok(Progress::Finished) {}
            assert_eq!(session.stats().unwrap().recorded, Some(lines.events()));
        }
    }

    #[test]
    fn losing_is_reported_before_the_backlog() {
        let mut session = Synthetic::session(Some(1), Duration::ZERO, 1);
        session.source.losing = BTreeSet::from([3]);
        let mut lines = LineBuffer::with_room(1 << 16);
        session.read(&mut lines).unwrap();
        assert_eq!(lines.as_bytes(), b"CPU:3 [LOST EVENTS]\nline\n");
        session.source.losing = BTreeSet::from([3]);
        session.read(&mut lines).unwrap();
        assert_eq!(lines.losses().len(), 1, "reports are rare");
        session.losses_reported = Some(Instant::now() - LOSS_REPORT_INTERVAL);
        session.read(&mut lines).unwrap();
        assert_eq!(lines.losses().len(), 2);
    }
}
