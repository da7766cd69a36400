//! A limit for the CPU time that a file takes.

use std::time::{Duration, Instant};

use nix::time::ClockId;
use tracefs_session::StopFlag;

/// How often the CPU time is read, which is a system call. The time of day is not.
const INTERVAL: Duration = Duration::from_millis(1);

/// The CPU time that this thread may take for something.
pub struct CpuTimeLimit {
    end: Duration,
    stop: StopFlag,
    read: Instant,
    is_over: bool,
}

impl CpuTimeLimit {
    /// This much time from now on, but only until the session stops.
    pub fn of(limit: Duration, stop: StopFlag) -> Self {
        Self { end: now() + limit, stop, read: Instant::now(), is_over: false }
    }

    /// Whether it is used up.
    pub fn is_over(&mut self) -> bool {
        if self.read.elapsed() >= INTERVAL {
            self.is_over |= now() >= self.end || self.stop.is_set();
            self.read = Instant::now();
        }
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

    #[test]
    fn the_limit_is_over_after_its_time() {
        let mut limit = CpuTimeLimit::of(Duration::from_millis(20), StopFlag::default());
        assert!(!limit.is_over());
        let end = now() + Duration::from_millis(25);
        while now() < end {}
        assert!(limit.is_over() && limit.is_over());
    }

    #[test]
    fn the_limit_is_over_when_the_session_stops() {
        let stop = StopFlag::default();
        let mut limit = CpuTimeLimit::of(Duration::from_secs(1000), stop.clone());
        stop.set();
        let began = Instant::now();
        while began.elapsed() < 2 * INTERVAL {}
        assert!(limit.is_over());
    }
}
