use std::time::{Duration, Instant};

use super::starvation::CHECK_INTERVAL;
use super::within;
use crate::patience::patient;

/// How long the kernel may work for a worker. Killing the worker would not speed this up: the kernel removes instances
/// one after the other, for example, so the last of many sessions that end at once waits for all others.
const KERNEL_LIMIT: Duration = Duration::from_secs(120);

/// The deadline for a worker to make progress. The time counts from its last progress.
#[derive(Debug, Clone, Copy)]
pub struct WorkerDeadline {
    began: Instant,
    patience: Duration,
    progress: u64,
    last_progress: Instant,
    /// When the worker was last seen outside of the kernel, or making progress.
    last_outside_kernel: Instant,
}

impl WorkerDeadline {
    /// The deadline of a worker that has reported this much progress.
    pub fn new(patience: Duration, progress: u64) -> Self {
        let now = Instant::now();
        Self { began: now, patience, progress, last_progress: now, last_outside_kernel: now }
    }

    /// Notes how much progress the worker has reported by now, whether the kernel is working for it, and for how long it
    /// was starved since the last time, which does not count.
    pub fn observe(&mut self, progress: u64, is_in_kernel: bool, starved: Duration) {
        let now = Instant::now();
        self.last_progress = (self.last_progress + starved).min(now);
        if progress != self.progress || !is_in_kernel {
            self.last_outside_kernel = now;
        }
        let kernel_may_work = is_in_kernel && self.last_outside_kernel.elapsed() < patient(KERNEL_LIMIT);
        if progress != self.progress || kernel_may_work {
            self.last_progress = now;
        }
        self.progress = progress;
    }

    pub fn is_over(&self) -> bool {
        self.last_progress + self.patience <= Instant::now()
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// When to observe the worker again.
    pub fn next_check(&self) -> Instant {
        (self.last_progress + self.patience).min(within(CHECK_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn exhausted() -> WorkerDeadline {
        let mut deadline = WorkerDeadline::new(PATIENCE, 7);
        assert!(!deadline.is_over());
        deadline.last_progress -= PATIENCE;
        assert!(deadline.is_over());
        deadline
    }

    #[test]
    fn time_counts_from_last_progress() {
        let mut deadline = exhausted();
        deadline.observe(7, false, Duration::ZERO);
        assert!(deadline.is_over());
        deadline.observe(8, false, Duration::ZERO);
        assert!(!deadline.is_over());
    }

    #[test]
    fn time_without_a_cpu_does_not_count() {
        for (starved, is_over) in [(PATIENCE, false), (Duration::ZERO, true)] {
            let mut deadline = exhausted();
            deadline.observe(7, false, starved);
            assert_eq!(deadline.is_over(), is_over, "{starved:?}");
        }
    }

    #[test]
    fn work_of_the_kernel_counts_as_progress_but_not_for_ever() {
        let mut deadline = exhausted();
        deadline.observe(7, true, Duration::ZERO);
        assert!(!deadline.is_over());
        let mut deadline = exhausted();
        deadline.last_outside_kernel -= KERNEL_LIMIT;
        deadline.observe(7, true, Duration::ZERO);
        assert!(deadline.is_over());
    }
}
