//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};
use trace_syscalls::CALLS_THAT_RETURN_ADDRESSES;

/// Describes the events with and without `--decode`.
pub fn events() -> Vec<EventInfo> {
    let mut events = vec![
        EventInfo::new("sys_enter_*", "without --decode: a system call begins").field(FieldInfo::group(
            "fields",
            "arguments of the call",
            [FieldInfo::any("*", "an argument by the kernel's name, and the number of the call")],
        )),
        EventInfo::new("sys_exit_*", "with --exit: a system call returns").field(FieldInfo::group(
            "fields",
            "result of the call",
            [FieldInfo::any("*", "ret, the result, and the number of the call")],
        )),
    ];
    for call in CALLS_THAT_RETURN_ADDRESSES {
        let result = FieldInfo::any("result", "an address, or a negative error number");
        events.push(decoded(call, "with --decode: a system call that returns an address", result));
    }
    let result =
        FieldInfo::number("result", "result, or a negative error number; none if it was not seen to return");
    events.push(decoded(
        "*",
        "with --decode: a system call by its name, when it has returned; its time is when it began",
        result.optional(),
    ));
    events
}

fn decoded(call: &str, meaning: &str, result: FieldInfo) -> EventInfo {
    let arguments = FieldInfo::group(
        "arguments",
        "arguments of the call; none if its beginning was not seen",
        [FieldInfo::any("*", "an argument by the kernel's name, with its constants by name")],
    );
    EventInfo::new(call, meaning)
        .field(arguments.optional())
        .field(
            FieldInfo::flag(
                "resumed",
                "the beginning was not seen: before the session, or among lost events",
            )
            .optional(),
        )
        .field(result)
        .field(FieldInfo::word("error", "name of the error, if the call failed").optional())
        .field(FieldInfo::duration("duration", "time from the beginning to the return").optional())
        .field(
            FieldInfo::flag("unfinished", "the return was not seen: after the session, or among lost events")
                .optional(),
        )
}
