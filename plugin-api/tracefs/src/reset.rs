//! Resetting the top-level tracing instance to its state after boot.

use std::os::fd::IntoRawFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use trace_tasks::Pid;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::mount::Tracefs;

/// Lists of pids and functions. Some kernels lack those of the function tracer, and some refuse them in lockdown.
const EVENT_LISTS: [&str; 2] = ["set_event_pid", "set_event_notrace_pid"];
const FUNCTION_LISTS: [&str; 6] = [
    "set_ftrace_pid",
    "set_ftrace_notrace_pid",
    "set_ftrace_filter",
    "set_ftrace_notrace",
    "set_graph_function",
    "set_graph_notrace",
];

/// The defaults of the options that affect recording and output
/// (`TRACE_DEFAULT_FLAGS` in the kernel's kernel/trace/trace.c).
const ON_BY_DEFAULT: [&str; 8] = [
    "print-parent",
    "annotate",
    "context-info",
    "record-cmd",
    "overwrite",
    "irq-info",
    "markers",
    "hash-ptr",
];
const OFF_BY_DEFAULT: [&str; 17] = [
    "sym-offset",
    "sym-addr",
    "sym-userobj",
    "verbose",
    "raw",
    "hex",
    "bin",
    "block",
    "fields",
    "stacktrace",
    "userstacktrace",
    "latency-format",
    "record-tgid",
    "disable_on_free",
    "event-fork",
    "function-fork",
    "pause-on-trace",
];

/// The file on which resets are locked. Only who may change all events can open it for writing.
const LOCKED: &str = "events/enable";

impl Tracefs {
    /// [`reset`](Self::reset), unless another process of the same `caller` is doing it. Several plugins reset tracefs when one
    /// call clears all of them, and reading all 1,500 triggers takes seconds on a slow machine.
    ///
    /// The process that resets keeps a lock until it ends, so the others need not begin at the same time.
    ///
    /// # Errors
    /// As [`reset`](Self::reset). The errors of another process are not known here: the caller gets them from it.
    pub fn reset_once(&self, caller: Pid) -> Result<()> {
        match self.lock_reset(caller) {
            Ok(false) => Ok(()),
            Ok(true) => self.reset(),
            Err(error) => {
                log::info!("{error}; resetting without the lock");
                self.reset()
            }
        }
    }

    /// Locks the byte whose number is the caller. Returns `false` if another process has it.
    fn lock_reset(&self, caller: Pid) -> Result<bool> {
        let file = self.dir.open_file(LOCKED, OFlag::O_WRONLY)?;
        // SAFETY: the structure is plain integers; all zeroes are valid.
        let mut byte: libc::flock = unsafe { std::mem::zeroed() };
        byte.l_type = libc::F_WRLCK as i16;
        byte.l_whence = libc::SEEK_SET as i16;
        byte.l_start = caller.into();
        byte.l_len = 1;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte)) {
            Ok(_) => {
                // Closed by the end of the process.
                let _ = file.into_raw_fd();
                Ok(true)
            }
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(Error::io("lock", &self.root().join(LOCKED), errno)),
        }
    }

    /// Resets the top-level instance: all events off, their triggers and filters removed, the `nop`
    /// tracer, no pids, no function filters, default options, the `local` clock, an empty buffer,
    /// recording on.
    ///
    /// Not reset: other instances, probes and synthetic events (they are only disabled here), the size of the buffer and the
    /// mask of CPUs (their defaults are not known), and triggers on functions. Features that this kernel lacks, or does not
    /// allow, are skipped.
    ///
    /// # Errors
    /// Everything is attempted; the error names all failures.
    pub fn reset(&self) -> Result<()> {
        let top = &*self.dir;
        let mut errors = Vec::new();
        let mut also = |result: Result<()>| errors.extend(result.err());
        // A trigger may enable an event, which stays enabled when the trigger is removed. So triggers are removed first, then
        // events are disabled, and only then the pid filter is cleared: an empty filter selects all tasks.
        also(remove_triggers(self));
        also(top.write("events/enable", "0"));
        also(top.write("current_tracer", "nop"));
        also(clear_filters(self));
        EVENT_LISTS.iter().for_each(|list| also(unless_absent(top.empty(list))));
        FUNCTION_LISTS.iter().for_each(|list| also(unless_refused(top.empty(list))));
        also(default_options(top));
        also(default_clock(top));
        also(top.empty("trace"));
        also(unless_absent(top.empty("error_log")));
        also(top.write("tracing_on", "1"));
        Error::all_of(errors)
    }
}

/// The `trigger` file has one trigger per line. Writing such a line with a `!` in front removes the trigger.
fn remove_triggers(tracefs: &Tracefs) -> Result<()> {
    let mut errors = Vec::new();
    for system in tracefs.systems()? {
        let events = match tracefs.events(&system) {
            // Another process has just removed the last probe of the system.
            Err(Error::UnknownSystem { .. }) => continue,
            events => events?,
        };
        for event in events {
            let file = format!("events/{system}/{event}/trigger");
            let triggers = match tracefs.dir.read(&file) {
                Ok(triggers) => triggers,
                // The pseudo events of the system "ftrace" have no triggers, and an event of a module may be removed.
                Err(error) if is_absent(&error) => continue,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for trigger in triggers.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let removal =
                    format!("!{}", trigger.trim_end_matches(" [active]").trim_end_matches(" [paused]"));
                errors.extend(unless_absent(tracefs.dir.write(&file, &removal)).err());
            }
        }
    }
    Error::all_of(errors)
}

/// Clearing the filter of a system clears that of each of its events.
fn clear_filters(tracefs: &Tracefs) -> Result<()> {
    let mut errors = Vec::new();
    for system in tracefs.systems()?.iter().filter(|system| *system != "ftrace") {
        errors.extend(unless_absent(tracefs.dir.write(format!("events/{system}/filter"), "0")).err());
    }
    Error::all_of(errors)
}

/// `trace_options` lists each option by its name, with the prefix `no` if it is off.
fn default_options(top: &Dir) -> Result<()> {
    let listed = top.read("trace_options")?;
    let mut errors = Vec::new();
    for wanted in deviating(&listed) {
        errors.extend(top.write("trace_options", &wanted).err());
    }
    Error::all_of(errors)
}

/// What to write for each listed option that differs from its default.
fn deviating(listed: &str) -> Vec<String> {
    listed
        .lines()
        .filter_map(|option| match option.strip_prefix("no") {
            Some(off) if ON_BY_DEFAULT.contains(&off) => Some(off.to_owned()),
            _ if OFF_BY_DEFAULT.contains(&option) => Some(format!("no{option}")),
            _ => None,
        })
        .collect()
}

/// Setting a clock, even the current one, empties the buffer for all its readers. So it is set only if it differs.
fn default_clock(top: &Dir) -> Result<()> {
    if top.read("trace_clock")?.contains("[local]") { Ok(()) } else { top.write("trace_clock", "local") }
}

fn unless_absent(result: Result<()>) -> Result<()> {
    result.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}

fn unless_refused(result: Result<()>) -> Result<()> {
    result.or_else(|error| match error.errno() {
        Some(Errno::EPERM | Errno::EACCES) => Ok(()),
        _ if is_absent(&error) => Ok(()),
        _ => Err(error),
    })
}

fn is_absent(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deviating_options_are_written() {
        let listed = "print-parent\nnosym-addr\nevent-fork\nnooverwrite\nnorecord-tgid\ntest_nop_accept\ntrace_printk\n";
        assert_eq!(deviating(listed), ["noevent-fork", "overwrite"]);
    }
}
