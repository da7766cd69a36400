//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

use super::states::STATES;

/// The field with the duration of a wait.
pub const DURATION: &str = "duration";

fn stack() -> FieldInfo {
    FieldInfo::list("stack", "functions, the innermost first")
}

/// Describes the events.
pub fn events() -> [EventInfo; 3] {
    [wait(), folded(), contention()]
}

fn wait() -> EventInfo {
    EventInfo::new(
        "wait",
        "a task has a CPU again; its time is when it lost it; not with --folded and --summary",
    )
    .field(FieldInfo::duration(DURATION, "time without a CPU"))
    .field(
        FieldInfo::word("state", "what it waited for; runnable: for a CPU, since another task had it")
            .words(STATES),
    )
    .field(
        FieldInfo::word("call", "system call that it was in; call_N if it is newer than this plugin")
            .optional(),
    )
    .field(FieldInfo::flag("compat", "a compat (32-bit) system call").optional())
    .field(FieldInfo::address("futex", "address of the futex, in a call that waits for one").optional())
    .field(FieldInfo::duration("runnable", "time from when it was woken until it had a CPU").optional())
    .field(FieldInfo::flag("interrupt", "an interrupt woke it, such as that of a timer").optional())
    .field(FieldInfo::number("waker_pid", "process that woke it").optional())
    .field(FieldInfo::number("waker_tid", "thread that woke it").optional())
    .field(FieldInfo::text("waker_comm", "name of that thread").optional())
    .field(stack())
}

fn folded() -> EventInfo {
    EventInfo::new("stack", "waits with the same stack; only with --folded")
        .field(FieldInfo::text("comm", "name of the task"))
        .field(stack())
        .field(FieldInfo::duration(DURATION, "time of these waits since the lines before"))
}

fn contention() -> EventInfo {
    EventInfo::new("contention", "waits for the same futex at the same place; only with --summary")
        .field(FieldInfo::address("futex", "address of the futex"))
        .field(FieldInfo::duration(DURATION, "time of these waits since the lines before"))
        .field(FieldInfo::number("count", "number of these waits"))
        .field(FieldInfo::duration("max", "the longest of them"))
        .field(FieldInfo::list("stack", "functions of the program, the innermost first"))
}
