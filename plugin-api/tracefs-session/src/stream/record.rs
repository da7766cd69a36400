use std::fmt;

use super::processes::Processes;
use crate::traced_tasks::TracedTasks;
use trace_tasks::Pid;
use tracefs::format::{Comm, EventFormat, Field, Formatter};
use tracefs::ring::TimelineRecord;

/// A record of a stream, with what there is to know about it.
pub struct Record<'a> {
    item: TimelineRecord<'a>,
    id: u16,
    task: Pid,
    formatter: &'a mut Formatter,
    processes: &'a mut Processes,
    tasks: Option<&'a mut TracedTasks>,
    /// Whether the formatter knows what it tells of names.
    learnt: bool,
}

impl<'a> Record<'a> {
    pub(super) fn new(
        item: TimelineRecord<'a>,
        id: u16,
        task: Pid,
        formatter: &'a mut Formatter,
        processes: &'a mut Processes,
        tasks: Option<&'a mut TracedTasks>,
    ) -> Self {
        Self { item, id, task, formatter, processes, tasks, learnt: false }
    }

    /// The id of its event: [`EventFormat::id`].
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The CPU that wrote it.
    pub fn cpu(&self) -> u32 {
        self.item.cpu
    }

    /// When, in units of the instance's trace clock: nanoseconds for all clocks but `counter`, `uptime` and the CPU's own.
    pub fn stamp(&self) -> u64 {
        self.item.stamp
    }

    /// The thread that wrote it. In an interrupt that is the one that happened to run.
    pub fn task(&self) -> Pid {
        self.task
    }

    /// Whether an interrupt wrote it, which has nothing to do with the task.
    pub fn in_interrupt(&self) -> bool {
        self.formatter.in_interrupt(self.item.data)
    }

    /// The bytes, the common fields first.
    pub fn data(&self) -> &[u8] {
        self.item.data
    }

    /// The event's format.
    pub fn event(&mut self) -> Option<&EventFormat> {
        self.formatter.event(self.id)
    }

    /// The number in a field. 0 if the record is too short for it.
    pub fn number(&self, field: &Field) -> i64 {
        field.number(self.item.data).unwrap_or(0)
    }

    /// The text in a field, up to its first NUL. Empty if the record is too short for it.
    pub fn text(&self, field: &Field) -> &[u8] {
        let bytes = field.bytes(self.item.data).unwrap_or_default();
        bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name of a thread, as far as it is known: `<...>` if nobody remembers it.
    pub fn comm_of(&mut self, thread: Pid) -> Comm {
        self.formatter.comm(thread)
    }

    /// The process that a thread belongs to, where it is known.
    pub fn process_of(&mut self, thread: Pid) -> Option<Pid> {
        self.processes.of(thread)
    }

    /// Whether the events of a thread are wanted. A record may name others: the next task on a CPU, the receiver of a
    /// signal.
    ///
    /// Where tasks were not chosen, those of all are.
    pub fn is_traced(&mut self, thread: Pid) -> bool {
        self.tasks.as_mut().is_none_or(|tasks| tasks.is_target(thread))
    }

    /// The function at a kernel address that the record has, with the offset in it, as the kernel prints it:
    /// `vfs_read+0x2d/0x380`. The address itself where there is none.
    pub fn symbol(&self, address: u64) -> String {
        let mut symbol = Vec::new();
        self.formatter.write_symbol(address, &mut symbol);
        String::from_utf8_lossy(&symbol).into_owned()
    }

    /// Appends the line that the kernel would write.
    pub fn write_text(&mut self, out: &mut Vec<u8>) {
        self.formatter.write_record(self.item.cpu, self.item.stamp, self.item.data, out);
        self.learnt = true;
    }
}

impl Drop for Record<'_> {
    /// What a record tells of names holds for the records after it, whoever looked at it.
    fn drop(&mut self) {
        if !self.learnt {
            self.formatter.learn(self.item.data);
        }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("item", &self.item).field("task", &self.task).finish_non_exhaustive()
    }
}
