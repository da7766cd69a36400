//! Choosing the tasks of an instance.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use trace_tasks::{Member, Pid, Procfs, TaskSelection};

use crate::available_events::{NEW_TASK, RENAME};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::pid_filter::PidFilter;

impl Instance {
    /// Chooses the tasks whose events are recorded: all living threads of the selected processes and of their descendants,
    /// and all that they start from now on. To be called once, before any event is enabled; if it fails, this instance
    /// refuses to enable events, because that might record every task of the machine.
    ///
    /// The kernel follows whole families only. Where less is selected ([`Follow::ALONE`](trace_tasks::Follow::ALONE),
    /// [`Follow::CHILDREN`](trace_tasks::Follow::CHILDREN)) the records of `task:task_newtask`, which are enabled then, tell
    /// the rest apart.
    ///
    /// Returns the kernel's filter, and the threads that were alive.
    ///
    /// # Errors
    /// [`Error::EventsBeforeTasks`]; [`Error::Tasks`]: none is left, or `procfs` is not that of the initial pid namespace;
    /// [`Error::NoNewTaskEvent`] if less than families is selected and the kernel does not announce new tasks.
    pub fn choose_tasks(
        &self,
        procfs: &Path,
        selection: &TaskSelection,
    ) -> Result<(PidFilter, HashMap<Pid, Member>)> {
        if self.events_enabled.load(Ordering::Relaxed) {
            return Err(Error::EventsBeforeTasks);
        }
        self.lacks_tasks.store(true, Ordering::Relaxed);
        let has_new_tasks = self.announces_new_tasks();
        if !selection.is_families() && !has_new_tasks {
            return Err(Error::NoNewTaskEvent);
        }

        let procfs = Procfs::of_initial_namespace(procfs)?;
        // Looked up first: the kernel may still be busy with the clock when the option is set.
        let members = selection.members(&procfs);
        let filter = PidFilter::new(&self.dir, procfs);
        self.set_option("event-fork", true)?;
        let members = filter.fill(selection, members)?;
        if !filter.any_alive()? {
            return Err(selection.none_left().into());
        }
        self.lacks_tasks.store(false, Ordering::Relaxed);

        // With these, a reader knows the name of every task at any time. Without them, it has to guess now and then.
        for event in [NEW_TASK, RENAME] {
            if let Err(error) = self.enable_quietly(event) {
                log::debug!("{error}");
            }
        }
        if has_new_tasks && !selection.is_families() {
            self.needs_new_tasks.store(true, Ordering::Relaxed);
            self.enable_quietly(NEW_TASK)?;
        }
        Ok((filter, members))
    }

    /// Whether this kernel has an event for each new task.
    pub fn announces_new_tasks(&self) -> bool {
        self.tracefs().has_event(NEW_TASK.0, NEW_TASK.1)
    }
}
