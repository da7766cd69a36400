use std::time::{Duration, Instant};

/// Between two observations. Seldom, because an observation reads procfs, and because a worker may wait for a CPU for all
/// of a short time.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A worker is starved if it waits for a CPU for more than this share of the time. One that hangs or spins beside others
/// waits as well, but not that long.
const STARVED: f32 = 0.9;

/// Measures for how long a worker hardly gets a CPU: no time limit should count that.
#[derive(Debug)]
pub struct Starvation {
    observed: Instant,
    /// How long it had waited for a CPU by then.
    queued: Duration,
}

impl Starvation {
    /// That of a worker that is about to run for the first time.
    pub fn new() -> Self {
        Self { observed: Instant::now(), queued: Duration::ZERO }
    }

    /// Whether it is time to observe the worker again.
    pub fn is_due(&self) -> bool {
        self.observed.elapsed() >= CHECK_INTERVAL
    }

    /// For how long the worker was starved since it was last observed, if it has waited for a CPU for this long in all.
    pub fn observe(&mut self, queued: Duration) -> Duration {
        let (elapsed, waited) = (self.observed.elapsed(), queued.saturating_sub(self.queued));
        *self = Self { observed: Instant::now(), queued };
        // The kernel counts a wait only when it is over.
        if waited > elapsed.mul_f32(STARVED) { waited } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starved_is_who_waits_for_most_of_the_time() {
        for (share, is_starved) in [(1.0, true), (0.5, false), (0.0, false)] {
            let before = Instant::now() - Duration::from_secs(3);
            let queued = Duration::from_secs(60);
            let mut starvation = Starvation { observed: before, queued };
            let waited = before.elapsed().mul_f32(share);
            let expected = if is_starved { waited } else { Duration::ZERO };
            assert_eq!(starvation.observe(queued + waited), expected, "{share}");
        }
    }

    #[test]
    fn a_wait_counts_once() {
        let mut starvation = Starvation::new();
        let waited = Duration::from_secs(1);
        assert_eq!(starvation.observe(waited), waited);
        assert_eq!(starvation.observe(waited), Duration::ZERO);
        assert!(!starvation.is_due());
    }
}
