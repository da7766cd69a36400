use std::time::{Duration, Instant};

/// The time after which an operation counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until there is a result; panics when `limit` has passed.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the condition holds; panics when `limit` has passed.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    eventually(what, limit, || condition().then_some(()));
}

/// Waits until the condition holds. Returns whether it does before `limit` has passed.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        let holds = condition();
        if holds || began.elapsed() >= limit {
            return holds;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Prints the state of a test when it panics.
pub struct OnPanic(pub String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
