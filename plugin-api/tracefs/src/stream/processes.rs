//! Which process a thread belongs to.

use std::collections::HashMap;

use super::new_task::NewTask;
use crate::Pid;
use crate::procfs::Procfs;

/// The clone flag of a new thread, as against a new process (clone(2)).
const CLONE_THREAD: u64 = 0x0001_0000;

/// Processes by their threads, as procfs and the records of new tasks tell. There are never more than the kernel has
/// numbers for tasks.
#[derive(Debug)]
pub struct Processes {
    procfs: Procfs,
    known: HashMap<Pid, Option<Pid>>,
}

impl Processes {
    /// With threads whose processes are known already.
    pub fn new(procfs: Procfs, known: HashMap<Pid, Pid>) -> Self {
        Self { procfs, known: known.into_iter().map(|(thread, process)| (thread, Some(process))).collect() }
    }

    pub fn new_task(&mut self, creator: Pid, new: NewTask) {
        let process = match new.clone_flags & CLONE_THREAD {
            0 => Some(new.pid),
            _ => self.of(creator),
        };
        self.known.insert(new.pid, process);
    }

    /// The process of a thread; none if the thread was gone before it could be looked up.
    pub fn of(&mut self, thread: Pid) -> Option<Pid> {
        let procfs = &self.procfs;
        *self.known.entry(thread).or_insert_with(|| procfs.status(thread).map(|status| status.process))
    }
}
