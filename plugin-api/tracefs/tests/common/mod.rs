//! What the tests on the real kernel share.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod actor;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracefs::{Instance, Tracefs};

/// tracefs, or nothing where it cannot be used here: then the test says loudly that it tests nothing.
/// In CI that is a failure.
pub fn tracefs() -> Option<Tracefs> {
    match Tracefs::find(Path::new("/sys"), Path::new("/proc")) {
        Ok(tracefs) => Some(tracefs),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

/// Says loudly that a test is skipped, and why. In CI that is a failure.
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{name} cannot be skipped in CI: {why}");
    // Not eprintln!, which the test harness swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

/// A sweeper of our own, or the end of the test where there is no tracefs.
#[macro_export]
macro_rules! need_tracefs {
    () => {
        match common::tracefs() {
            Some(tracefs) => common::Sweeper::new(&tracefs),
            None => return,
        }
    };
}

/// A name that no other test, now or in another run at the same time, uses.
pub fn unique_name() -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("tracefs-test-{}-{count}-", std::process::id())
}

/// Removes, at the end of a test, all unlocked instances with its prefix.
pub struct Sweeper {
    pub tracefs: Tracefs,
    pub prefix: String,
}

impl Sweeper {
    pub fn new(tracefs: &Tracefs) -> Sweeper {
        Sweeper { tracefs: tracefs.clone(), prefix: unique_name() }
    }

    pub fn name(&self, rest: &str) -> String {
        self.prefix.clone() + rest
    }

    pub fn path(&self, rest: &str) -> PathBuf {
        self.tracefs.root().join("instances").join(self.name(rest))
    }

    pub fn create(&self, rest: &str) -> Instance {
        Instance::create(&self.tracefs, &self.name(rest)).expect("an instance")
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Err(error) = self.tracefs.sweep(&self.prefix) {
            let _ = writeln!(std::io::stderr(), "left behind: {error}");
        }
    }
}

pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

pub fn write(path: impl AsRef<Path>, text: &str) {
    std::fs::write(path.as_ref(), text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()));
}

/// How long anything may take before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the condition holds; fails when it has not after a long time.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
