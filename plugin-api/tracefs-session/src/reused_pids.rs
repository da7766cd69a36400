//! Traced tasks with the pid of another traced task, which has just ended.
//!
//! The kernel removes the pid of a task from its filter an RCU grace period after the task was reaped (`delayed_put_task_struct` in
//! kernel/exit.c, `event_filter_pid_sched_process_exit` in kernel/trace/trace_events.c). The pid can be used again at once. If a
//! traced task has got it by then, that task is no longer recorded, and has to be added again.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trace_hook_api::{Result, boot_time};
use trace_session::{Collect, Collector, Notifier, Occasion, Swept};
use trace_tasks::Pid;
use tracefs::PidFilter;

use crate::ended_tasks::{EndedTask, EndedTasks};
use crate::unrecorded::Unrecorded;

/// The time between two looks at the filter.
const REST: Duration = Duration::from_millis(5);
/// Many RCU grace periods: by then, the kernel has removed the pid of the task before.
const WATCHED: Duration = Duration::from_secs(1);
/// The thread sleeps until it is notified.
const UNTIL_NOTIFIED: Duration = Duration::from_secs(3600);

/// A new traced task that has the pid of another one.
#[derive(Debug, Clone, Copy)]
pub struct ReusedPid {
    pub task: Pid,
    /// When it was started, in nanoseconds since boot. It was in the filter then.
    pub started: u64,
}

/// A task that the kernel may remove from its filter.
#[derive(Debug, Clone, Copy)]
struct Watched {
    reused: ReusedPid,
    /// When it was last known to be in the filter.
    seen: u64,
    until: u64,
}

/// Adds tasks again that the kernel has removed from its filter. The thread for it starts with the first one.
#[derive(Debug)]
pub struct PidRestorer {
    filter: PidFilter,
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
    reports: Arc<Reports>,
    watched: Vec<Watched>,
    restored: Unrecorded,
    ended: EndedTasks,
}

impl PidRestorer {
    /// A restorer of tasks in this filter, which notes in `restored` what was not recorded. The records of those that have `ended`
    /// decide whether they were.
    pub fn new(filter: PidFilter, restored: Unrecorded, ended: EndedTasks) -> Self {
        Self { filter, restored, ended, running: None }
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
            None => {
                let (restored, ended) = (self.restored.clone(), self.ended.clone());
                self.running.insert(Restoring::start(self.filter.another(), restored, ended)?)
            }
        };
        if thread.has_ended() {
            return thread.finish().map(drop);
        }
        reports.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        reports.notifier.notify();
        Ok(())
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
    fn start(
        filter: PidFilter,
        restored: Unrecorded,
        ended: EndedTasks,
    ) -> Result<(Arc<Reports>, Collector<Self>)> {
        let failed = |error| trace_hook_api::HookError::new(format!("cannot create an eventfd: {error}"));
        let notifier = Notifier::new().map_err(failed)?;
        let reports = Arc::new(Reports { tasks: Mutex::default(), notifier });
        let thread = Self { filter, reports: Arc::clone(&reports), watched: Vec::new(), restored, ended };
        Ok((reports, Collector::start(thread)?))
    }

    fn take_reports(&mut self) {
        self.reports.notifier.acknowledge();
        let until = boot_time() + WATCHED.as_nanos() as u64;
        let mut tasks = self.reports.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for reused in tasks.drain(..) {
            // Its pid is that of the latest one only.
            self.watched.retain(|watched| watched.reused.task != reused.task);
            self.watched.push(Watched { reused, seen: reused.started, until });
        }
    }

    /// Restores the watched tasks that are alive and not in the filter, and reports those that have ended.
    fn restore(&mut self) -> Result<()> {
        let now = boot_time();
        let missing = self.filter.missing(self.watched.iter().map(|watched| watched.reused.task))?;
        if !missing.is_empty() {
            self.filter.restore(&missing)?;
        }
        let missing: HashSet<Pid> = missing.into_iter().collect();
        for watched in &mut self.watched {
            let task = watched.reused.task;
            let unseen = |now: u64| Duration::from_nanos(now.saturating_sub(watched.seen));
            if missing.contains(&task) {
                self.restored.note(1, unseen(boot_time()));
                watched.until = 0;
            } else if !self.filter.is_alive(task) {
                let (started, counted_in) = (Some(watched.reused.started), self.restored.clone());
                self.ended.report(EndedTask { task, started, counted_in, missing: unseen(now) });
                watched.until = 0;
            }
            watched.seen = now;
        }
        self.watched.retain(|watched| watched.until > now);
        Ok(())
    }
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
