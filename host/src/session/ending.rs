//! How long a session may take to end.

use std::time::{Duration, Instant};

/// The end of a session takes this long at most, from the order to the last line on what it left, unless a reader gets
/// its rest all the time.
const LIMIT: Duration = Duration::from_secs(5);
/// So much of it is kept for cleaning up after a worker that does not come to its end.
const CLEAN_UP: Duration = Duration::from_millis(1500);
/// What the kernel does for a worker cannot be broken off: killing the worker would make nothing faster. Many sessions that
/// end at once remove their instances one after the other.
const KERNEL_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks whether anything moves.
const LOOK: Duration = Duration::from_millis(100);

/// A session that is ending.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    began: Instant,
    /// How long anything may go without a sign, and in all.
    patience: Duration,
    in_all: Instant,
    signs: u64,
    last_sign: Instant,
    /// Until when the kernel is waited for.
    for_kernel: Instant,
}

impl Ending {
    /// One that begins now. Its worker has given so many signs, and may take the time of `drain` for its reader.
    pub fn new(drain: Duration, signs: u64) -> Self {
        Self::with_patience(LIMIT - CLEAN_UP, drain, signs)
    }

    /// One that begins now, of a session that nobody knows of.
    pub fn of_undone(patience: Duration) -> Self {
        Self::with_patience(patience, Duration::ZERO, 0)
    }

    fn with_patience(patience: Duration, drain: Duration, signs: u64) -> Self {
        let began = Instant::now();
        Self { began, patience, in_all: began + drain + patience, signs, last_sign: began, for_kernel: began }
    }

    /// The reader is not waited for any more.
    pub fn hurry(&mut self) {
        self.in_all = self.in_all.min(Instant::now() + self.patience);
    }

    /// Looks whether there was a sign since the last time.
    pub fn look(&mut self, signs: u64) {
        if signs != self.signs {
            self.signs = signs;
            self.last_sign = Instant::now();
        }
    }

    /// Waits a little longer, because the kernel is at work for the worker. `false`: it has been for too long.
    pub fn wait_for_kernel(&mut self) -> bool {
        self.for_kernel = Instant::now() + LOOK;
        self.elapsed() < KERNEL_LIMIT
    }

    /// Whether the worker is given up.
    pub fn is_over(&self) -> bool {
        self.limit() <= Instant::now()
    }

    /// Whether the worker has been getting on all the time.
    pub fn is_alive(&self) -> bool {
        self.last_sign.elapsed() < self.patience
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// When to look again.
    pub fn next_look(&self) -> Instant {
        self.limit().min(Instant::now() + LOOK)
    }

    fn limit(&self) -> Instant {
        self.in_all.min(self.last_sign + self.patience).max(self.for_kernel)
    }
}

/// How long cleaning up may take after a session that began to end then, if it did.
pub fn clean_up_limit(ending: Option<Ending>) -> Duration {
    let left = ending.map_or(LIMIT, |ending| LIMIT.saturating_sub(ending.elapsed()));
    left.max(CLEAN_UP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_gives_more_time_but_not_more_than_there_is_in_all() {
        let mut ending = Ending::new(Duration::from_secs(10), 7);
        assert!(!ending.is_over());
        ending.last_sign -= LIMIT - CLEAN_UP;
        ending.look(7);
        assert!(ending.is_over());
        ending.look(8);
        assert!(!ending.is_over());
        ending.in_all -= Duration::from_secs(10) + LIMIT - CLEAN_UP;
        assert!(ending.is_over());
    }

    #[test]
    fn hurry_leaves_no_time_for_the_reader() {
        let mut ending = Ending::new(Duration::from_secs(3600), 0);
        ending.hurry();
        assert!(ending.in_all <= Instant::now() + LIMIT);
    }
}
