//! Measures how long a call takes, regardless of the load of the machine.

use std::fs;
use std::time::{Duration, Instant};

/// Measures the time in which this thread runs or sleeps, but not the time in which it waits for a CPU.
pub struct Stopwatch {
    began: Instant,
    queued: Duration,
}

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self { began: Instant::now(), queued: queued() }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(queued().saturating_sub(self.queued))
    }
}

/// How long this thread has waited for a CPU (Documentation/scheduler/sched-stats.rst). Zero if the kernel does not
/// count that.
fn queued() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = counted.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
