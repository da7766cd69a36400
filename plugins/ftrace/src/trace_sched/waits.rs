//! How long each task has been waiting for a CPU.

use std::collections::HashMap;

use super::records::Left;
use trace_tasks::Pid;

/// A wait for a CPU that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// In nanoseconds.
    pub length: u64,
    pub since: Since,
}

/// How a wait for a CPU began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Woken,
    Preempted,
    New,
}

impl Since {
    pub fn name(self) -> &'static str {
        match self {
            Self::Woken => "woken",
            Self::Preempted => "preempted",
            Self::New => "new",
        }
    }
}

/// A run whose beginning was not recorded. How the wait before it began may be known, but not its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedRun {
    pub since: Option<Since>,
}

/// The state of each task, as far as it is known. Times are those of the records, in nanoseconds.
///
/// Bounded: it has only living traced tasks. Each leaves its CPU for the last time in a record, and if that is lost, all are
/// forgotten.
#[derive(Debug, Default)]
pub struct Waits {
    tasks: HashMap<Pid, State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waits {
        from: u64,
        since: Since,
    },
    /// `woken`: it may have been about to sleep when it was woken.
    Runs {
        woken: bool,
    },
    Sleeps,
}

impl Waits {
    /// A task or an interrupt begins to wake the task, which sleeps or is about to.
    pub fn waking(&mut self, task: Pid, now: u64) {
        let woken = State::Waits { from: now, since: Since::Woken };
        let state = self.tasks.entry(task).or_insert(woken);
        match state {
            State::Runs { woken } => *woken = true,
            // It was preempted before it slept, and has been runnable all the time.
            State::Waits { since: Since::Preempted, .. } => {}
            // If it was woken before, it has run and slept since, which was not recorded.
            State::Sleeps | State::Waits { .. } => *state = woken,
        }
    }

    /// The task is runnable.
    pub fn wakeup(&mut self, task: Pid, now: u64) {
        let state = self.tasks.entry(task).or_insert(State::Sleeps);
        match state {
            // It did not sleep after all.
            State::Runs { woken } => *woken = false,
            // The beginning of its waking was not recorded.
            State::Sleeps => *state = State::Waits { from: now, since: Since::Woken },
            State::Waits { .. } => {}
        }
    }

    /// The task was just created.
    pub fn starts(&mut self, task: Pid, now: u64) {
        self.waits(task, now, Since::New);
    }

    /// The task gets a CPU. Returns its wait, if known.
    pub fn runs(&mut self, task: Pid, now: u64) -> Option<Wait> {
        match self.tasks.insert(task, State::Runs { woken: false }) {
            // The clocks of two CPUs may differ a little.
            Some(State::Waits { from, since }) => Some(Wait { length: now.saturating_sub(from), since }),
            _ => None,
        }
    }

    /// The task leaves its CPU. Returns a missed run if it was not known to have one: the kernel does not record every switch.
    pub fn leaves(&mut self, task: Pid, left: Left, now: u64) -> Option<MissedRun> {
        let before = match left {
            Left::Exit => self.tasks.remove(&task),
            Left::Preempted => self.waits(task, now, Since::Preempted),
            Left::Sleep => match self.tasks.get(&task) {
                Some(State::Runs { woken: true }) => self.waits(task, now, Since::Woken),
                _ => self.tasks.insert(task, State::Sleeps),
            },
        };
        match before? {
            State::Waits { since, .. } => Some(MissedRun { since: Some(since) }),
            State::Sleeps => Some(MissedRun { since: None }),
            State::Runs { .. } => None,
        }
    }

    fn waits(&mut self, task: Pid, from: u64, since: Since) -> Option<State> {
        self.tasks.insert(task, State::Waits { from, since })
    }

    /// Some records are missing: no state is known any more.
    pub fn forget(&mut self) {
        self.tasks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Pid = 7;

    fn wait(length: u64, since: Since) -> Option<Wait> {
        Some(Wait { length, since })
    }

    #[test]
    fn wait_begins_when_waking_begins() {
        let mut waits = Waits::default();
        waits.waking(TASK, 100);
        waits.wakeup(TASK, 130);
        assert_eq!(waits.runs(TASK, 150), wait(50, Since::Woken));
    }

    #[test]
    fn either_waking_event_begins_a_wait() {
        let mut waits = Waits::default();
        waits.wakeup(TASK, 130);
        assert_eq!(waits.runs(TASK, 150), wait(20, Since::Woken));
        waits.leaves(TASK, Left::Sleep, 200);
        waits.waking(TASK, 300);
        assert_eq!(waits.runs(TASK, 310), wait(10, Since::Woken));
    }

    #[test]
    fn preempted_task_waits_from_the_switch() {
        let mut waits = Waits::default();
        waits.leaves(TASK, Left::Preempted, 200);
        waits.waking(TASK, 220);
        assert_eq!(waits.runs(TASK, 250), wait(50, Since::Preempted));
    }

    #[test]
    fn new_task_waits_from_its_creation() {
        let mut waits = Waits::default();
        waits.starts(TASK, 10);
        assert_eq!(waits.runs(TASK, 15), wait(5, Since::New));
    }

    #[test]
    fn wait_without_recorded_beginning_is_unknown() {
        let mut waits = Waits::default();
        assert_eq!(waits.runs(TASK, 10), None);
        waits.leaves(TASK, Left::Sleep, 20);
        assert_eq!(waits.runs(TASK, 30), None, "its waking was not recorded");
        waits.leaves(TASK, Left::Preempted, 40);
        waits.forget();
        assert_eq!(waits.runs(TASK, 50), None);
    }

    #[test]
    fn task_woken_while_running_does_not_wait() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.waking(TASK, 20);
        waits.wakeup(TASK, 21);
        waits.leaves(TASK, Left::Sleep, 30);
        assert_eq!(waits.runs(TASK, 40), None, "it slept later, and its waking was not recorded");
    }

    #[test]
    fn task_woken_before_it_sleeps_waits_at_once() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.waking(TASK, 20);
        waits.leaves(TASK, Left::Sleep, 21);
        waits.wakeup(TASK, 22);
        assert_eq!(waits.runs(TASK, 30), wait(9, Since::Woken));
    }

    #[test]
    fn missed_run_is_noticed_at_its_end() {
        let mut waits = Waits::default();
        let missed = |since| Some(MissedRun { since });
        assert_eq!(waits.leaves(TASK, Left::Sleep, 10), None, "it may have run when the session began");
        waits.waking(TASK, 20);
        assert_eq!(waits.leaves(TASK, Left::Preempted, 30), missed(Some(Since::Woken)));
        waits.runs(TASK, 40);
        assert_eq!(waits.leaves(TASK, Left::Sleep, 50), None);
        assert_eq!(waits.leaves(TASK, Left::Exit, 60), missed(None));
    }

    #[test]
    fn skew_between_cpu_clocks_makes_no_endless_wait() {
        let mut waits = Waits::default();
        waits.waking(TASK, 101);
        assert_eq!(waits.runs(TASK, 100), wait(0, Since::Woken));
    }

    #[test]
    fn exited_tasks_are_forgotten() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.leaves(TASK, Left::Exit, 20);
        assert!(waits.tasks.is_empty());
    }
}
