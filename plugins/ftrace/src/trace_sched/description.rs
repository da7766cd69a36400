//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events, with and without `--summary`.
pub fn events() -> [EventInfo; 4] {
    let unknown = || {
        FieldInfo::number(
            "unknown",
            "number of waits of unknown length, which are not part of the distribution",
        )
    };
    [
        run(),
        EventInfo::new("waits", "with --summary: the waits of one thread").distribution().field(unknown()),
        EventInfo::new("other_waits", "with --summary: the waits of all threads without a line of their own")
            .distribution()
            .field(unknown()),
        EventInfo::new("all_waits", "with --summary: the waits of all threads")
            .distribution()
            .field(unknown())
            .continuation(
                "the histogram: the range of each bucket in nanoseconds (1K is 1024), and its number of waits",
            ),
    ]
}

fn run() -> EventInfo {
    EventInfo::new("run", "a task got a CPU")
        .field(
            FieldInfo::duration("waited", "time that it was runnable and had no CPU, if known").optional(),
        )
        .field(
            FieldInfo::word(
                "since",
                "how the wait began: the task was woken, preempted, or created (new); unknown: that was not recorded",
            )
            .words(["woken", "preempted", "new", "unknown"]),
        )
        .field(
            FieldInfo::number("prev_tid", "thread that had the CPU before; 0 is the idle task").optional(),
        )
        .field(FieldInfo::text("prev_comm", "name of that thread").optional())
        .field(
            FieldInfo::flag(
                "missed",
                "the switch to the task was not recorded; the line has the time of the switch away, and waited and prev_tid are \
                 missing",
            )
            .optional(),
        )
}
