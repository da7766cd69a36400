//! Resident set sizes.

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::RecentMap;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::events::Events;
use crate::tracepoint::Tracepoint;

const RSS_STAT: Tracepoint = Tracepoint::new("kmem", "rss_stat");

pub const TRACEPOINTS: [Tracepoint; 1] = [RSS_STAT];

/// The counters of an address space, by number (`include/linux/mm_types_task.h`).
const COUNTED: [&str; 4] = ["file", "anon", "swap", "shmem"];

pub struct Rss {
    id: u16,
    space: Field,
    is_current: Field,
    counted: Field,
    size: Field,
    /// The last size, by address space and counter.
    sizes: RecentMap<(i64, i64), i64>,
    /// The address space of each process, as far as it is known.
    spaces: RecentMap<Pid, i64>,
}

/// At least this many counters, and this many processes, are remembered. The end of an address space is not always recorded.
const REMEMBERED: usize = 1 << 15;

impl Rss {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = RSS_STAT.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            space: layout.field("mm_id")?,
            is_current: layout.field("curr")?,
            counted: layout.field("member")?,
            size: layout.field("size")?,
            sizes: RecentMap::new(REMEMBERED),
            spaces: RecentMap::new(REMEMBERED),
        })
    }

    /// Whether the task runs in the address space, or did: a task that exits or executes another program has already left its
    /// old address space when it frees that.
    fn is_own(&mut self, space: i64, record: &mut Record<'_>) -> bool {
        let task = record.task();
        let process = record.process_of(task).unwrap_or(task);
        if record.number(&self.is_current) != 0 {
            self.spaces.insert(process, space);
        }
        self.spaces.get_mut(&process).copied() == Some(space)
    }
}

impl Events for Rss {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        if record.id() != self.id {
            return None;
        }
        let (space, counted) = (record.number(&self.space), record.number(&self.counted));
        let size = record.number(&self.size);
        let before = match size {
            // The process ends, or executes another program. Another address space may have this number then.
            0 => self.sizes.remove(&(space, counted)),
            size => self.sizes.insert((space, counted), size),
        };
        let is_own = self.is_own(space, record);
        with_origin(record, record.task(), |_, origin| {
            let name = usize::try_from(counted).ok().and_then(|counted| COUNTED.get(counted));
            let pages = name.map_or_else(|| counted.to_string(), |name| (*name).to_owned());
            lines.add_event(origin, "rss", |line| {
                line.word("pages", &pages)
                    .number("size", size)
                    .optional(before, |line, before| line.number("change", size - before))
                    .address("space", space as u64)
                    .flag("other_space", !is_own)
            });
        });
        Some(())
    }

    /// An address space may have ended in the missing records, and another one have its number.
    fn lost(&mut self) {
        self.sizes.clear();
    }
}
