//! What the tests on the real kernel share.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod actor;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tracefs::{Instance, TracePipe, Tracefs};

/// tracefs, or nothing where it cannot be used here: then the test says loudly that it tests nothing.
/// In CI that is a failure.
pub fn tracefs() -> Option<Tracefs> {
    match Tracefs::find(Path::new("/sys"), Path::new("/proc")) {
        Ok(tracefs) => Some(tracefs),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "cannot test: {error}");
            // Not eprintln!, which the test harness swallows.
            let _ = writeln!(std::io::stderr(), "SKIPPED {}: {error}", test_name());
            None
        }
    }
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
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

/// Stops recording and reads all that is left.
pub fn drain(instance: &Instance, pipe: &mut TracePipe) -> String {
    instance.stop().expect("stopped");
    let mut lines = Vec::new();
    while pipe.read_lines(&mut lines, 1 << 16).expect("lines") {}
    String::from_utf8_lossy(&lines).into_owned()
}

/// The numbers that were passed to getsid(2), as the records tell; actors use them as marks.
pub fn marks(lines: &str) -> BTreeSet<i32> {
    lines
        .lines()
        .filter_map(|line| line.split_once("sys_getsid(pid: "))
        .map(|(_, rest)| rest.split_once(')').expect("a bracket").0)
        .map(|hex| i32::from_str_radix(hex.trim_start_matches("0x"), 16).expect("a mark"))
        .collect()
}
