use std::time::{Duration, Instant};

/// More than a plugin needs to describe itself. All threads of the machine have numbers from one range.
pub const MOST_THREADS: usize = 512;
/// The time between two counts. Short, since thousands of threads are started in a tenth of a second.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// Limits the threads of a process. The kernel does not do that for root (`RLIMIT_NPROC` in getrlimit(2)).
#[derive(Debug)]
pub struct ThreadLimit {
    counted: Instant,
}

impl ThreadLimit {
    /// That of a process that is about to run for the first time.
    pub fn new() -> Self {
        Self { counted: Instant::now() }
    }

    /// Whether there are too many threads, if it is time to count them again.
    pub fn is_exceeded(&mut self, count: impl FnOnce() -> Option<usize>) -> bool {
        if self.counted.elapsed() < CHECK_INTERVAL {
            return false;
        }
        self.counted = Instant::now();
        count().is_some_and(|threads| threads > MOST_THREADS)
    }
}
