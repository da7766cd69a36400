//! The processes of threads.

use std::collections::HashMap;

use super::new_task::NewTask;
use trace_tasks::{Pid, Procfs};
use tracefs::RecentMap;

/// The clone flag that distinguishes a new thread from a new process (clone(2)).
const CLONE_THREAD: u64 = 0x0001_0000;

/// The least number of threads kept. Others are looked up in procfs again.
const REMEMBERED: usize = 1 << 15;

/// The processes of threads, from procfs and from the records of new tasks.
#[derive(Debug)]
pub struct Processes {
    procfs: Procfs,
    known: RecentMap<Pid, Option<Pid>>,
}

impl Processes {
    /// Starts with threads whose processes are known.
    pub fn new(procfs: Procfs, known: HashMap<Pid, Pid>) -> Self {
        let mut processes = Self { procfs, known: RecentMap::new(REMEMBERED.max(known.len())) };
        for (thread, process) in known {
            processes.known.insert(thread, Some(process));
        }
        processes
    }

    pub fn new_task(&mut self, creator: Pid, new: NewTask) {
        let process = match new.clone_flags & CLONE_THREAD {
            0 => Some(new.pid),
            _ => self.of(creator),
        };
        self.known.insert(new.pid, process);
    }

    /// The process of a thread; `None` if the thread had exited before it could be looked up.
    pub fn of(&mut self, thread: Pid) -> Option<Pid> {
        if let Some(process) = self.known.get_mut(&thread) {
            return *process;
        }
        let process = self.procfs.status(thread).map(|status| status.process);
        self.known.insert(thread, process);
        process
    }
}
