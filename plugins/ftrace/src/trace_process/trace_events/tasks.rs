//! Tasks that begin, execute another program, and end.

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use crate::trace_process::events::{self, Ending};
use crate::tracepoint::Tracepoint;

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
            let (child_tid, flags) = (self.child(record), record.number(&self.flags) as u64);
            events::Fork { child_tid, child_pid: None, ppid: None, flags }.show(origin, lines);
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
            let (path, old_tid) = (record.text(&self.path), record.number(&self.old_tid) as Pid);
            events::Exec { path, old_tid, program: None }.show(origin, lines);
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
            let group_dead = self.group_dead(record);
            events::Exit { ending, group_dead, ..events::Exit::default() }.show(origin, lines);
        });
    }
}
