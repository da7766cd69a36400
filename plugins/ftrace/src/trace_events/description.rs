//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events that the kernel may have.
pub fn events() -> [EventInfo; 3] {
    let stack = || {
        FieldInfo::list(
            "stack",
            "functions or addresses, innermost first; `[truncated]` at the end if the kernel has cut it",
        )
    };
    [
        EventInfo::new("kernel_stack", "with --stack: the kernel's stack of the event before").field(stack()),
        EventInfo::new("user_stack", "with --stack: the program's stack of the event before").field(stack()),
        EventInfo::new("*", "an event of the kernel").field(
FieldInfo::group(
            "fields",
            "fields of the event",
            [FieldInfo::any(
                "*",
                "a field by the kernel's name: a number, a text, a pointer as address, anything else as bytes in hexadecimal",
            )],
        ).optional()),
    ]
}
