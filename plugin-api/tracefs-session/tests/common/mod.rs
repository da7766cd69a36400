//! What the tests of streams on the real kernel share.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

use std::collections::BTreeSet;
use std::path::Path;

use tracefs::Instance;
use tracefs_session::{EventStream, TracedTasks};

#[path = "../../../tracefs/tests/common/mod.rs"]
mod kernel;

pub use kernel::*;

/// The stream of an instance, with room for all that a test makes.
pub fn stream(instance: &Instance, filter: Option<TracedTasks>) -> EventStream {
    EventStream::open(instance, Path::new("/proc"), filter, &std::env::temp_dir(), 256 << 20).expect("stream")
}

/// Stops recording and reads all that is left.
pub fn drain(instance: &Instance, stream: &mut EventStream) -> String {
    instance.stop().expect("stopped");
    stream.end().expect("ended");
    let mut lines = Vec::new();
    while stream.write_lines(&mut lines, 1 << 16).expect("lines") {}
    String::from_utf8_lossy(&lines).into_owned()
}

/// How many events the lines about losses tell of. A line without its number is not one that adds up.
#[track_caller]
pub fn reported_lost(lines: &str) -> u64 {
    let count = |line: &str| -> u64 {
        let count = line.split_once(" [LOST ").and_then(|(_, rest)| rest.strip_suffix(" EVENTS]"));
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("how many? {line}"))
    };
    lines.lines().filter(|line| line.starts_with("CPU:")).map(count).sum()
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
