//! Traced tasks with the pid of another traced task, which has just ended.
//!
//! The kernel removes the pid of a task from its filter an RCU grace period after the task was reaped (`delayed_put_task_struct` in
//! kernel/exit.c, `event_filter_pid_sched_process_exit` in kernel/trace/trace_events.c). The pid can be used again at once. If a
//! traced task has got it by then, that task is no longer recorded, and has to be added again.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trace_hook_api::{HookError, Result, boot_time};
use trace_session::{Collect, Collector, Notifier, Occasion, Swept};
use trace_tasks::Pid;
use tracefs::PidFilter;

use crate::additions::{Additions, StartedTask};
use crate::ended_tasks::{EndedTask, EndedTasks};
use crate::start_time;
use crate::unrecorded::Unrecorded;

/// The time between two looks at the filter.
const REST: Duration = Duration::from_millis(5);
/// Many RCU grace periods: by then, the kernel has removed the pid of the task before.
const WATCHED: Duration = Duration::from_secs(1);
/// The thread sleeps until it is notified.
const UNTIL_NOTIFIED: Duration = Duration::from_secs(3600);

/// A new traced task that has the pid of another one. Its clones share what is known about it.
#[derive(Debug, Clone)]
pub struct ReusedPid {
    pub task: Pid,
    /// When it was started, in nanoseconds since boot. It was in the filter then.
    pub started: u64,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    has_ended: AtomicBool,
    is_counted: AtomicBool,
}

impl ReusedPid {
    pub fn new(task: Pid, started: u64) -> Self {
        Self { task, started, known: Arc::default() }
    }

    /// Call it when the record of its end was read.
    pub fn ended(&self) {
        self.known.has_ended.store(true, Ordering::Relaxed);
    }

    /// Counts it as a task that may not have been recorded for this time: once, however often it was not.
    pub fn count_in(&self, not_recorded: &Unrecorded, missing: Duration) {
        let was_counted = self.known.is_counted.swap(true, Ordering::Relaxed);
        not_recorded.note(usize::from(!was_counted), missing);
    }

    /// Whether it is alive. The pid may be that of a later task, which is only noticed if that was started in a later tick (10 ms), or
    /// if the end of this one was recorded.
    fn is_alive(&self, filter: &PidFilter) -> bool {
        // The start is read last: if it is the one of this task, the task that was alive is no later one.
        filter.procfs().is_alive(self.task)
            && start_time::started(filter.procfs(), self.task).is_some_and(|started| started <= self.started)
            && !self.known.has_ended.load(Ordering::Relaxed)
    }
}

/// A task that the kernel may remove from its filter.
#[derive(Debug)]
struct Watched {
    reused: ReusedPid,
    /// When it was last known to be in the filter.
    seen: u64,
    until: u64,
}

impl Watched {
    fn unseen(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.seen))
    }
}

/// Adds tasks again that the kernel has removed from its filter. The thread for it starts with the first one.
#[derive(Debug)]
pub struct PidRestorer {
    filter: PidFilter,
    additions: Additions,
    restored: Unrecorded,
    ended: EndedTasks,
    running: Option<(Arc<Reports>, Collector<Restoring>)>,
}

/// Tasks on their way to the thread.
#[derive(Debug)]
struct Reports {
    tasks: Mutex<Vec<ReusedPid>>,
    notifier: Notifier,
}

#[derive(Debug)]
struct Restoring {
    filter: PidFilter,
    additions: Additions,
    reports: Arc<Reports>,
    watched: Vec<Watched>,
    restored: Unrecorded,
    ended: EndedTasks,
}

impl PidRestorer {
    /// A restorer of tasks in this filter, which reports to `additions` what it adds, and notes in `restored` what was not recorded.
    /// The records of those that have `ended` decide whether they were.
    pub fn new(filter: PidFilter, additions: Additions, restored: Unrecorded, ended: EndedTasks) -> Self {
        Self { filter, additions, restored, ended, running: None }
    }

    /// Adds these tasks again when the kernel removes them.
    ///
    /// # Errors
    ///
    /// The thread cannot be started, or has failed.
    pub fn watch(&mut self, tasks: Vec<ReusedPid>) -> Result<()> {
        if tasks.is_empty() {
            return Ok(());
        }
        let (reports, thread) = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(self.start()?),
        };
        if thread.has_ended() {
            return thread.finish().map(drop);
        }
        reports.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        reports.notifier.notify();
        Ok(())
    }

    fn start(&self) -> Result<(Arc<Reports>, Collector<Restoring>)> {
        let failed = |error| HookError::new(format!("cannot create an eventfd: {error}"));
        let notifier = Notifier::new().map_err(failed)?;
        let reports = Arc::new(Reports { tasks: Mutex::default(), notifier });
        let thread = Restoring {
            filter: self.filter.another(),
            additions: self.additions.clone(),
            reports: Arc::clone(&reports),
            watched: Vec::new(),
            restored: self.restored.clone(),
            ended: self.ended.clone(),
        };
        Ok((reports, Collector::start(thread)?))
    }

    /// Ends the thread.
    ///
    /// # Errors
    ///
    /// The filter could not be read or written.
    pub fn finish(&mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), |(_, mut thread)| thread.finish().map(drop))
    }
}

impl Restoring {
    fn take_reports(&mut self) {
        self.reports.notifier.acknowledge();
        let until = boot_time() + WATCHED.as_nanos() as u64;
        let mut tasks = self.reports.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for reused in tasks.drain(..) {
            // Its pid is that of the latest one only.
            self.watched.retain(|watched| watched.reused.task != reused.task);
            self.watched.push(Watched { seen: reused.started, reused, until });
        }
    }

    /// Restores the watched tasks that are alive and not in the filter, and reports those that have ended.
    fn restore(&mut self) -> Result<()> {
        let now = boot_time();
        let missing = self.filter.missing(self.watched.iter().map(|watched| watched.reused.task))?;
        let missing: HashSet<Pid> = missing.into_iter().collect();
        // After the filter was read: what was missing in it may be a later task with this pid.
        self.report_ended(now);
        let is_removed = |watched: &&Watched| missing.contains(&watched.reused.task);
        let removed: Vec<&ReusedPid> =
            self.watched.iter().filter(is_removed).map(|watched| &watched.reused).collect();
        // Adding takes some 40 ms, in which they can end.
        while self.add_again(&removed)? {}
        let restored = boot_time();
        for watched in &mut self.watched {
            if missing.contains(&watched.reused.task) {
                watched.reused.count_in(&self.restored, watched.unseen(restored));
                // Several tasks may have had the pid before. The kernel removes it once for each of them.
                watched.until = restored + WATCHED.as_nanos() as u64;
            }
            watched.seen = now;
        }
        self.watched.retain(|watched| watched.until > now);
        Ok(())
    }

    /// Adds those that are alive and missing, and what they have started since. Returns whether any was missing.
    fn add_again(&self, removed: &[&ReusedPid]) -> Result<bool> {
        let families = self.filter.families(&living(removed, &self.filter));
        let families = StartedTask::find_all(families, self.filter.procfs());
        Ok(self.additions.add_missing(&self.filter, families)?)
    }

    fn report_ended(&mut self, now: u64) {
        let Self { filter, watched, restored, ended, .. } = self;
        for watched in watched.extract_if(.., |watched| !watched.reused.is_alive(filter)) {
            let (task, missing, counted_in) = (watched.reused.task, watched.unseen(now), restored.clone());
            ended.report(EndedTask { task, reused: Some(watched.reused), counted_in, missing });
        }
    }
}

/// Those that are still alive.
fn living(tasks: &[&ReusedPid], filter: &PidFilter) -> Vec<Pid> {
    tasks.iter().filter(|reused| reused.is_alive(filter)).map(|reused| reused.task).collect()
}

impl Collect for Restoring {
    const NAME: &str = "reused pids";
    const SHORTEST_REST: Duration = Duration::ZERO;

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        if occasion == Occasion::Stopped {
            return Ok(Swept::rest(false, UNTIL_NOTIFIED));
        }
        self.take_reports();
        if self.watched.is_empty() {
            return Ok(Swept::rest(false, UNTIL_NOTIFIED));
        }
        self.restore()?;
        Ok(Swept::rest(false, REST))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.reports.notifier.as_fd()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use trace_tasks::{Follow, SelectedProcesses};
    use tracefs::Instance;

    use super::*;
    use crate::additions::Unidentified;
    use crate::kernel::{self, wait_until};

    /// A process that runs until it is dropped.
    struct Process(Child);

    impl Process {
        fn start() -> Self {
            Self(Command::new("cat").stdin(Stdio::piped()).spawn().expect("there is cat"))
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A restorer for a filter that has only one of two processes.
    struct Fixture {
        other: Process,
        removed: Process,
        restorer: PidRestorer,
        unidentified: Unidentified,
        restored: Unrecorded,
        ended: EndedTasks,
        filter: PidFilter,
        _instance: Instance,
    }

    impl Fixture {
        fn new(instance: Instance) -> Self {
            let (other, removed) = (Process::start(), Process::start());
            let mut selection = SelectedProcesses::new();
            selection.add(other.0.id(), Follow::FAMILY);
            let (filter, _) = instance.choose_tasks(Path::new("/proc"), &selection).expect("tasks");
            let (restored, ended) = (Unrecorded::default(), EndedTasks::default());
            let unidentified = Unidentified::default();
            let (added, another) = (unidentified.reported(), filter.another());
            let restorer = PidRestorer::new(another, added, restored.clone(), ended.clone());
            Self { other, removed, restorer, unidentified, restored, ended, filter, _instance: instance }
        }

        fn watch(&mut self, reused: ReusedPid) {
            self.restorer.watch(vec![reused]).expect("a thread");
        }

        fn is_in_filter(&self) -> bool {
            self.filter.all_tasks().expect("tasks").contains(&self.removed.0.id())
        }

        /// Waits until the removed process is taken for a task that has ended. It must not be restored.
        fn is_taken_for_ended(&self) {
            let mut ended = BTreeSet::new();
            wait_until("the end is reported", || {
                ended.extend(self.ended.take().iter().map(|ended| ended.task));
                ended.contains(&self.removed.0.id())
            });
            assert!(!self.is_in_filter());
            assert_eq!(self.restored.tasks(), 0);
        }
    }

    #[test]
    fn a_task_is_restored_each_time_it_is_removed_and_counted_once() {
        let sweeper = crate::need_tracefs!();
        let mut fixture = Fixture::new(sweeper.create("removed"));
        fixture.watch(ReusedPid::new(fixture.removed.0.id(), boot_time()));
        wait_until("it is counted", || fixture.restored.tasks() == 1);
        assert!(fixture.is_in_filter());
        assert!(fixture.unidentified.take_reported() && fixture.unidentified.has(fixture.removed.0.id()));
        fixture.filter.clear().expect("cleared");
        fixture.filter.add(&[fixture.other.0.id()]).expect("added");
        wait_until("it is restored again", || fixture.is_in_filter());
        fixture.restorer.finish().expect("the filter could be used");
        assert_eq!(fixture.restored.tasks(), 1);
    }

    #[test]
    fn a_task_that_was_started_later_is_not_restored() {
        let sweeper = crate::need_tracefs!();
        let started = boot_time() - Duration::from_secs(1).as_nanos() as u64;
        let mut fixture = Fixture::new(sweeper.create("later"));
        fixture.watch(ReusedPid::new(fixture.removed.0.id(), started));
        fixture.is_taken_for_ended();
    }

    #[test]
    fn a_task_with_the_pid_of_one_whose_end_was_recorded_is_not_restored() {
        let sweeper = crate::need_tracefs!();
        let mut fixture = Fixture::new(sweeper.create("ended"));
        let reused = ReusedPid::new(fixture.removed.0.id(), boot_time());
        reused.ended();
        fixture.watch(reused);
        fixture.is_taken_for_ended();
    }
}
