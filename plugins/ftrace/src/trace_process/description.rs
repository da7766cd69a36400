//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events.
pub fn events() -> [EventInfo; 6] {
    [fork(), exec(), exec_failed(), exit(), signal_generate(), signal_deliver()]
}

fn parent(whose: &str) -> FieldInfo {
    FieldInfo::number("ppid", format!("parent process of {whose}"))
}

fn fork() -> EventInfo {
    EventInfo::new("fork", "the task started another one")
        .field(FieldInfo::number("child_tid", "the new task"))
        .field(FieldInfo::word("kind", "kind of the new task").words(["process", "thread"]))
        .field(FieldInfo::word("flags", "flags of clone(2)"))
        .field(FieldInfo::number("child_pid", "process of the new task").optional())
        .field(parent("the new task: another than the task's own process with CLONE_PARENT").optional())
}

fn exec() -> EventInfo {
    EventInfo::new("exec", "the task executes another program")
        .field(FieldInfo::text("path", "path of the program, as the kernel was given it"))
        .field(FieldInfo::number(
            "old_tid",
            "thread id before the exec; differs from tid if the calling thread was not the main thread",
        ))
        .field(parent("the process").optional())
        .field(FieldInfo::number("argc", "number of arguments, with the name of the program").optional())
        .field(FieldInfo::list("argv", "the arguments, up to 4,096 bytes").optional())
        .field(FieldInfo::flag("argv_cut", "the arguments are longer").optional())
        .field(FieldInfo::flag("argv_unreadable", "the arguments could not be read").optional())
        .field(FieldInfo::text("interpreter", "interpreter of a script, as the script names it").optional())
        .field(FieldInfo::text("file", "file that runs, without links").optional())
}

fn exec_failed() -> EventInfo {
    EventInfo::new("exec_failed", "the task could not execute another program")
        .field(FieldInfo::flag("unreadable", "the path could not be read; there is none then").optional())
        .field(FieldInfo::text("path", "path of the program, as the task gave it").optional())
        .field(FieldInfo::flag("cut", "the path is longer than any file's, and was cut").optional())
        .field(FieldInfo::number("dirfd", "directory of execveat(2), unless it is AT_FDCWD").optional())
        .field(parent("the process"))
        .field(FieldInfo::number("result", "negative error number"))
        .field(FieldInfo::word("error", "name of the error").optional())
}

fn exit() -> EventInfo {
    EventInfo::new("exit", "the task has ended")
        .field(FieldInfo::number("status", "exit status, if it or its process called exit(2)").optional())
        .field(FieldInfo::flag("killed", "a signal ended it").optional())
        .field(FieldInfo::word("signal", "the signal, if known").optional())
        .field(FieldInfo::flag("core_dumped", "the signal has left a core dump").optional())
        .field(FieldInfo::flag("by_exec", "another thread of its process has executed a program").optional())
        .field(
            FieldInfo::flag("group_dead", "its process has ended with it; not every kernel reports this")
                .optional(),
        )
        .field(parent("the process").optional())
        .field(FieldInfo::duration("lifetime", "time since the process or the thread began").optional())
        .field(FieldInfo::duration("cpu_time", "CPU time of the process or the thread").optional())
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
        .field(FieldInfo::number("to_pid", "receiving process").optional())
}

fn signal_deliver() -> EventInfo {
    EventInfo::new("signal_deliver", "a signal was delivered to the task")
        .fields(signal())
        .field(FieldInfo::word("action", "what the signal does").words(["default", "ignore", "handler"]))
        .field(FieldInfo::address("handler", "address of the handler").optional())
        .field(FieldInfo::word("flags", "flags of sigaction(2), if there is a handler").optional())
        .field(FieldInfo::number("sender_pid", "process that sent the signal").optional())
        .field(FieldInfo::text("sender_comm", "name of the thread that sent the signal").optional())
}
