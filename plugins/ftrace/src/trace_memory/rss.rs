//! How much of a program's memory is resident.

use std::collections::HashMap;

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::view::Events;
use crate::tracepoint::Tracepoint;

const RSS_STAT: Tracepoint = Tracepoint::new("kmem", "rss_stat");

pub const TRACEPOINTS: [Tracepoint; 1] = [RSS_STAT];

/// The kinds of pages that are counted, by number (`include/linux/mm_types_task.h`).
const COUNTED: [&str; 4] = ["file", "anon", "swap", "shmem"];

pub struct Rss {
    id: u16,
    space: Field,
    is_current: Field,
    counted: Field,
    size: Field,
    /// The last known sizes, by address space and kind of pages.
    known: HashMap<(i64, i64), i64>,
    /// The address spaces of processes, as far as they are known. There are never more than the kernel has numbers for tasks.
    own: HashMap<Pid, i64>,
}

impl Rss {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = RSS_STAT.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            space: layout.field("mm_id")?,
            is_current: layout.field("curr")?,
            counted: layout.field("member")?,
            size: layout.field("size")?,
            known: HashMap::new(),
            own: HashMap::new(),
        })
    }

    /// Whether the task runs in the address space, or did so: one that exits, or executes another program, has left the old
    /// space already when it takes that down.
    fn is_own(&mut self, space: i64, record: &mut Record<'_>) -> bool {
        let task = record.task();
        let process = record.process_of(task).unwrap_or(task);
        if record.number(&self.is_current) != 0 {
            self.own.insert(process, space);
        }
        self.own.get(&process) == Some(&space)
    }
}

impl Events for Rss {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<u64> {
        if record.id() != self.id {
            return None;
        }
        let (space, counted) = (record.number(&self.space), record.number(&self.counted));
        let size = record.number(&self.size);
        let before = match size {
            // As when the process ends. Another may have its number then.
            0 => self.known.remove(&(space, counted)),
            size => self.known.insert((space, counted), size),
        };
        let is_own = self.is_own(space, record);
        with_origin(record, record.task(), |_, origin| {
            let line = lines.event(origin, "rss");
            let line = match usize::try_from(counted).ok().and_then(|counted| COUNTED.get(counted)) {
                Some(name) => line.word("pages", name),
                None => line.number("pages", counted),
            };
            let line = line.number("size", size);
            let line = match before {
                Some(before) => line.number("change", size - before),
                None => line,
            };
            line.address("space", space as u64).flag("other_space", !is_own);
        });
        Some(1)
    }

    /// The end of an address space may be among what is missing, and another one have its number.
    fn lost(&mut self) {
        self.known.clear();
    }
}
