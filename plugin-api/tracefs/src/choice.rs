//! Choosing the tasks of an instance.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use trace_tasks::{Member, Pid, Procfs, SelectedProcesses};

use crate::available_events::{FIRST_WAKEUP, NEW_TASK, RENAME, TASK_END};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::pid_filter::PidFilter;

impl Instance {
    /// Chooses the tasks whose events are recorded: all living threads of the selected processes and of their descendants,
    /// and all tasks that they start from now on. Call it once, before any event is enabled. If it fails, this instance
    /// refuses to enable events, because it might record every task of the machine.
    ///
    /// Processes that join a selected cgroup later have to be added ([`PidFilter::add`]): the kernel has no filter for cgroups.
    ///
    /// The kernel can only follow processes with all their descendants. For a narrower selection
    /// ([`Follow::ALONE`](trace_tasks::Follow::ALONE), [`Follow::CHILDREN`](trace_tasks::Follow::CHILDREN)) this enables
    /// `task:task_newtask`, whose records show which tasks belong to it.
    ///
    /// Returns the kernel's filter, and the threads that were alive.
    ///
    /// # Errors
    /// [`Error::EventsBeforeTasks`]; [`Error::Tasks`]: no selected task is alive, or `procfs` is not that of the initial pid
    /// namespace; [`Error::NoNewTaskEvent`]: the selection needs `task:task_newtask`, which the kernel does not have.
    pub fn choose_tasks(
        &self,
        procfs: &Path,
        selection: &SelectedProcesses,
    ) -> Result<(PidFilter, HashMap<Pid, Member>)> {
        if self.events_enabled.load(Ordering::Relaxed) {
            return Err(Error::EventsBeforeTasks);
        }
        self.lacks_tasks.store(true, Ordering::Relaxed);
        let has_new_task_event = self.has_new_task_event();
        if selection.needs_new_tasks() && !has_new_task_event {
            return Err(Error::NoNewTaskEvent);
        }

        let procfs = Procfs::of_initial_namespace(procfs)?;
        let members = selection.members(&procfs);
        let mut filter = PidFilter::new(&self.dir, procfs);
        self.set_option("event-fork", true)?;
        let members = if selection.is_all() {
            if let Err(error) = filter.exclude(selection.excluded()) {
                // The records of these processes are dropped when they are read.
                log::debug!("{error}");
            }
            members
        } else {
            filter.fill(selection, members)?
        };
        if !selection.may_grow() && !filter.any_alive()? {
            return Err(selection.none_left().into());
        }
        self.lacks_tasks.store(false, Ordering::Relaxed);

        // With the first two events, a reader knows the name of every task at any time; without them, some names are guesses.
        // The third shows that a pid in the filter now belongs to a task that is not traced. The fourth shows that a task was still
        // in the filter at its end.
        let with_filter = [FIRST_WAKEUP, TASK_END].into_iter().filter(|_| !selection.is_all());
        for event in [NEW_TASK, RENAME].into_iter().chain(with_filter) {
            if let Err(error) = self.enable_quietly(event) {
                log::debug!("{error}");
            }
        }
        if has_new_task_event && selection.needs_new_tasks() {
            self.needs_new_tasks.store(true, Ordering::Relaxed);
            self.enable_quietly(NEW_TASK)?;
        }
        Ok((filter, members))
    }

    /// Whether this kernel has an event for each new task.
    pub fn has_new_task_event(&self) -> bool {
        self.tracefs().has_event(NEW_TASK.0, NEW_TASK.1)
    }
}
