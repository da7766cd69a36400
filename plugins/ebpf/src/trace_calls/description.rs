//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};
use trace_syscalls::CALLS_THAT_RETURN_ADDRESSES;

/// Describes the events that [`show`](super::show::show) writes.
pub fn events() -> Vec<EventInfo> {
    let mut events: Vec<EventInfo> = CALLS_THAT_RETURN_ADDRESSES
        .iter()
        .map(|call| {
            let result = FieldInfo::any("result", "an address, or a negative error number");
            of_call(call, "a system call that returns an address", result)
        })
        .collect();
    let result =
        FieldInfo::number("result", "result, or a negative error number; none if it was not seen to return");
    events.push(of_call(
        "*",
        "a system call by its name, when it has returned; its time is when it began",
        result.optional(),
    ));
    events
}

fn of_call(call: &str, meaning: &str, result: FieldInfo) -> EventInfo {
    let arguments = FieldInfo::group(
        "arguments",
        "arguments of the call, and what they lead to",
        [FieldInfo::any("*", "an argument by the kernel's name, with its constants by name")],
    );
    EventInfo::new(call, meaning)
        .field(arguments)
        .field(result)
        .field(FieldInfo::text("result_is", "what the returned descriptor is, only in JSON").optional())
        .field(FieldInfo::word("error", "name of the error, if the call failed").optional())
        .field(
            FieldInfo::duration("duration", "time from the call to its return, if both were seen").optional(),
        )
        .field(
            FieldInfo::flag("resumed", "only the return was seen: the time is that of the return").optional(),
        )
        .field(
            FieldInfo::flag("unfinished", "the call did not return before its task or the session ended")
                .optional(),
        )
        .field(
            FieldInfo::flag("cut", "not all that the arguments lead to found room in the record").optional(),
        )
        .field(FieldInfo::flag("compat", "a compat (32-bit) system call"))
}
