//! Since when each task waits for a CPU.

use std::collections::HashMap;

use trace_tasks::Pid;

use super::records::Left;

/// A wait for a CPU that has come to its end.
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

/// The kernel did not tell that a task got a CPU. It had waited for it since, as far as that is known; until when, is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedRun {
    pub since: Option<Since>,
}

/// What the tasks do, as far as it is known. Times are those of the records, in nanoseconds.
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
    /// Perhaps it was about to sleep when somebody woke it.
    Runs {
        woken: bool,
    },
    Sleeps,
}

impl Waits {
    /// Somebody begins to wake the task, which is asleep, or about to be.
    pub fn waking(&mut self, task: Pid, now: u64) {
        let woken = State::Waits { from: now, since: Since::Woken };
        let state = self.tasks.entry(task).or_insert(woken);
        match state {
            State::Runs { woken } => *woken = true,
            // It was preempted on its way to sleep, and has been ready all the time.
            State::Waits { since: Since::Preempted, .. } => {}
            // If it was woken before, it has run and slept in between, and the kernel did not tell.
            State::Sleeps | State::Waits { .. } => *state = woken,
        }
    }

    /// The task is ready.
    pub fn wakeup(&mut self, task: Pid, now: u64) {
        let state = self.tasks.entry(task).or_insert(State::Sleeps);
        match state {
            // It has not gone to sleep after all.
            State::Runs { woken } => *woken = false,
            // The kernel did not tell of the beginning.
            State::Sleeps => *state = State::Waits { from: now, since: Since::Woken },
            State::Waits { .. } => {}
        }
    }

    /// The task was just started.
    pub fn starts(&mut self, task: Pid, now: u64) {
        self.waits(task, now, Since::New);
    }

    /// The task gets a CPU. How long it had waited for it, where that is known.
    pub fn runs(&mut self, task: Pid, now: u64) -> Option<Wait> {
        match self.tasks.insert(task, State::Runs { woken: false }) {
            // The clocks of two CPUs may differ a little.
            Some(State::Waits { from, since }) => Some(Wait { length: now.saturating_sub(from), since }),
            _ => None,
        }
    }

    /// The task leaves its CPU. It may be news that it had one: the kernel does not tell of every switch.
    pub fn leaves(&mut self, task: Pid, left: Left, now: u64) -> Option<MissedRun> {
        let before = match left {
            Left::ForGood => self.tasks.remove(&task),
            Left::Preempted => self.waits(task, now, Since::Preempted),
            Left::ToSleep => match self.tasks.get(&task) {
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

    /// Some records are missing: nobody's state is known any more.
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
    fn a_task_waits_from_the_beginning_of_its_waking() {
        let mut waits = Waits::default();
        waits.waking(TASK, 100);
        waits.wakeup(TASK, 130);
        assert_eq!(waits.runs(TASK, 150), wait(50, Since::Woken));
    }

    #[test]
    fn one_event_of_its_waking_will_do() {
        let mut waits = Waits::default();
        waits.wakeup(TASK, 130);
        assert_eq!(waits.runs(TASK, 150), wait(20, Since::Woken));
        waits.leaves(TASK, Left::ToSleep, 200);
        waits.waking(TASK, 300);
        assert_eq!(waits.runs(TASK, 310), wait(10, Since::Woken));
    }

    #[test]
    fn a_preempted_task_waits_from_the_switch_on() {
        let mut waits = Waits::default();
        waits.leaves(TASK, Left::Preempted, 200);
        waits.waking(TASK, 220);
        assert_eq!(waits.runs(TASK, 250), wait(50, Since::Preempted));
    }

    #[test]
    fn a_new_task_waits_from_its_start() {
        let mut waits = Waits::default();
        waits.starts(TASK, 10);
        assert_eq!(waits.runs(TASK, 15), wait(5, Since::New));
    }

    #[test]
    fn what_was_not_told_is_not_known() {
        let mut waits = Waits::default();
        assert_eq!(waits.runs(TASK, 10), None);
        waits.leaves(TASK, Left::ToSleep, 20);
        assert_eq!(waits.runs(TASK, 30), None, "nobody saw it woken");
        waits.leaves(TASK, Left::Preempted, 40);
        waits.forget();
        assert_eq!(waits.runs(TASK, 50), None);
    }

    #[test]
    fn who_is_woken_before_it_sleeps_goes_on() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.waking(TASK, 20);
        waits.wakeup(TASK, 21);
        waits.leaves(TASK, Left::ToSleep, 30);
        assert_eq!(waits.runs(TASK, 40), None, "it slept later, and nobody saw it woken from that");
    }

    #[test]
    fn who_is_woken_on_its_way_to_sleep_is_ready_at_once() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.waking(TASK, 20);
        waits.leaves(TASK, Left::ToSleep, 21);
        waits.wakeup(TASK, 22);
        assert_eq!(waits.runs(TASK, 30), wait(9, Since::Woken));
    }

    #[test]
    fn a_run_that_was_not_told_of_is_noticed_at_its_end() {
        let mut waits = Waits::default();
        let missed = |since| Some(MissedRun { since });
        assert_eq!(waits.leaves(TASK, Left::ToSleep, 10), None, "it may have run when the session began");
        waits.waking(TASK, 20);
        assert_eq!(waits.leaves(TASK, Left::Preempted, 30), missed(Some(Since::Woken)));
        waits.runs(TASK, 40);
        assert_eq!(waits.leaves(TASK, Left::ToSleep, 50), None);
        assert_eq!(waits.leaves(TASK, Left::ForGood, 60), missed(None));
    }

    #[test]
    fn clocks_that_differ_make_no_endless_wait() {
        let mut waits = Waits::default();
        waits.waking(TASK, 101);
        assert_eq!(waits.runs(TASK, 100), wait(0, Since::Woken));
    }

    #[test]
    fn the_dead_are_forgotten() {
        let mut waits = Waits::default();
        waits.runs(TASK, 10);
        waits.leaves(TASK, Left::ForGood, 20);
        assert!(waits.tasks.is_empty());
    }
}
