//! `trace_block`: the block requests of the traced tasks, and how long they take.

mod description;
mod devices;
mod operation;
mod records;
mod renderer;
mod requests;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::{JOINING, TracefsSession};

use crate::tracepoint;
use renderer::BlockRenderer;

/// The hook.
pub struct TraceBlock;

impl Hook for TraceBlock {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_block",
            "Block requests of the traced tasks: device, sector, size, operation, and how long each took",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .details(format!("{DETAILS}\n\n{JOINING}"))
        .example("--format json", "every request, as JSON")
        .event(description::request())
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &[records::INSERT, records::ISSUE, records::COMPLETE])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let sysfs = request.environment.sysfs.clone();
        let renderer = |stream: &mut _| Ok(Box::new(BlockRenderer::new(stream, sysfs)?) as _);
        Ok(Box::new(TracefsSession::start_with_system_wide(request, enable, enable_system_wide, renderer)?))
    }
}

/// Enables the events of the traced tasks themselves: the beginnings, which have the owner of a request.
fn enable(instance: &Instance) -> Result<()> {
    records::enable_beginnings(instance)
}

/// Enables the other events, whatever task runs: an I/O scheduler may issue a request while any task runs, and the device
/// interrupts any.
fn enable_system_wide(instance: &Instance) -> Result<()> {
    [records::ISSUE, records::COMPLETE].into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))
}

const DETAILS: &str = "\
A line is a request that has completed, at the time of its completion. `unfinished` marks one whose completion was not seen. \
Concurrent requests with the same operation, size and sector may be confused with one another.

A write to a file goes to memory first. The kernel's own tasks (kworker, jbd2) write it to the device later, so these requests \
are theirs, not the program's, unless it waits for them (O_DIRECT) or writes them itself (fsync). What the kernel merges into a \
request that is not issued yet is not a request of its own: the line is that of the task that made the first. The requests of a \
device on top of others, such as LVM, RAID or loop, may be made by tasks of the kernel.

Devices that have no requests, such as zram, brd and pmem, do not appear. Before Linux 6.10 the kernel does not distinguish \
WRITE_ZEROES from ZONE_APPEND, which only zoned devices have: both are shown as WRITE_ZEROES.

The completions of all requests of the machine are recorded to find those of the traced tasks; each costs well under a \
microsecond.

Example:
              dd-4711    [001]   123.000456: request: device=254:0 disk=vda sector=2048 size=4096 operation=WRITE flags=sync \
queued=3.120us duration=93.456us";
