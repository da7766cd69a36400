use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use trace_symbols::{DebugFileReference, MemoryBudget};
use trace_tasks::{Pid, ProcessRoots};

/// How many processes are tried, of those that have mapped a file.
pub const MAX_PROCESSES: usize = 4;

/// Where the debug file of a stripped file is looked for.
pub struct DebugFileSearch {
    /// The path of the stripped file.
    pub path: PathBuf,
    /// The processes in whose root directories it is.
    pub processes: Vec<Pid>,
    pub roots: Arc<ProcessRoots>,
}

impl DebugFileSearch {
    /// The debug file. `None`, if there is none, or the file has all its symbols itself. This can block.
    pub fn find(&self, stripped: &File, budget: &Arc<MemoryBudget>) -> Option<File> {
        let reference = DebugFileReference::of(stripped, budget)?;
        let candidates = reference.candidates(&self.path, &self.processes, &self.roots, budget);
        candidates.into_iter().find(|candidate| reference.is(candidate))
    }
}
