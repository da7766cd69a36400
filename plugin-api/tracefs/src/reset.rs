//! Resetting the top-level tracing instance to its state after boot.

use nix::errno::Errno;

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

impl Tracefs {
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
