//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events.
pub fn events() -> [EventInfo; 2] {
    [
        event(
            "latency",
            "with --interval: the calls of one system call that returned since the previous lines",
        ),
        event("latency_total", "at the end: the calls of one system call that returned during the session"),
    ]
}

fn event(name: &str, meaning: &str) -> EventInfo {
    EventInfo::new(name, meaning)
        .field(FieldInfo::word(
            "call",
            "name of the system call; call_N if it is newer than this plugin; none for numbers that no call has",
        ))
        .field(FieldInfo::flag("compat", "a compat (32-bit) system call"))
        .field(FieldInfo::duration("interval", "time that the line covers"))
        .field(FieldInfo::duration("total", "time of all these calls together"))
        .field(FieldInfo::number("errors", "number of calls that failed"))
        .distribution()
        .continuation("the histogram, unless --brief: the range of each bucket in nanoseconds (1K is 1024), and its number of calls")
}
