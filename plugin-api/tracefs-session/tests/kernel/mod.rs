//! Shared by the tests of streams that use the kernel's tracefs.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

use std::collections::BTreeSet;
use std::path::Path;

use tracefs::Instance;
use tracefs_session::{EventStream, TracedTasks};

#[path = "../../../tracefs/tests/kernel/mod.rs"]
mod tracefs_kernel;

pub use tracefs_kernel::*;

/// The stream of an instance, with a spool that is large enough for every test.
pub fn stream(instance: &Instance, filter: Option<TracedTasks>) -> EventStream {
    EventStream::open(instance, Path::new("/proc"), filter, &std::env::temp_dir(), 256 << 20).expect("stream")
}

/// Stops recording and reads the remaining lines.
pub fn drain(instance: &Instance, stream: &mut EventStream) -> String {
    instance.stop().expect("stopped");
    stream.end().expect("ended");
    let mut lines = Vec::new();
    while stream.write_lines(&mut lines, 1 << 16).expect("lines") {}
    String::from_utf8_lossy(&lines).into_owned()
}

/// The number of lost events that the lines report. Panics if a line has no number.
#[track_caller]
pub fn reported_lost(lines: &str) -> u64 {
    let count = |line: &str| -> u64 {
        let count = line.split_once(" [LOST ").and_then(|(_, rest)| rest.strip_suffix(" EVENTS]"));
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no number of lost events: {line}"))
    };
    lines.lines().filter(|line| line.starts_with("CPU:")).map(count).sum()
}

/// The marks in the lines: the arguments of getsid(2).
pub fn marks(lines: &str) -> BTreeSet<i32> {
    lines
        .lines()
        .filter_map(|line| line.split_once("sys_getsid(pid: "))
        .map(|(_, rest)| rest.split_once(')').expect("a closing parenthesis").0)
        .map(|hex| i32::from_str_radix(hex.trim_start_matches("0x"), 16).expect("a mark"))
        .collect()
}
