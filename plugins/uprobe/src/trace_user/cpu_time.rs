//! A limit for the CPU time that a file takes.

use std::time::Duration;

use nix::time::ClockId;

/// How many checks share a reading of the clock, which is a system call.
const CHECKS: u32 = 64;

/// The CPU time that this thread may take for something.
pub struct CpuTimeLimit {
    end: Duration,
    checks: u32,
    is_over: bool,
}

impl CpuTimeLimit {
    /// This much time from now on.
    pub fn of(limit: Duration) -> Self {
        Self { end: now() + limit, checks: 0, is_over: false }
    }

    /// Whether it is used up.
    pub fn is_over(&mut self) -> bool {
        self.checks = (self.checks + 1) % CHECKS;
        if self.checks == 0 {
            self.is_over |= now() >= self.end;
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
        let mut limit = CpuTimeLimit::of(Duration::from_millis(20));
        assert!(!limit.is_over());
        let end = now() + Duration::from_millis(21);
        while now() < end {}
        assert!((0..CHECKS).any(|_| limit.is_over()));
        assert!(limit.is_over());
    }
}
