//! `task:task_newtask`, the event of a new task.

use trace_tasks::Pid;
use tracefs::NEW_TASK;
use tracefs::format::{Field, Formatter};

/// The fields of the event that are used.
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
    /// `None` if the kernel has no such event.
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

    /// The new task, if `id` is that of this event.
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
