//! Whether the kernel's pid filter still holds the traced tasks, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a record is that of a traced task because the kernel recorded it. Until it is lost, tasks of whose start there is no
/// record are taken for traced ones.
#[derive(Debug, Clone, Default)]
pub struct FilterTrust(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    is_lost: AtomicBool,
    misses_starts: AtomicBool,
}

impl FilterTrust {
    /// Another process has changed the filter. Call it before the filter is restored.
    pub fn lose(&self) {
        self.0.is_lost.store(true, Ordering::Release);
    }

    pub fn is_lost(&self) -> bool {
        // This is called for each record.
        self.0.is_lost.load(Ordering::Acquire)
    }

    /// Not every new task has a record of its start: the user filters these, or another process has kept records from being made
    /// or read.
    pub fn miss_starts(&self) {
        self.0.misses_starts.store(true, Ordering::Release);
    }

    pub fn misses_starts(&self) -> bool {
        self.0.misses_starts.load(Ordering::Acquire)
    }
}
