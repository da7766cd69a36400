use std::time::{Duration, Instant};

/// A reader that takes nothing for so long is stuck.
pub const READER_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for the reader.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimit {
    in_all: Instant,
    for_progress: Instant,
}

impl DrainLimit {
    /// For so long in all, if it makes progress.
    pub fn of(drain: Duration) -> Self {
        let now = Instant::now();
        Self { in_all: now + drain, for_progress: now + READER_PATIENCE }
    }

    /// Not at all.
    pub fn none() -> Self {
        let now = Instant::now();
        Self { in_all: now, for_progress: now }
    }

    /// Starts the time anew that it has for its next progress.
    pub fn has_progressed(&mut self) {
        self.for_progress = Instant::now() + READER_PATIENCE;
    }

    pub fn is_over(&self) -> bool {
        let now = Instant::now();
        now >= self.in_all || now >= self.for_progress
    }
}
