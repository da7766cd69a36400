//! The resources of a process that a session can leak.

use std::fs;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Resources that the kernel releases with the process, but that a session must release when it is closed.
pub struct ProcessResources {
    threads: usize,
    descriptors: usize,
    has_children: bool,
}

impl ProcessResources {
    /// The resources of this process now.
    pub fn now() -> Self {
        let entries = |directory| fs::read_dir(directory).map_or(0, Iterator::count);
        let children = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG));
        Self {
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            has_children: children != Err(Errno::ECHILD),
        }
    }

    /// Describes the first resource of which there is more than before.
    pub fn beyond(&self, before: &Self) -> Option<String> {
        let more = |now: usize, before: usize, what: &str| {
            (now > before).then(|| format!("{} more {what} than before", now - before))
        };
        more(self.threads, before.threads, "threads")
            .or_else(|| more(self.descriptors, before.descriptors, "open descriptors"))
            .or_else(|| self.has_children.then(|| "a child process".to_owned()))
    }
}
