//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

use super::operation::OPERATIONS;

/// Describes the event that [`BlockRenderer`](super::renderer::BlockRenderer) writes.
pub fn request() -> EventInfo {
    EventInfo::new(
        "request",
        "a request has completed; the task is the one that made it, the CPU the one that saw the completion",
    )
    .field(FieldInfo::word("device", "number of the device, MAJOR:MINOR"))
    .field(FieldInfo::word("disk", "name of the device, if it still exists").optional())
    .field(FieldInfo::number("sector", "first sector").unit("512 bytes"))
    .field(FieldInfo::number("size", "size of the request").unit("bytes"))
    .field(FieldInfo::word("operation", "operation").words(OPERATIONS.map(|(_, name)| name)))
    .field(
        FieldInfo::word(
            "flags",
            "flags that are set, joined by |: preflush (earlier writes are made durable first), fua (this write is made \
             durable), ahead (readahead), sync (a task waits for it), meta (metadata of the file system), atomic",
        )
        .optional(),
    )
    .field(FieldInfo::duration("queued", "time from its creation until it was issued to the device").optional())
    .field(FieldInfo::duration("duration", "time from then until its completion").optional())
    .field(FieldInfo::word("error", "name of the error, if it failed").optional())
    .field(
        FieldInfo::flag(
            "unfinished",
            "the completion was not seen: the session ended before, events were lost, or more than 65,536 requests were in \
             progress",
        )
        .optional(),
    )
}
