//! A line for each event.

use trace_hook_api::LineBuffer;
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{Record, Renderer};

/// Who reads the records of one kind.
pub trait Events: Send {
    /// Shows a record. How many lines; none if it is not of this kind.
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<u64>;

    /// What memory a record tells to be used, if it does.
    fn read_use(&mut self, record: &mut Record<'_>) -> Option<Use> {
        let _ = record;
        None
    }

    /// Some records are missing.
    fn lost(&mut self) {}
}

/// That some memory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub of: UseOf,
    pub bytes: u64,
    pub site: Site,
}

/// What it is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UseOf {
    Pages,
    Faults,
    Kmalloc,
}

impl UseOf {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Faults => "faults",
            Self::Kmalloc => "kmalloc",
        }
    }
}

/// Where in the code that came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// An address in the kernel.
    Kernel(u64),
    /// An address in the program that the thread runs.
    Program { thread: Pid, address: u64 },
    /// The record does not tell.
    Unknown,
}

pub struct MemoryView(pub Vec<Box<dyn Events>>);

impl Renderer for MemoryView {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        // What an interrupt does with memory is not the task's.
        if record.in_interrupt() {
            return 0;
        }
        self.0.iter_mut().find_map(|events| events.show(record, lines)).unwrap_or(0)
    }

    fn lost(&mut self, _gap: Gap) {
        self.0.iter_mut().for_each(|events| events.lost());
    }
}
