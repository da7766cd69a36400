use std::time::{Duration, Instant};

/// The time between two observations. It is long, because an observation reads procfs, and because a worker may wait for a
/// CPU for all of a short time.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A worker is starved if it waits for a CPU for more than this share of the time. One that spins beside others waits as
/// well, but not that long.
const STARVED: f32 = 0.9;

/// How a worker has used the CPUs so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuUse {
    pub ran: Duration,
    /// How long it was runnable without running. A wait counts when it is over.
    pub waited: Duration,
    /// Its state in proc_pid_stat(5).
    pub state: Option<u8>,
}

impl CpuUse {
    fn is_runnable(self) -> bool {
        self.state == Some(b'R')
    }
}

/// Measures how long a worker is starved of CPU time, which no time limit should count.
#[derive(Debug)]
pub struct Starvation {
    observed: Instant,
    before: CpuUse,
}

impl Starvation {
    /// That of a worker that is about to run for the first time.
    pub fn new() -> Self {
        Self { observed: Instant::now(), before: CpuUse::default() }
    }

    /// Whether it is time to observe the worker again.
    pub fn is_due(&self) -> bool {
        self.observed.elapsed() >= CHECK_INTERVAL
    }

    /// For how long the worker was starved since it was last observed.
    pub fn observe(&mut self, now: CpuUse) -> Duration {
        let elapsed = self.observed.elapsed();
        let waited = now.waited.saturating_sub(self.before.waited);
        let ran = now.ran.saturating_sub(self.before.ran);
        // If it is runnable, it did not sleep in the remaining time, but is still waiting.
        let waiting = if now.is_runnable() { elapsed.saturating_sub(ran + waited) } else { Duration::ZERO };
        *self = Self { observed: Instant::now(), before: now };
        let starved = (waited + waiting).min(elapsed);
        if starved > elapsed.mul_f32(STARVED) { starved } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELAPSED: Duration = Duration::from_secs(3);

    /// For what part of the last three seconds a worker counts as starved.
    fn starved(ran: f32, waited: f32, is_runnable: bool) -> f32 {
        let before = CpuUse { ran: ELAPSED, waited: ELAPSED, state: Some(b'R') };
        let mut starvation = Starvation { observed: Instant::now() - ELAPSED, before };
        let (ran, waited) = (before.ran + ELAPSED.mul_f32(ran), before.waited + ELAPSED.mul_f32(waited));
        let starved =
            starvation.observe(CpuUse { ran, waited, state: Some(if is_runnable { b'R' } else { b'S' }) });
        assert!(starvation.observe(starvation.before) < ELAPSED / 100, "it counts once");
        starved.div_duration_f32(ELAPSED)
    }

    #[test]
    fn a_worker_that_hardly_runs_is_starved() {
        assert!((0.95..1.01).contains(&starved(0.02, 0.98, true)));
        // It still waits.
        assert!((0.95..1.01).contains(&starved(0.0, 0.0, true)));
        assert!((0.95..1.01).contains(&starved(0.02, 0.5, true)));
        // The wait that has just ended began before.
        assert!((0.95..1.01).contains(&starved(0.02, 7.0, true)));
    }

    #[test]
    fn a_worker_that_sleeps_or_spins_is_not_starved() {
        assert!(starved(0.0, 0.0, false) == 0.0);
        assert!(starved(0.02, 0.5, false) == 0.0);
        assert!(starved(0.5, 0.5, true) == 0.0);
        assert!(starved(1.0, 0.0, true) == 0.0);
    }
}
