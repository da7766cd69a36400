use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when a session stops to record, so that work in other threads that takes long is given up.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Sets the flag, for all its clones.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
