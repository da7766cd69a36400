use crate::patience::patient;
use std::time::{Duration, Instant};

/// A reader that takes nothing for this long is stuck.
pub const READER_PATIENCE: Duration = Duration::from_secs(2);

/// How long a stopped session waits for the reader.
#[derive(Debug, Clone, Copy)]
pub struct DrainLimit {
    /// None: as long as the reader makes progress.
    in_all: Option<Instant>,
    for_progress: Instant,
}

impl DrainLimit {
    /// Waits this long in all, if given, and only while the reader makes progress.
    pub fn new(drain: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { in_all: drain.map(|drain| now + drain), for_progress: now + patient(READER_PATIENCE) }
    }

    /// Does not wait.
    pub fn none() -> Self {
        let now = Instant::now();
        Self { in_all: Some(now), for_progress: now }
    }

    /// Notes that the reader has made progress.
    pub fn has_progressed(&mut self) {
        self.for_progress = Instant::now() + patient(READER_PATIENCE);
    }

    pub fn is_over(&self) -> bool {
        let now = Instant::now();
        self.in_all.is_some_and(|in_all| now >= in_all) || now >= self.for_progress
    }
}
