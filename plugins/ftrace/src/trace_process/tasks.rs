//! Tasks that begin, execute another program, and end.

use trace_hook_api::{LineBuffer, Result};
use trace_syscalls::{CLONE_FLAGS, flag_names, signal_name};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::endings::Ending;
use crate::tracepoint::Tracepoint;

/// The flag of a new thread, as opposed to a new process (clone(2)).
const CLONE_THREAD: u64 = nix::libc::CLONE_THREAD as u64;

/// Not `sched:sched_process_fork`, which does not distinguish threads from processes.
pub const FORK: Tracepoint = Tracepoint::new("task", "task_newtask");
pub const EXEC: Tracepoint = Tracepoint::new("sched", "sched_process_exec");
pub const EXIT: Tracepoint = Tracepoint::new("sched", "sched_process_exit");

/// The fields of [`FORK`].
pub struct Fork {
    pub id: u16,
    child: Field,
    flags: Field,
}

/// The fields of [`EXEC`].
pub struct Exec {
    pub id: u16,
    path: Field,
    old_tid: Field,
}

/// The fields of [`EXIT`].
pub struct Exit {
    pub id: u16,
    group_dead: Option<Field>,
}

impl Fork {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = FORK.layout(stream)?;
        Ok(Self { id: layout.id(), child: layout.field("pid")?, flags: layout.field("clone_flags")? })
    }

    pub fn child(&self, record: &Record<'_>) -> Pid {
        record.number(&self.child) as Pid
    }

    pub fn show(&self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            let flags = record.number(&self.flags) as u64;
            let kind = if flags & CLONE_THREAD == 0 { "process" } else { "thread" };
            lines
                .event(origin, "fork")
                .number("child_tid", self.child(record))
                .word("kind", kind)
                .word("flags", &flag_names(flags, CLONE_FLAGS));
        });
    }
}

impl Exec {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = EXEC.layout(stream)?;
        Ok(Self { id: layout.id(), path: layout.field("filename")?, old_tid: layout.field("old_pid")? })
    }

    pub fn show(&self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            lines
                .event(origin, "exec")
                .text("path", record.text(&self.path))
                .number("old_tid", record.number(&self.old_tid));
        });
    }
}

impl Exit {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = EXIT.layout(stream)?;
        Ok(Self { id: layout.id(), group_dead: layout.newer_field("group_dead") })
    }

    /// Whether the process has ended with this task. `None` if the kernel does not report it.
    pub fn group_dead(&self, record: &Record<'_>) -> Option<bool> {
        self.group_dead.as_ref().map(|field| record.number(field) != 0)
    }

    pub fn show(&self, ending: Option<Ending>, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            let line = lines.event(origin, "exit");
            let line = match ending {
                Some(Ending::Status(status)) => line.number("status", status),
                Some(Ending::Killed(None)) => line.flag("killed", true),
                Some(Ending::Killed(Some(signal))) => {
                    line.flag("killed", true).word("signal", &signal_name(signal))
                }
                None => line,
            };
            line.optional(self.group_dead(record), |line, group_dead| line.flag("group_dead", group_dead));
        });
    }
}
