//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events.
pub fn events() -> [EventInfo; 5] {
    [fork(), exec(), exit(), signal_generate(), signal_deliver()]
}

fn fork() -> EventInfo {
    EventInfo::new("fork", "the task started another one")
        .field(FieldInfo::number("child_tid", "the new task"))
        .field(FieldInfo::word("kind", "kind of the new task").words(["process", "thread"]))
        .field(FieldInfo::word("flags", "flags of clone(2)"))
}

fn exec() -> EventInfo {
    EventInfo::new("exec", "the task executes another program")
        .field(FieldInfo::text("path", "path of the program, as the kernel was given it"))
        .field(FieldInfo::number(
            "old_tid",
            "thread id before the exec; differs from tid if the calling thread was not the main thread",
        ))
}

fn exit() -> EventInfo {
    EventInfo::new("exit", "the task has ended")
        .field(FieldInfo::number("status", "exit status, if it or its process called exit(2)").optional())
        .field(FieldInfo::flag("killed", "a signal ended it").optional())
        .field(FieldInfo::word("signal", "the signal, if known").optional())
        .field(
            FieldInfo::flag("group_dead", "its process has ended with it; not every kernel reports this")
                .optional(),
        )
}

fn signal() -> [FieldInfo; 2] {
    [
        FieldInfo::word("signal", "name of the signal"),
        FieldInfo::word("code", "cause of the signal: si_code of sigaction(2)"),
    ]
}

fn signal_generate() -> EventInfo {
    let [name, code] = signal();
    EventInfo::new("signal_generate", "the task sent a signal")
        .field(name)
        .field(FieldInfo::number("to_tid", "receiving thread"))
        .field(FieldInfo::text("to_comm", "name of the receiving thread"))
        .field(code)
        .field(FieldInfo::word(
            "outcome",
            "delivered (it is pending now), ignored, already_pending, overflow_fail (no memory, not sent) or lose_info (no \
             memory, sent without its details)",
        ))
        .field(FieldInfo::flag("group", "sent to the whole process"))
        .field(FieldInfo::flag("interrupt", "the kernel sent it, for a timer for example, while the task ran"))
}

fn signal_deliver() -> EventInfo {
    EventInfo::new("signal_deliver", "a signal was delivered to the task")
        .fields(signal())
        .field(FieldInfo::word("action", "what the signal does").words(["default", "ignore", "handler"]))
        .field(FieldInfo::address("handler", "address of the handler").optional())
        .field(FieldInfo::word("flags", "flags of sigaction(2), if there is a handler").optional())
}
