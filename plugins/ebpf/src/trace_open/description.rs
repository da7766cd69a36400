//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

use super::CALLS;

/// Describes the event that [`show`](super::show::show) writes.
pub fn open() -> EventInfo {
    EventInfo::new("open", "a call that opens a file has returned; its time is when it began")
        .field(FieldInfo::flag("unreadable", "the name could not be read; there is no path then").optional())
        .field(FieldInfo::text("path", "path of the file, as the traced process sees it").optional())
        .field(FieldInfo::text("name", "name as the program gave it, if relative").optional())
        .field(
            FieldInfo::number("dirfd", "descriptor of the directory that the name is relative to").optional(),
        )
        .field(FieldInfo::flag("cut", "the name is longer than any file's, and was cut").optional())
        .field(FieldInfo::word("call", "system call").words(CALLS))
        .field(FieldInfo::word("flags", "flags of the call, such as O_RDONLY").optional())
        .field(FieldInfo::word("mode", "mode of a file to be created, in octal").optional())
        .field(FieldInfo::word("resolve", "resolve flags of openat2").optional())
        .field(FieldInfo::number("result", "descriptor, or a negative error number"))
        .field(FieldInfo::word("error", "name of the error").optional())
        .field(
            FieldInfo::duration("duration", "time from the call to its return, if both were seen").optional(),
        )
        .field(FieldInfo::flag("io_uring", "a request to io_uring"))
        .field(FieldInfo::flag("compat", "a compat (32-bit) system call"))
}
