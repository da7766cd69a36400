//! A limit for the CPU time that a file takes.

use std::time::{Duration, Instant};

use nix::time::ClockId;
use tracefs_session::StopFlag;

/// How often the CPU time is read, which is a system call. The time of day is not. A step that takes longer is slow.
const INTERVAL: Duration = Duration::from_millis(1);

/// The CPU time that this thread may take for something, step by step.
pub struct CpuTimeLimit {
    end: Duration,
    /// What is left for slow steps.
    for_slow: Duration,
    stop: StopFlag,
    /// When the last step began.
    began: Instant,
    /// The time of day and the CPU time when that was last read.
    read: (Instant, Duration),
    is_over: bool,
}

impl CpuTimeLimit {
    /// This much time from now on, of which slow steps may take a part, but only until the session stops.
    pub fn of(limit: Duration, for_slow: Duration, stop: StopFlag) -> Self {
        let (began, cpu_time) = (Instant::now(), now());
        Self { end: cpu_time + limit, for_slow, stop, began, read: (began, cpu_time), is_over: false }
    }

    /// Begins another step. Returns whether the time is used up.
    pub fn is_over(&mut self) -> bool {
        let began = Instant::now();
        if began.duration_since(self.read.0) >= INTERVAL {
            let cpu_time = now();
            if began.duration_since(self.began) >= INTERVAL {
                self.for_slow = self.for_slow.saturating_sub(cpu_time.saturating_sub(self.read.1));
            }
            self.is_over |= cpu_time >= self.end || self.for_slow.is_zero() || self.stop.is_set();
            self.read = (began, cpu_time);
        }
        self.began = began;
        self.is_over
    }
}

fn now() -> Duration {
    // The clock exists in every kernel.
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn compute(time: Duration) {
        let end = now() + time;
        while now() < end {}
    }

    #[test]
    fn the_limit_is_over_after_its_time() {
        let limit = Duration::from_millis(20);
        let mut limit = CpuTimeLimit::of(limit, LONG, StopFlag::default());
        assert!(!limit.is_over());
        compute(Duration::from_millis(25));
        assert!(limit.is_over() && limit.is_over());
    }

    #[test]
    fn slow_steps_have_a_limit_of_their_own() {
        let slow = Duration::from_millis(10);
        let mut limit = CpuTimeLimit::of(LONG, slow, StopFlag::default());
        compute(Duration::from_millis(6));
        assert!(!limit.is_over());
        compute(Duration::from_millis(6));
        assert!(limit.is_over());
        let mut limit = CpuTimeLimit::of(LONG, slow, StopFlag::default());
        // A step can be slow because others use the CPU.
        let (began, mut slow_steps) = (Instant::now(), 0);
        while began.elapsed() < 2 * slow {
            let step = now();
            assert!(!limit.is_over() || slow_steps > 0);
            slow_steps += usize::from(now() - step >= INTERVAL);
        }
    }

    #[test]
    fn the_limit_is_over_when_the_session_stops() {
        let stop = StopFlag::default();
        let mut limit = CpuTimeLimit::of(LONG, LONG, stop.clone());
        stop.set();
        let began = Instant::now();
        while began.elapsed() < 2 * INTERVAL {}
        assert!(limit.is_over());
    }
}
