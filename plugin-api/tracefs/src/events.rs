//! Enabling the events of an instance, and filtering their records.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::available_events::{EXEC, NEW_TASK, TASK_END};
use crate::dir::is_plain_name;
use crate::error::{Error, Result};
use crate::error_log::latest_error;
use crate::instance::Instance;
use crate::own_events::RequestedEvents;

/// The trigger that records the kernel stack.
const STACK_TRIGGER: &str = "stacktrace";
/// The kinds of records with stacks, in the system `ftrace`.
const KERNEL_STACK: &str = "kernel_stack";
const USER_STACK: &str = "user_stack";

/// The kind of record that follows each event while this option is on.
pub(crate) fn stacks_of_option(name: &str) -> Option<&'static str> {
    match name {
        "stacktrace" => Some(KERNEL_STACK),
        "userstacktrace" => Some(USER_STACK),
        _ => None,
    }
}

impl Instance {
    /// Enables one event. Unless all tasks are to be traced, choose the tasks first.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`]; [`Error::TasksNotChosen`] if choosing the tasks failed.
    pub fn enable_event(&self, system: &str, event: &str) -> Result<()> {
        self.own_events.request(system, Some(event));
        self.enable(system, Some(event))
    }

    /// Enables an event for internal use. Its records are not printed, unless the event is enabled by
    /// [`enable_event`](Self::enable_event) or [`enable_system`](Self::enable_system) as well.
    pub(crate) fn enable_quietly(&self, (system, event): (&str, &str)) -> Result<()> {
        self.enable(system, Some(event))
    }

    /// Enables [`EXEC`](crate::EXEC) for internal use.
    ///
    /// # Errors
    /// As for [`enable_event`](Self::enable_event).
    pub fn enable_exec_event(&self) -> Result<()> {
        self.enable_quietly(EXEC)
    }

    /// The events that were enabled to be printed, also those that are enabled later.
    pub fn requested_events(&self) -> RequestedEvents {
        self.own_events.for_reading()
    }

    /// Whether [`NEW_TASK`] is recorded for some new tasks only.
    pub fn filters_new_tasks(&self) -> bool {
        self.filters_new_tasks.load(Ordering::Relaxed)
    }

    /// Whether [`TASK_END`] is recorded for some tasks only.
    pub fn filters_task_ends(&self) -> bool {
        self.filters_task_ends.load(Ordering::Relaxed)
    }

    /// Enables all events of a system in one write. Unless all tasks are to be traced, choose the tasks first.
    ///
    /// # Errors
    /// [`Error::UnknownSystem`]; [`Error::TasksNotChosen`] if choosing the tasks failed.
    pub fn enable_system(&self, system: &str) -> Result<()> {
        self.own_events.request(system, None);
        self.enable(system, None)
    }

    /// Records an event, or all events of a system, only where a filter expression is true
    /// (Documentation/trace/events.rst, "Event filtering"). "0" removes the filter.
    ///
    /// In a system, events without the fields of the expression are recorded unfiltered, as long as at least one event has
    /// them.
    ///
    /// # Errors
    /// [`Error::BadFilter`] with the kernel's explanation; [`Error::FilterTooLong`]; [`Error::UnknownEvent`], [`Error::UnknownSystem`];
    /// [`Error::FilterHidesNewTasks`].
    pub fn set_filter(&self, system: &str, event: Option<&str>, expression: &str) -> Result<()> {
        if self.needs_new_tasks.load(Ordering::Relaxed) && covers(NEW_TASK, system, event) {
            return Err(Error::FilterHidesNewTasks { target: name_of(system, event) });
        }
        if covers(NEW_TASK, system, event) {
            self.filters_new_tasks.store(true, Ordering::Relaxed);
        }
        if covers(TASK_END, system, event) {
            self.filters_task_ends.store(true, Ordering::Relaxed);
        }
        // The kernel refuses it without a reason (`event_filter_write` in kernel/trace/trace_events.c).
        let limit = page_size();
        if expression.len() >= limit {
            return Err(Error::FilterTooLong {
                target: name_of(system, event),
                length: expression.len(),
                limit,
            });
        }
        match event {
            Some(event) => self.set_event_filter(system, event, expression),
            None => self.set_system_filter(system, expression),
        }
    }

    /// Sets a trigger of an event (Documentation/trace/events.rst, "Event triggers"): `stacktrace`, for example, records the
    /// kernel stack after each record.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`]; the kernel has no such trigger.
    pub fn set_trigger(&self, system: &str, event: &str, trigger: &str) -> Result<()> {
        self.own_events.condition(system, event);
        if trigger.starts_with(STACK_TRIGGER) {
            self.own_events.request("ftrace", Some(KERNEL_STACK));
        }
        self.write_event_file(system, Some(event), "trigger", trigger)
    }

    fn set_event_filter(&self, system: &str, event: &str, expression: &str) -> Result<()> {
        self.own_events.condition(system, event);
        let (path, file) = self.open_event_file(system, Some(event), "filter")?;
        self.dir.write_to(file, &path, expression).map_err(|error| match error.errno() {
            // For unbalanced expressions the kernel's parser returns the bare numbers -1, -2 and -3, which are not meant as
            // errnos (`calc_stack` in kernel/trace/trace_events_filter.c).
            Some(Errno::EINVAL | Errno::EPERM | Errno::ENOENT | Errno::ESRCH) => Error::BadFilter {
                target: name_of(system, Some(event)),
                expression: expression.to_owned(),
                reason: latest_error(&self.dir).unwrap_or_else(|| error.to_string()),
            },
            _ => unknown_if_gone(error, system, Some(event)),
        })
    }

    /// The `filter` file of a system accepts any text, and events that the expression does not fit are then recorded
    /// unfiltered. So each event is set separately.
    fn set_system_filter(&self, system: &str, expression: &str) -> Result<()> {
        let mut refusal = None;
        let mut fits_any = false;
        for event in self.tracefs().events(system)? {
            match self.set_event_filter(system, &event, expression) {
                Ok(()) => fits_any = true,
                Err(error @ Error::BadFilter { .. }) => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        refusal.filter(|_| !fits_any).map_or(Ok(()), Err)
    }

    fn enable(&self, system: &str, event: Option<&str>) -> Result<()> {
        if self.lacks_tasks.load(Ordering::Relaxed) {
            return Err(Error::TasksNotChosen);
        }
        self.events_enabled.store(true, Ordering::Relaxed);
        self.write_event_file(system, event, "enable", "1")
    }

    fn write_event_file(&self, system: &str, event: Option<&str>, file: &str, text: &str) -> Result<()> {
        let (path, file) = self.open_event_file(system, event, file)?;
        self.dir.write_to(file, &path, text).map_err(|error| unknown_if_gone(error, system, event))
    }

    /// Opens a file of an event, or of a system, for writing. Returns it with its path in the instance.
    fn open_event_file(&self, system: &str, event: Option<&str>, file: &str) -> Result<(PathBuf, File)> {
        if !is_plain_name(system) || !event.is_none_or(is_plain_name) {
            return Err(Error::unknown_event(system, event));
        }
        let path = Path::new("events").join(system).join(event.unwrap_or_default()).join(file);
        let open = self.dir.open_file(&path, OFlag::O_WRONLY);
        let open = open.map_err(|error| unknown_if_gone(error, system, event))?;
        Ok((path, open))
    }
}

fn page_size() -> usize {
    // SAFETY: the call takes and returns plain numbers.
    let size = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// An event can be removed at any time, even while its file is open (`ENODEV`).
fn unknown_if_gone(error: Error, system: &str, event: Option<&str>) -> Error {
    match error.errno() {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV) => Error::unknown_event(system, event),
        _ => error,
    }
}

fn name_of(system: &str, event: Option<&str>) -> String {
    match event {
        Some(event) => format!("{system}:{event}"),
        None => system.to_owned(),
    }
}

fn covers(internal: (&str, &str), system: &str, event: Option<&str>) -> bool {
    system == internal.0 && event.is_none_or(|event| event == internal.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_new_tasks_by_event_or_by_system() {
        assert!(covers(NEW_TASK, "task", None));
        assert!(covers(NEW_TASK, "task", Some("task_newtask")));
        assert!(!covers(NEW_TASK, "task", Some("task_rename")));
        assert!(!covers(NEW_TASK, "sched", None));
    }
}
