//! `trace_block`: the block requests of the traced tasks, and how long they take.

mod devices;
mod operation;
mod records;
mod requests;
mod view;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::TracefsSession;

use crate::tracepoint;
use view::BlockView;

/// The hook.
pub struct TraceBlock;

impl Hook for TraceBlock {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_block",
            "Each request of the traced tasks to a block device: where, what, how much, and how long it took",
        )
        .formats([Format::Text, Format::Json])
        .selects([Selection::Exact, Selection::Parents])
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &[records::INSERT, records::ISSUE, records::COMPLETE])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let sysfs = request.environment.sysfs.clone();
        let view = |stream: &mut _| Ok(Box::new(BlockView::new(stream, sysfs)?) as _);
        Ok(Box::new(TracefsSession::start_with_system_wide(request, enable, enable_system_wide, view)?))
    }
}

/// Enables the events of the traced tasks themselves: the beginnings, which have the owner of a request.
fn enable(instance: &Instance) -> Result<()> {
    records::beginning(instance.tracefs()).enable(instance)
}

/// Enables the other events, whatever task runs: an I/O scheduler may issue a request while any task runs, and the device
/// interrupts any.
fn enable_system_wide(instance: &Instance) -> Result<()> {
    [records::ISSUE, records::COMPLETE].into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))
}

const DETAILS: &str = "\
A line tells of a request that is done: the name and the id of the task that made it, the CPU that learnt of its end, \
the time of its end since boot in seconds, and `request:` with

`device`, the numbers of the device, and `disk`, its name; `sector`, where it begins, in units of 512 bytes; `size` in bytes; \
`operation`: READ, WRITE, FLUSH, DISCARD, SECURE_ERASE, WRITE_ZEROES, the ZONE_ ones, or OTHER; and of `flags` those that hold: \
`preflush` (what was written before is made durable first), `fua` (this itself is), `ahead` (read ahead of need), `sync` (somebody waits), \
`meta` (of the file system itself), `atomic`.

`queued`: how long it was from its making to its being given to the device; `duration`: from then to its end. `error` is the \
error's name, if it failed. `unfinished` says that its end was not seen: it was not done when the session ended, or when events were lost, after which \
no end is taken for that of a request before. Of requests of one operation and size at the same place at the same time, one may \
be told as another.

A write to a file goes to memory at first. The kernel's own tasks (kworker, jbd2) write it to the device later, and such requests \
are theirs, not the program's, unless it waits for them (O_DIRECT) or writes them itself (fsync). What the kernel adds to a request that is not given \
to the device yet is no request of its own; a request is told as that of the task that began it. A device on others, such \
as one of LVM, RAID or loop, may have its requests made by tasks of the kernel. The ends of all requests of the machine are recorded to find those that \
belong to the traced tasks; each costs well under a microsecond.

Example:
              dd-4711    [001]   123.000456: request: device=254:0 disk=vda sector=2048 size=4096 operation=WRITE flags=sync \
queued=3.120us duration=93.456us";
