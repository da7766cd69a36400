//! Shared by the tests that use the kernel's tracefs.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod test_process;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracefs::{Instance, Tracefs};

/// The kernel's tracefs. If it cannot be used, reports that the test is skipped and returns `None`.
pub fn tracefs() -> Option<Tracefs> {
    match Tracefs::find(Path::new("/sys"), Path::new("/proc")) {
        Ok(tracefs) => Some(tracefs),
        Err(error) => {
            skip(&error.to_string());
            None
        }
    }
}

/// Reports on standard error that the test is skipped. In CI this is a failure.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{name} cannot be skipped in CI: {reason}");
    // Not eprintln!, whose output the test harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

/// Returns a new [`Sweeper`](kernel::Sweeper). Ends the test if there is no tracefs.
#[macro_export]
macro_rules! need_tracefs {
    () => {
        match kernel::tracefs() {
            Some(tracefs) => kernel::Sweeper::new(&tracefs),
            None => return,
        }
    };
}

/// A name that no other test uses, including those of concurrent test runs.
pub fn unique_name() -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("tracefs-test-{}-{count}-", std::process::id())
}

/// Creates instances with a common prefix. When dropped, removes all of them that are not locked.
pub struct Sweeper {
    pub tracefs: Tracefs,
    pub prefix: String,
}

impl Sweeper {
    pub fn new(tracefs: &Tracefs) -> Sweeper {
        Sweeper { tracefs: tracefs.clone(), prefix: unique_name() }
    }

    pub fn name(&self, suffix: &str) -> String {
        self.prefix.clone() + suffix
    }

    pub fn path(&self, suffix: &str) -> PathBuf {
        self.tracefs.root().join("instances").join(self.name(suffix))
    }

    pub fn create(&self, suffix: &str) -> Instance {
        Instance::create(&self.tracefs, &self.name(suffix)).expect("an instance")
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Err(error) = self.tracefs.sweep(&self.prefix) {
            let _ = writeln!(std::io::stderr(), "cannot clean up: {error}");
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

/// The time limit of [`wait_until`].
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until the condition holds. Fails after [`TIMEOUT`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
