//! `task:task_newtask`: who starts whom.

use trace_tasks::Pid;
use tracefs::NEW_TASK;
use tracefs::format::{Field, Formatter};

/// Where the event's record has what is needed of it.
#[derive(Debug)]
pub struct NewTaskEvent {
    id: u16,
    pid: Field,
    clone_flags: Field,
}

/// A task that was just started.
#[derive(Debug, Clone, Copy)]
pub struct NewTask {
    pub pid: Pid,
    pub clone_flags: u64,
}

impl NewTaskEvent {
    /// `None`: the kernel has no such event.
    pub fn load(formatter: &mut Formatter) -> Option<Self> {
        let (system, event) = NEW_TASK;
        let id = formatter.load(system, event).ok()?;
        let format = formatter.event(id)?;
        Some(Self {
            id,
            pid: format.field("pid")?.clone(),
            clone_flags: format.field("clone_flags")?.clone(),
        })
    }

    /// The new task, if this record of the event `id` tells of one.
    #[inline]
    pub fn read(&self, id: u16, record: &[u8]) -> Option<NewTask> {
        if id != self.id {
            return None;
        }
        let pid = self.pid.number(record)? as Pid;
        let clone_flags = self.clone_flags.number(record)? as u64;
        Some(NewTask { pid, clone_flags })
    }
}
