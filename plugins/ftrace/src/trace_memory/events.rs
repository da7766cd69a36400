//! A line for each event.

use trace_hook_api::LineBuffer;
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{Record, Renderer};

/// The reader of the records of one kind.
pub trait Events: Send {
    /// Adds the lines of a record. `None` if the record is not of this kind.
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()>;

    /// The allocation that a record reports, if it does.
    fn read_allocation(&mut self, record: &mut Record<'_>) -> Option<Allocation> {
        let _ = record;
        None
    }

    /// Some records are missing.
    fn lost(&mut self) {}
}

/// Memory that was allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    pub kind: AllocationKind,
    pub bytes: u64,
    pub site: Site,
}

/// How memory was allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AllocationKind {
    Pages,
    Faults,
    Kmalloc,
}

impl AllocationKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Faults => "faults",
            Self::Kmalloc => "kmalloc",
        }
    }
}

/// The code that allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// An address in the kernel.
    Kernel(u64),
    /// An address in the program that the thread runs.
    Program { thread: Pid, address: u64 },
    /// The record does not have it.
    Unknown,
}

/// The renderer of a session without `--summary`.
pub struct EventLines(pub Vec<Box<dyn Events>>);

impl Renderer for EventLines {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        // Allocations in an interrupt are not the task's.
        if record.in_interrupt() {
            return;
        }
        self.0.iter_mut().find_map(|events| events.show(record, lines));
    }

    fn lost(&mut self, _gap: Gap) {
        self.0.iter_mut().for_each(|events| events.lost());
    }
}
