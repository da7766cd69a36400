//! How long something takes, however busy the machine is.

use std::fs;
use std::time::{Duration, Instant};

/// Runs while this thread works or waits for something, but not while it only waits for a CPU.
pub struct Stopwatch {
    began: Instant,
    queued: Duration,
}

impl Stopwatch {
    /// One that begins now.
    pub fn start() -> Self {
        Self { began: Instant::now(), queued: queued() }
    }

    /// What has passed since.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(queued().saturating_sub(self.queued))
    }
}

/// How long this thread has waited for a CPU (Documentation/scheduler/sched-stats.rst); nothing, where the kernel does not
/// count that.
fn queued() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = counted.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
