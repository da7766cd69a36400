//! Tasks that are added to the kernel's filter while a session records.
//!
//! The kernel uses the new filter some 40 ms before the write of it returns, and before that the write may have waited for others
//! just as long. If a task ends meanwhile and another one gets its pid, the other one is recorded, and cannot be removed: a filter
//! can only be emptied, whereupon all tasks are recorded. So added tasks are identified by their start when their first record is
//! read, and the records of other tasks are dropped.

use std::collections::{HashMap, HashSet};

use trace_hook_api::boot_time;
use trace_tasks::{Pid, Procfs};
use tracefs::{PidFilter, Result};

use crate::queue::Queue;
use crate::start_time;

/// A task with its start, as [`Procfs::started`] returns it.
#[derive(Debug, Clone, Copy)]
pub struct StartedTask {
    pub task: Pid,
    started: u64,
}

impl StartedTask {
    /// `None` if it does not exist. Call it right after its pid was found: later, that may be the one of another task.
    pub fn find(task: Pid, procfs: &Procfs) -> Option<Self> {
        Some(Self { task, started: procfs.started(task)? })
    }

    /// The same for several tasks.
    pub fn find_all(tasks: impl IntoIterator<Item = Pid>, procfs: &Procfs) -> Vec<Self> {
        tasks.into_iter().filter_map(|task| Self::find(task, procfs)).collect()
    }

    /// Whether its pid is that of another task.
    pub fn is_another(self, procfs: &Procfs) -> bool {
        procfs.started(self.task).is_some_and(|started| started != self.started)
    }
}

/// The tasks that were added, on their way to the thread that renders records.
#[derive(Debug, Clone, Default)]
pub struct Additions(Queue<Addition>);

#[derive(Debug, Clone, Copy)]
struct Addition {
    task: StartedTask,
    /// When the write began, in nanoseconds since boot: there is no record of it before that, or its pid was that of another task.
    since: u64,
}

impl Additions {
    /// Those of these tasks that are missing in the filter.
    ///
    /// # Errors
    ///
    /// The filter cannot be read.
    pub fn missing(filter: &PidFilter, mut tasks: Vec<StartedTask>) -> Result<Vec<StartedTask>> {
        let missing: HashSet<Pid> = filter.missing(tasks.iter().map(|task| task.task))?.into_iter().collect();
        tasks.retain(|task| missing.contains(&task.task));
        // Reading the filter may take as long as writing it.
        tasks.retain(|task| !task.is_another(filter.procfs()));
        Ok(tasks)
    }

    /// Adds these tasks to the filter.
    ///
    /// # Errors
    ///
    /// The filter cannot be written.
    pub fn add(&self, filter: &PidFilter, tasks: &[StartedTask]) -> Result<()> {
        // Before their first records.
        self.report(tasks);
        let tasks: Vec<Pid> = tasks.iter().map(|task| task.task).collect();
        filter.add(&tasks)
    }

    /// Reports tasks that are about to be added.
    pub fn report(&self, tasks: &[StartedTask]) {
        let since = boot_time();
        self.0.add(tasks.iter().map(|&task| Addition { task, since }));
    }

    /// Adds those of these tasks that are missing. Returns whether there were any: then others may have been started meanwhile.
    ///
    /// # Errors
    ///
    /// The filter cannot be read or written.
    pub fn add_missing(&self, filter: &PidFilter, tasks: Vec<StartedTask>) -> Result<bool> {
        if tasks.is_empty() {
            return Ok(false);
        }
        let missing = Self::missing(filter, tasks)?;
        if !missing.is_empty() {
            self.add(filter, &missing)?;
        }
        Ok(!missing.is_empty())
    }
}

/// Added tasks whose first record has not been read yet.
#[derive(Debug, Default)]
pub struct Unidentified {
    reported: Additions,
    tasks: HashMap<Pid, Addition>,
}

impl Unidentified {
    /// Where they are reported.
    pub fn reported(&self) -> Additions {
        self.reported.clone()
    }

    /// Takes what was reported since the last call. Returns whether there was any.
    pub fn take_reported(&mut self) -> bool {
        let reported = self.reported.0.take();
        self.tasks.extend(reported.iter().map(|addition| (addition.task.task, *addition)));
        !reported.is_empty()
    }

    /// Whether this task is one of them.
    pub fn has(&self, task: Pid) -> bool {
        self.tasks.contains_key(&task)
    }

    /// Whether the pid of an added task is that of another one now.
    pub fn is_another(&self, task: Pid, procfs: &Procfs) -> bool {
        self.tasks.get(&task).is_some_and(|addition| addition.task.is_another(procfs))
    }

    /// Identifies the task that a record of this time names. Returns whether it is another one with the pid of an added task.
    pub fn identify(&mut self, task: Pid, time: u64, procfs: &Procfs) -> bool {
        let Some(addition) = self.tasks.get(&task).filter(|addition| addition.since <= time) else {
            return false;
        };
        // If it has ended, it may have been either: most tasks end without another one in the place of them.
        let Some(started) = start_time::started(procfs, task) else { return false };
        let is_another = addition.task.is_another(procfs);
        if is_another && time < started {
            // The record is one of the added task, which has ended since.
            return false;
        }
        self.tasks.remove(&task);
        is_another
    }

    /// Forgets a task whose owner is known from a record of this time.
    pub fn forget(&mut self, task: Pid, time: u64) {
        if self.tasks.get(&task).is_some_and(|addition| addition.since <= time) {
            self.tasks.remove(&task);
        }
    }

    /// Forgets the tasks that do not exist any more. Call it when all their records have been read.
    pub fn prune(&mut self, procfs: &Procfs) {
        self.tasks.retain(|task, _| procfs.exists(*task));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// An added task, in a procfs in which it was started now.
    struct Fixture {
        root: tempfile::TempDir,
        procfs: Procfs,
        unidentified: Unidentified,
        now: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a temporary directory");
            fs::create_dir(root.path().join("7")).expect("a directory");
            let (procfs, unidentified) = (Procfs::at(root.path()), Unidentified::default());
            let mut fixture = Self { root, procfs, unidentified, now: boot_time() };
            fixture.is_started(fixture.now);
            fixture.unidentified.reported().report(&StartedTask::find_all([7], &fixture.procfs));
            assert!(fixture.unidentified.take_reported() && !fixture.unidentified.take_reported());
            fixture
        }

        /// The pid is that of a task that was started then.
        fn is_started(&self, time: u64) {
            let ticks = time / trace_tasks::START_PRECISION;
            let stat = format!("7 (x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0");
            fs::write(self.path().join("stat"), stat).expect("a file");
        }

        fn path(&self) -> std::path::PathBuf {
            self.root.path().join("7")
        }

        /// Whether a record of this time is one of another task.
        fn is_another(&mut self, time: u64) -> bool {
            self.unidentified.identify(7, time, &self.procfs)
        }
    }

    #[test]
    fn a_task_is_identified_by_its_start_once() {
        let mut fixture = Fixture::new();
        let now = fixture.now;
        assert!(!fixture.is_another(now + SECOND) && !fixture.unidentified.has(7));
        fixture.is_started(now + 2 * SECOND);
        // The kernel writes a record when another task gets the pid of one that is in the filter.
        assert!(!fixture.is_another(now + 3 * SECOND));
    }

    #[test]
    fn another_task_is_recognized_from_its_start_on() {
        let mut fixture = Fixture::new();
        let now = fixture.now;
        fixture.is_started(now + 2 * SECOND);
        assert!(fixture.unidentified.is_another(7, &fixture.procfs));
        assert!(!fixture.is_another(now - SECOND), "of one that had the pid before");
        assert!(!fixture.is_another(now + SECOND), "of the added task, which has ended since");
        assert!(fixture.is_another(now + 3 * SECOND));
        assert!(!fixture.unidentified.has(7));
    }

    #[test]
    fn a_task_that_has_ended_is_not_identified() {
        let mut fixture = Fixture::new();
        let now = fixture.now;
        fs::remove_dir_all(fixture.path()).expect("it can be removed");
        assert!(!fixture.is_another(now + SECOND) && fixture.unidentified.has(7));
        fixture.unidentified.forget(7, now - SECOND);
        assert!(fixture.unidentified.has(7));
        fixture.unidentified.prune(&fixture.procfs);
        assert!(!fixture.unidentified.has(7));
    }

    #[test]
    fn tasks_that_do_not_exist_are_not_added() {
        assert!(StartedTask::find_all([u32::MAX], &Procfs::at(Path::new("/proc"))).is_empty());
    }
}
