//! The events that this kernel has.

use std::path::Path;

use nix::errno::Errno;

use crate::dir::is_plain_name;
use crate::error::{Error, Result};
use crate::mount::Tracefs;

/// The event of a new task. Sessions use it to follow the descendants of their tasks.
pub const NEW_TASK: (&str, &str) = ("task", "task_newtask");

/// The event of a task that changes its name.
pub const RENAME: (&str, &str) = ("task", "task_rename");

/// The event of a new task that may run for the first time. Its record has the creator as the current task. With a pid filter,
/// it is also recorded if the creator is not in the filter, but the pid of the new task is: that of a task that has just ended.
pub const FIRST_WAKEUP: (&str, &str) = ("sched", "sched_wakeup_new");

/// The event of a process that executes a program.
pub const EXEC: (&str, &str) = ("sched", "sched_process_exec");

/// The event of a task that ends. Sessions use it to know until when a task was recorded.
pub const TASK_END: (&str, &str) = ("sched", "sched_process_exit");

/// The event of a process, or of a thread, that is moved to a cgroup.
pub const CGROUP_ATTACH: (&str, &str) = ("cgroup", "cgroup_attach_task");

impl Tracefs {
    /// Whether the kernel has this event.
    pub fn has_event(&self, system: &str, event: &str) -> bool {
        is_plain_name(system)
            && is_plain_name(event)
            && self.dir.has(Path::new("events").join(system).join(event).join("enable"))
    }

    /// The event systems of the kernel, sorted.
    pub fn systems(&self) -> Result<Vec<String>> {
        self.dir.directories_in("events")
    }

    /// The events of a system, sorted.
    ///
    /// # Errors
    /// [`Error::UnknownSystem`].
    pub fn events(&self, system: &str) -> Result<Vec<String>> {
        if !is_plain_name(system) {
            return Err(Error::unknown_event(system, None));
        }
        self.dir.directories_in(format!("events/{system}")).map_err(|error| match error.errno() {
            Some(Errno::ENOENT | Errno::ENOTDIR) => Error::unknown_event(system, None),
            _ => error,
        })
    }
}
