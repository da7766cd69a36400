//! Which events there are, which of them are recorded, and which of their records pass.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::dir::{Dir, is_plain_name};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::mount::Tracefs;

/// The event of each new task, with which a session follows the descendants of its tasks.
pub const NEW_TASK: (&str, &str) = ("task", "task_newtask");

/// The event that tells of each new name of a task.
pub const RENAME: (&str, &str) = ("task", "task_rename");

impl Tracefs {
    /// Whether the kernel has this event.
    pub fn has_event(&self, system: &str, event: &str) -> bool {
        is_plain_name(system)
            && is_plain_name(event)
            && self.dir.has(Path::new("events").join(system).join(event).join("enable"))
    }

    /// The trace systems of the kernel, sorted.
    pub fn systems(&self) -> Result<Vec<String>> {
        self.dir.directories_in("events")
    }

    /// The events of a system, sorted.
    ///
    /// # Errors
    /// [`Error::UnknownSystem`].
    pub fn events(&self, system: &str) -> Result<Vec<String>> {
        if !is_plain_name(system) {
            return Err(unknown(system, None));
        }
        self.dir.directories_in(&format!("events/{system}")).map_err(|error| match error.errno() {
            Some(Errno::ENOENT | Errno::ENOTDIR) => unknown(system, None),
            _ => error,
        })
    }
}

impl Instance {
    /// Enables one event. Choose the tasks first, if not everyone is to be traced.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`]; [`Error::TasksNotChosen`] if tasks were to be chosen and that failed.
    pub fn enable_event(&self, system: &str, event: &str) -> Result<()> {
        self.ask_for(system, Some(event));
        self.enable(system, Some(event))
    }

    /// Enables an event for our own use: its records are not shown, unless somebody asks for them as well.
    pub(crate) fn enable_quietly(&self, (system, event): (&str, &str)) -> Result<()> {
        self.enable(system, Some(event))
    }

    /// Whether somebody wants to see the records of this event.
    pub fn is_asked_for(&self, (system, event): (&str, &str)) -> bool {
        let asked_for = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        asked_for.iter().any(|(s, e)| s == system && e.as_deref().is_none_or(|e| e == event))
    }

    fn ask_for(&self, system: &str, event: Option<&str>) {
        let mut asked_for = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        asked_for.push((system.to_owned(), event.map(str::to_owned)));
    }

    /// Enables all events of a system in one write. Choose the tasks first, if not everyone is to be
    /// traced.
    ///
    /// # Errors
    /// [`Error::UnknownSystem`]; [`Error::TasksNotChosen`] if tasks were to be chosen and that failed.
    pub fn enable_system(&self, system: &str) -> Result<()> {
        self.ask_for(system, None);
        self.enable(system, None)
    }

    /// Lets pass only those records of an event, or of all events of a system, that an expression
    /// holds for (Documentation/trace/events.rst, "Event filtering"). "0" lets all pass again.
    /// For a whole system, events that the expression does not fit are recorded unfiltered, as long as
    /// it fits at least one.
    ///
    /// # Errors
    /// [`Error::BadFilter`] with the kernel's explanation; [`Error::FilterTooLong`]; [`Error::UnknownEvent`], [`Error::UnknownSystem`];
    /// [`Error::FilterHidesNewTasks`].
    pub fn set_filter(&self, system: &str, event: Option<&str>, expression: &str) -> Result<()> {
        if self.needs_new_tasks.load(Ordering::Relaxed) && covers_new_tasks(system, event) {
            return Err(Error::FilterHidesNewTasks { target: name_of(system, event) });
        }
        // `event_filter_write` in kernel/trace/trace_events.c gives no reason for it.
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

    /// Has the kernel do something more with each record of an event: `stacktrace` records the kernel's stack after it
    /// (Documentation/trace/events.rst, "Event triggers").
    ///
    /// # Errors
    /// [`Error::UnknownEvent`]; the kernel has no such trigger.
    pub fn set_trigger(&self, system: &str, event: &str, trigger: &str) -> Result<()> {
        self.write_event_file(system, Some(event), "trigger", trigger)
    }

    fn set_event_filter(&self, system: &str, event: &str, expression: &str) -> Result<()> {
        let (path, file) = self.open_event_file(system, Some(event), "filter")?;
        self.dir.write_to(file, &path, expression).map_err(|error| match error.errno() {
            // Of an expression whose parts do not fit together the kernel's parser returns the bare numbers -1, -2 and
            // -3, which come out as errors that they do not mean (`calc_stack` in kernel/trace/trace_events_filter.c).
            Some(Errno::EINVAL | Errno::EPERM | Errno::ENOENT | Errno::ESRCH) => Error::BadFilter {
                target: name_of(system, Some(event)),
                expression: expression.to_owned(),
                reason: self.latest_complaint().unwrap_or_else(|| error.to_string()),
            },
            _ => unknown_if_gone(error, system, Some(event)),
        })
    }

    /// The kernel has a file for this, but takes anything that is written to it, and then records all
    /// events unfiltered that it did not fit.
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

    /// A file of an event, or of a system, open for writing, and its path in the instance.
    fn open_event_file(&self, system: &str, event: Option<&str>, file: &str) -> Result<(PathBuf, File)> {
        if !is_plain_name(system) || !event.is_none_or(is_plain_name) {
            return Err(unknown(system, event));
        }
        let path = Path::new("events").join(system).join(event.unwrap_or_default()).join(file);
        let open = self.dir.open_file(&path, OFlag::O_WRONLY);
        let open = open.map_err(|error| unknown_if_gone(error, system, event))?;
        Ok((path, open))
    }

    /// What the kernel stumbled at: see [`latest_complaint`].
    fn latest_complaint(&self) -> Option<String> {
        latest_complaint(&self.dir)
    }
}

impl Tracefs {
    /// What the kernel stumbled at in something that belongs to no instance.
    pub(crate) fn latest_complaint(&self) -> Option<String> {
        latest_complaint(&self.dir)
    }
}

/// The latest entry of `error_log`: what the kernel stumbled at, the text it was given, and a caret under the place.
fn latest_complaint(dir: &Dir) -> Option<String> {
    latest_entry(&dir.read("error_log").ok()?)
}

fn page_size() -> usize {
    // SAFETY: the call takes and returns plain numbers.
    let size = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

fn unknown(system: &str, event: Option<&str>) -> Error {
    match event {
        Some(event) => Error::UnknownEvent { system: system.to_owned(), event: event.to_owned() },
        None => Error::UnknownSystem { system: system.to_owned() },
    }
}

/// An event can go at any time, also while its file is open (`ENODEV`).
fn unknown_if_gone(error: Error, system: &str, event: Option<&str>) -> Error {
    match error.errno() {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV) => unknown(system, event),
        _ => error,
    }
}

fn name_of(system: &str, event: Option<&str>) -> String {
    match event {
        Some(event) => format!("{system}:{event}"),
        None => system.to_owned(),
    }
}

fn covers_new_tasks(system: &str, event: Option<&str>) -> bool {
    system == NEW_TASK.0 && event.is_none_or(|event| event == NEW_TASK.1)
}

/// Each entry begins with a line `[   12.345678] event filter parse error: error: Field not found`,
/// further lines of it are indented.
fn latest_entry(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.iter().rposition(|line| line.starts_with('['))?;
    let headline = lines[first].split_once("] ").map_or(lines[first], |(_, text)| text);
    let rest = lines[first + 1..].iter().map(|line| format!("\n{}", line.trim_end()));
    Some(rest.fold(headline.to_owned(), |text, line| text + &line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_complaint_comes_without_its_time() {
        let log = "[    1.0] event filter parse error: error: Old\n  Command: x\n           ^\n\
                   [  200.123456] event filter parse error: error: Field not found\n  Command: foo == 1\n           ^\n";
        let expected = "event filter parse error: error: Field not found\n  Command: foo == 1\n           ^";
        assert_eq!(latest_entry(log).as_deref(), Some(expected));
        assert_eq!(latest_entry(""), None);
    }

    #[test]
    fn names_name_what_they_cover() {
        assert!(covers_new_tasks("task", None));
        assert!(covers_new_tasks("task", Some("task_newtask")));
        assert!(!covers_new_tasks("task", Some("task_rename")));
        assert!(!covers_new_tasks("sched", None));
    }
}
