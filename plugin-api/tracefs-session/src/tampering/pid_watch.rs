//! Whether the kernel's pid filter is still that of the session.
//!
//! The kernel itself adds and removes tasks, and an empty filter can also be one whose tasks have all ended. So some living tasks
//! of it are watched: while one of them is alive, it has to be in the filter.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use trace_tasks::{Pid, Procfs, START_PRECISION, SelectedProcesses, WatchedTask};
use tracefs::{PidFilter, Result};

use super::FilterTrust;
use crate::additions::{Additions, StartedTask};
use crate::joined::Joined;

/// The tasks in a filter that are looked at. The others of a longer one are not compared.
const MOST: usize = 8192;
/// The tasks that are watched.
const WATCHED: usize = 8;
/// Of the tasks that are new in the filter, so many are examined in a look.
const EXAMINED: usize = 64;

/// Some living tasks that were in the filter at the last look.
#[derive(Debug, Clone, Default)]
pub struct WatchedTasks(Arc<Mutex<Vec<WatchedTask>>>);

/// Looks at the filter.
#[derive(Debug)]
pub struct PidWatch {
    filter: PidFilter,
    selection: SelectedProcesses,
    watched: WatchedTasks,
    trust: FilterTrust,
    /// The tasks in the filter at the last look, and when that began, by the clock of [`Procfs::now`]. `None` before the first.
    seen: Option<(Vec<Pid>, u64)>,
    joined: Joined,
    additions: Additions,
    /// The tasks that the session had added between the last two looks: the kernel may have used the filter with them later.
    joined_before: BTreeSet<Pid>,
    /// The last look found none of the watched tasks in the filter.
    doubted: bool,
}

/// What another process did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidChange {
    /// The filter does not have the traced tasks any more.
    Replaced,
    /// Tasks that are not traced are in the filter.
    Added,
    /// All tasks are traced, but the filter has some.
    Filled,
    /// Tasks are excluded that the session did not exclude.
    Excluded,
    /// Excluded tasks are no longer excluded.
    Included,
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidLook {
    /// As it should be.
    Good,
    /// To be decided by another look soon: the kernel may be about to change the filter.
    Doubtful,
    Changed(PidChange),
}

impl WatchedTasks {
    /// Whether any of them is alive that counts.
    pub fn any_alive(&self, counts: impl Fn(Pid) -> bool) -> bool {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().any(|task| counts(task.id()) && task.is_alive())
    }
}

impl PidWatch {
    pub fn new(
        filter: PidFilter,
        selection: SelectedProcesses,
        joined: Joined,
        additions: Additions,
        trust: FilterTrust,
    ) -> Self {
        let (watched, joined_before) = (WatchedTasks::default(), BTreeSet::new());
        let (seen, doubted) = (None, false);
        Self { filter, selection, watched, trust, seen, joined, additions, joined_before, doubted }
    }

    pub fn watched(&self) -> WatchedTasks {
        self.watched.clone()
    }

    /// Whether the last look was doubtful.
    pub fn is_in_doubt(&self) -> bool {
        self.doubted
    }

    /// Compares the filter with what it was.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read.
    pub fn look(&mut self) -> Result<PidLook> {
        if let Some(change) = self.exclusion_change()? {
            return Ok(PidLook::Changed(change));
        }
        let began = Procfs::now();
        let tasks = self.filter.first_tasks(MOST)?;
        if self.selection.is_all() {
            return Ok(if tasks.is_empty() { PidLook::Good } else { PidLook::Changed(PidChange::Filled) });
        }
        if tasks.len() < MOST && self.filter.lacks_placeholder(&tasks) {
            return Ok(PidLook::Changed(PidChange::Replaced));
        }
        // After the filter was read: a task that is alive now was alive then.
        if self.lacks_watched(&tasks) {
            if tasks.is_empty() || self.doubted {
                return Ok(PidLook::Changed(PidChange::Replaced));
            }
            self.doubted = true;
            return Ok(PidLook::Doubtful);
        }
        self.doubted = false;
        let has_foreign = self.has_foreign(&tasks);
        self.watch(&tasks);
        self.seen = Some((tasks, began));
        Ok(if has_foreign { PidLook::Changed(PidChange::Added) } else { PidLook::Good })
    }

    /// Undoes a change, as far as it can be done without recording other tasks.
    ///
    /// # Errors
    ///
    /// The kernel refuses it.
    pub fn restore(&mut self, change: PidChange) -> Result<()> {
        match change {
            PidChange::Replaced => {
                // Before more records can be made.
                self.trust.lose();
                self.doubted = false;
                self.filter.restore_placeholder()?;
                self.complete()?;
                // The tasks that are not traced have been reported with those that were.
                self.seen = Some((self.filter.first_tasks(MOST)?, Procfs::now()));
                Ok(())
            }
            PidChange::Added => {
                self.trust.lose();
                Ok(())
            }
            PidChange::Filled => self.filter.clear(),
            PidChange::Excluded => self.filter.exclude_none(),
            PidChange::Included => self.filter.exclude(self.selection.excluded()),
        }
    }

    /// Adds the traced tasks that are missing in the filter.
    ///
    /// # Errors
    ///
    /// The kernel's filter cannot be read or written.
    pub fn complete(&self) -> Result<()> {
        if self.selection.is_all() {
            return Ok(());
        }
        // Also the families of those whose parents have ended.
        let processes = self.survivors().into_iter().filter_map(|task| self.filter.procfs().status(task));
        let mut families = SelectedProcesses::families(processes.map(|status| status.process));
        self.selection.excluded().for_each(|process| families.exclude(process));
        while self.add_missing(&[&self.selection, &families])? {}
        Ok(())
    }

    /// Adds the tasks of these selections that are missing. Returns whether there were any.
    fn add_missing(&self, selections: &[&SelectedProcesses]) -> Result<bool> {
        let procfs = self.filter.procfs();
        let members = selections.iter().flat_map(|selection| selection.members(procfs).into_keys());
        self.additions.add_missing(&self.filter, StartedTask::find_all(members, procfs))
    }

    /// The tasks that were in the filter at the last look and are alive. Their pids may be used again.
    fn survivors(&self) -> Vec<Pid> {
        let Some((tasks, at)) = &self.seen else { return Vec::new() };
        let is_the_same =
            |task: &Pid| self.filter.procfs().started(*task).is_some_and(|started| started < *at);
        tasks.iter().copied().filter(is_the_same).collect()
    }

    fn exclusion_change(&self) -> Result<Option<PidChange>> {
        let excludes_any = self.filter.excludes_any()?;
        let procfs = self.filter.procfs();
        let should =
            self.selection.is_all() && self.selection.excluded().any(|process| procfs.is_alive(process));
        Ok(match (excludes_any, should) {
            (true, _) if !self.selection.is_all() => Some(PidChange::Excluded),
            (false, true) => Some(PidChange::Included),
            _ => None,
        })
    }

    fn lacks_watched(&self, tasks: &[Pid]) -> bool {
        let mut watched = self.watched.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(WatchedTask::is_alive);
        let is_in_filter = |task: &WatchedTask| tasks.binary_search(&task.id()).is_ok();
        !watched.is_empty() && tasks.len() < MOST && !watched.iter().any(is_in_filter)
    }

    fn watch(&self, tasks: &[Pid]) {
        let mut watched = self.watched.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &task in tasks {
            if watched.len() >= WATCHED {
                return;
            }
            if watched.iter().all(|known| known.id() != task) {
                let opened = WatchedTask::open(self.filter.procfs(), task);
                watched.extend(opened.filter(WatchedTask::is_alive));
            }
        }
    }

    /// Whether a task was added that existed before, is no relative of those that were there, and has not joined a cgroup.
    fn has_foreign(&mut self, tasks: &[Pid]) -> bool {
        let joined = self.joined.take_unwatched();
        let joined_before = mem::replace(&mut self.joined_before, joined.clone());
        let Some((seen, at)) = &self.seen else { return false };
        let was_there = |task: Pid| {
            seen.binary_search(&task).is_ok() || joined.contains(&task) || joined_before.contains(&task)
        };
        let is_member = |process: Pid| {
            let mut cgroups = self.selection.cgroups().iter();
            cgroups.any(|cgroup| cgroup.processes().contains(&process))
        };
        let procfs = self.filter.procfs();
        let is_foreign = |task: &Pid| {
            procfs.started(*task).is_some_and(|started| started + START_PRECISION < *at)
                && procfs.status(*task).is_some_and(|status| {
                    !was_there(status.process) && !was_there(status.parent) && !is_member(status.process)
                })
        };
        let new = tasks.iter().filter(|task| !was_there(**task));
        seen.len() < MOST && new.take(EXAMINED).any(is_foreign)
    }
}
