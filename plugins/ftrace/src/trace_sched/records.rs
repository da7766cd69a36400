//! The records of the scheduler.

use trace_hook_api::Result;
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record};

use crate::tracepoint::Tracepoint;

const SWITCH: Tracepoint = Tracepoint::new("sched", "sched_switch");
const WAKING: Tracepoint = Tracepoint::new("sched", "sched_waking");
const WAKEUP: Tracepoint = Tracepoint::new("sched", "sched_wakeup");
const WAKEUP_NEW: Tracepoint = Tracepoint::new("sched", "sched_wakeup_new");

pub const TRACEPOINTS: [Tracepoint; 4] = [SWITCH, WAKING, WAKEUP, WAKEUP_NEW];

/// The bits of `prev_state` that say what a task waits for. If none is set, it was preempted
/// (`__trace_sched_switch_state` in `include/trace/events/sched.h`).
const STATE: i64 = 0xff;
/// `EXIT_DEAD` and `EXIT_ZOMBIE`.
const EXITED: i64 = 0x10 | 0x20;

/// A scheduling event of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A CPU passed from one task to another.
    Switch { prev: Pid, left: Left, next: Pid },
    /// A task or an interrupt begins to wake it.
    Waking(Pid),
    /// It is runnable.
    Wakeup(Pid),
    /// It was just created, and is runnable.
    WakeupNew(Pid),
}

/// Why a task left its CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Preempted,
    Sleep,
    Exit,
}

/// The fields of the records.
pub struct Records {
    switch: Switch,
    waking: Wake,
    wakeup: Wake,
    wakeup_new: Wake,
}

struct Switch {
    id: u16,
    prev: Field,
    prev_comm: Field,
    prev_state: Field,
    next: Field,
    next_comm: Field,
}

struct Wake {
    id: u16,
    task: Field,
}

impl Records {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        Ok(Self {
            switch: Switch::new(stream)?,
            waking: Wake::new(WAKING, stream)?,
            wakeup: Wake::new(WAKEUP, stream)?,
            wakeup_new: Wake::new(WAKEUP_NEW, stream)?,
        })
    }

    pub fn read(&self, record: &Record<'_>) -> Option<Happened> {
        let task = |wake: &Wake| record.number(&wake.task) as Pid;
        match record.id() {
            id if id == self.switch.id => Some(self.switch.read(record)),
            id if id == self.waking.id => Some(Happened::Waking(task(&self.waking))),
            id if id == self.wakeup.id => Some(Happened::Wakeup(task(&self.wakeup))),
            id if id == self.wakeup_new.id => Some(Happened::WakeupNew(task(&self.wakeup_new))),
            _ => None,
        }
    }

    /// The name of the task that leaves the CPU.
    pub fn prev_comm<'a>(&self, switch: &'a Record<'_>) -> &'a [u8] {
        switch.text(&self.switch.prev_comm)
    }

    /// The name of the task that gets the CPU.
    pub fn next_comm<'a>(&self, switch: &'a Record<'_>) -> &'a [u8] {
        switch.text(&self.switch.next_comm)
    }
}

impl Switch {
    fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = SWITCH.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            prev: layout.field("prev_pid")?,
            prev_comm: layout.field("prev_comm")?,
            prev_state: layout.field("prev_state")?,
            next: layout.field("next_pid")?,
            next_comm: layout.field("next_comm")?,
        })
    }

    fn read(&self, record: &Record<'_>) -> Happened {
        let left = match record.number(&self.prev_state) & STATE {
            0 => Left::Preempted,
            state if state & EXITED != 0 => Left::Exit,
            _ => Left::Sleep,
        };
        Happened::Switch {
            prev: record.number(&self.prev) as Pid,
            left,
            next: record.number(&self.next) as Pid,
        }
    }
}

impl Wake {
    fn new(tracepoint: Tracepoint, stream: &mut EventStream) -> Result<Self> {
        let layout = tracepoint.layout(stream)?;
        Ok(Self { id: layout.id(), task: layout.field("pid")? })
    }
}
