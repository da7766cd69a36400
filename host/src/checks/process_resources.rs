//! What a session may leave in its process.

use std::fs;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// What ends with the process at the latest, but should end with a session.
pub struct ProcessResources {
    threads: usize,
    descriptors: usize,
    has_children: bool,
}

impl ProcessResources {
    /// What there is now.
    pub fn now() -> Self {
        let entries = |directory| fs::read_dir(directory).map_or(0, Iterator::count);
        let children = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG));
        Self {
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            has_children: children != Err(Errno::ECHILD),
        }
    }

    /// What there is more than before, in words.
    pub fn beyond(&self, before: &Self) -> Option<String> {
        let more = |now: usize, before: usize, what: &str| {
            (now > before).then(|| format!("{} more {what} than there were before", now - before))
        };
        more(self.threads, before.threads, "threads")
            .or_else(|| more(self.descriptors, before.descriptors, "open descriptors"))
            .or_else(|| self.has_children.then(|| "a child process".to_owned()))
    }
}
