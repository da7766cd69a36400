use std::time::{Duration, Instant};

use super::within;

/// Between two checks whether a worker makes progress.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How long the kernel may work for a worker. Killing the worker would not speed this up: the kernel removes instances
/// one after the other, for example, so the last of many sessions that end at once waits for all others.
const KERNEL_LIMIT: Duration = Duration::from_secs(120);
/// A worker is starved if it waits for a CPU for more than this share of the time.
const STARVED: f32 = 0.8;

/// The deadline for a worker to make progress. The time counts from its last progress.
#[derive(Debug, Clone, Copy)]
pub struct WorkerDeadline {
    began: Instant,
    patience: Duration,
    progress: u64,
    last_progress: Instant,
    /// When the worker was last observed, and how long it had waited for a CPU by then.
    observed: Option<(Instant, Duration)>,
    /// When the worker was last seen outside of the kernel, or making progress.
    last_outside_kernel: Instant,
}

impl WorkerDeadline {
    /// The deadline of a worker that has reported this much progress.
    pub fn new(patience: Duration, progress: u64) -> Self {
        let now = Instant::now();
        Self { began: now, patience, progress, last_progress: now, observed: None, last_outside_kernel: now }
    }

    /// Notes how much progress the worker has reported by now, whether the kernel is working for it, and how long it
    /// has waited for a CPU so far. Time in which it hardly got one does not count.
    pub fn observe(&mut self, progress: u64, is_in_kernel: bool, queued: Duration) {
        let now = Instant::now();
        if let Some((before, queued_before)) = self.observed.replace((now, queued)) {
            let (elapsed, waited) = (now - before, queued.saturating_sub(queued_before));
            // A plugin that hangs or spins beside others waits as well, but not for most of the time.
            if waited > elapsed.mul_f32(STARVED) {
                self.last_progress = (self.last_progress + waited).min(now);
            }
        }
        if progress != self.progress || !is_in_kernel {
            self.last_outside_kernel = now;
        }
        let kernel_may_work = is_in_kernel && self.last_outside_kernel.elapsed() < KERNEL_LIMIT;
        if progress != self.progress || kernel_may_work {
            self.last_progress = now;
        }
        self.progress = progress;
    }

    /// Whether it is time to observe the worker: seldom, because that reads procfs, and because a worker may wait for a CPU
    /// for all of a short time. Always before it is given up.
    pub fn is_due(&self) -> bool {
        self.is_over() || self.observed.is_none_or(|(before, _)| before.elapsed() >= CHECK_INTERVAL)
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
        for (share, is_over) in [(1.0, false), (0.5, true)] {
            let mut deadline = exhausted();
            let before = Instant::now() - PATIENCE;
            deadline.observed = Some((before, Duration::ZERO));
            deadline.observe(7, false, before.elapsed().mul_f32(share));
            assert_eq!(deadline.is_over(), is_over, "{share}");
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
