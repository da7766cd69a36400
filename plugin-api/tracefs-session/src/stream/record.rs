use std::fmt;

use super::processes::Processes;
use crate::traced_tasks::TracedTasks;
use trace_hook_api::Result;
use trace_tasks::Pid;
use tracefs::format::{Comm, EventFormat, Field, Formatter};
use tracefs::ring::TimelineRecord;

/// A record of a stream, with access to its fields and its task.
pub struct Record<'a> {
    item: TimelineRecord<'a>,
    id: u16,
    task: Pid,
    formatter: &'a mut Formatter,
    processes: &'a mut Processes,
    tasks: Option<&'a mut TracedTasks>,
    /// Whether the formatter knows the names in the record.
    names_learned: bool,
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
        Self { item, id, task, formatter, processes, tasks, names_learned: false }
    }

    /// The id of its event: [`EventFormat::id`].
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The CPU that wrote it.
    pub fn cpu(&self) -> u32 {
        self.item.cpu
    }

    /// The time since boot, in nanoseconds.
    pub fn time(&self) -> u64 {
        self.item.stamp
    }

    /// The current thread when it was written; in an interrupt, the interrupted thread.
    pub fn task(&self) -> Pid {
        self.task
    }

    /// Whether it was written in an interrupt, which is not related to the task.
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

    /// The format of any event of the kernel, such as one that was defined after the start of the session.
    ///
    /// # Errors
    ///
    /// The kernel has no such event, or its format cannot be read.
    pub fn format_of(&mut self, system: &str, event: &str) -> Result<&EventFormat> {
        Ok(self.formatter.format_of(system, event)?)
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

    /// The name of a thread, or `<...>` if it is unknown.
    pub fn comm_of(&mut self, thread: Pid) -> Comm {
        self.formatter.comm(thread)
    }

    /// The process of a thread, if it is known.
    pub fn process_of(&mut self, thread: Pid) -> Option<Pid> {
        self.processes.of(thread)
    }

    /// Whether a thread is traced. A record may name other threads: the next task on a CPU, the receiver of a signal.
    ///
    /// If no tasks were chosen, all are traced.
    pub fn is_traced(&mut self, thread: Pid) -> bool {
        self.tasks.as_mut().is_none_or(|tasks| tasks.is_traced(thread))
    }

    /// The function at a kernel address that the record has, with the offset in it, as the kernel prints it:
    /// `vfs_read+0x2d/0x380`. The address itself if there is no symbol.
    pub fn symbol(&self, address: u64) -> String {
        let mut symbol = Vec::new();
        self.formatter.write_symbol(address, &mut symbol);
        String::from_utf8_lossy(&symbol).into_owned()
    }

    /// Appends the line as the kernel formats it.
    pub fn write_text(&mut self, out: &mut Vec<u8>) {
        self.formatter.write_record(self.item.cpu, self.item.stamp, self.item.data, out);
        self.names_learned = true;
    }

    /// The same with this text in the place of the time.
    pub fn write_text_at(&mut self, time: &[u8], out: &mut Vec<u8>) {
        self.formatter.write_record_at(self.item.cpu, time, self.item.data, out);
        self.names_learned = true;
    }
}

impl Drop for Record<'_> {
    /// Names in a record apply to the records after it, even if it was not printed.
    fn drop(&mut self) {
        if !self.names_learned {
            self.formatter.learn(self.item.data);
        }
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("item", &self.item).field("task", &self.task).finish_non_exhaustive()
    }
}
