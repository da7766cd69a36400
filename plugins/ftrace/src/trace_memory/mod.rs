//! `trace_memory`: the memory that the traced tasks take, and what it costs them.

mod allocation_flags;
mod call_sites;
mod events;
mod faults;
mod kinds;
mod kmalloc;
mod mappings;
mod oom;
mod pages;
mod reclaim;
mod rss;
mod stack;
mod summary;

use std::time::Duration;

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session, Unit,
};
use tracefs::Instance;
use tracefs_session::{EventStream, Renderer, TracefsSession, find};

use crate::tracepoint;
use events::EventLines;
use kinds::{KINDS, Kind};
use summary::MemorySummary;

/// The hook.
pub struct TraceMemory;

/// The longest that a summary may be waited for, in seconds: a day.
const LONGEST_SUMMARY: i64 = 86_400;

impl Hook for TraceMemory {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_memory",
            "The memory of the traced tasks: pages, page faults, kmalloc, resident sizes, reclaim and OOM kills",
        )
        .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
        .param(
            Param::text("kind", "KIND", "only events of these kinds; all that the kernel has by default")
                .short('k')
                .comma_separated()
                .choices(KINDS.map(|(name, _)| name)),
        )
        .param(
            Param::duration(
                "summary",
                "TIME",
                "how much was allocated from where, this often, instead of the single events",
                Unit::Seconds,
            )
            .range(1, LONGEST_SUMMARY),
        )
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &pages::TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let names = request.arguments.texts("kind")?;
        let kinds = Kind::chosen(names, &find(&request.environment)?)?;
        match request.arguments.duration("summary")? {
            None => record_events(request, &kinds),
            Some(every) => record_summaries(request, &with_call_sites(kinds, names)?, every),
        }
    }
}

fn record_events(request: &Request, kinds: &[Kind]) -> Result<Box<dyn Session>> {
    let enable = |instance: &Instance| kinds.iter().try_for_each(|kind| kind.enable(instance));
    let view = |stream: &mut EventStream| {
        let events = kinds.iter().map(|kind| kind.events(stream)).collect::<Result<_>>()?;
        Ok(Box::new(EventLines(events)) as Box<dyn Renderer>)
    };
    Ok(Box::new(match kinds.contains(&Kind::Oom) {
        true => TracefsSession::start_with_system_wide(request, enable, oom::enable_system_wide, view)?,
        false => TracefsSession::start(request, enable, view)?,
    }))
}

fn record_summaries(request: &Request, kinds: &[Kind], every: Duration) -> Result<Box<dyn Session>> {
    let enable = |instance: &Instance| kinds.iter().try_for_each(|kind| kind.enable_call_sites(instance));
    let procfs = request.environment.procfs.clone();
    let view = |stream: &mut EventStream| {
        let events = kinds.iter().map(|kind| kind.events(stream)).collect::<Result<_>>()?;
        Ok(Box::new(MemorySummary::new(every, events, procfs, stream)?) as Box<dyn Renderer>)
    };
    Ok(Box::new(TracefsSession::start(request, enable, view)?))
}

/// Those that a summary can be about.
fn with_call_sites(kinds: Vec<Kind>, named: &[String]) -> Result<Vec<Kind>> {
    let (with, without): (Vec<Kind>, Vec<Kind>) = kinds.into_iter().partition(|kind| kind.has_call_sites());
    if !named.is_empty() && !without.is_empty() {
        let names = KINDS.iter().filter(|(_, kind)| without.contains(kind)).map(|(name, _)| *name);
        return Err(HookError::usage(format!(
            "no summary of {}: only pages, faults and kmalloc come from somewhere",
            names.collect::<Vec<_>>().join(" and ")
        )));
    }
    Ok(with)
}

const DETAILS: &str = "\
A line names the task that did it and its id, the CPU, the time since boot in seconds, and one of these events. All sizes are in \
bytes, and `flags` are those of the kernel's allocations (GFP_KERNEL ...).

page_alloc, page_free (--kind pages): the kernel has given a block of pages for the task, or taken one back: `size`, `pfn`, \
the number of its first page, `order`, the power of two of its pages; `failed` if there was none to give. Pages are freed by \
whoever is the last to use them, perhaps much later.

page_fault (faults): the task, or the kernel on its behalf (`in_kernel`), used the memory at `address` that was not there yet; \
with `present`, it was there, but not for this `access` (read, write, exec), as with a page that is shared until it is \
written to. `caller` is the instruction. Kernels for aarch64 do not tell of page faults.

kmalloc (kmalloc): the kernel took `size` bytes for itself, of which `requested` were needed, at `address`; `caller` is the function that \
wanted them.

rss (rss): the resident memory of one kind of `pages` (file, anon, swap, shmem) is `size` now; `change` since the line before \
about the same, if nothing was lost in between. `space` tells one address space from others; `other_space`: it is not the task's own, but one of a child \
that it forks, or of the program that it is about to execute. A task that exits without having had a line of its own space \
before has it, too.

reclaim (reclaim): there was too little memory, and the task itself had to get `size` bytes back, for a block of pages of this \
`order`, which took the `duration`. `cause`: `direct` (the machine has too little), `cgroup` (its cgroup may have no more), or \
`node`. reclaim_throttled (reclaim): it had to wait for others that do so, for the `duration`. wakeup_kswapd (reclaim): it woke \
the kernel's own task for this, that of the memory `node`, for a block of this `order`.

oom_kill (oom): for want of memory the kernel kills `victim_tid`. The line is that of the task that wanted memory; it is told if \
either is traced. Linux 6.9 and later tell its `victim_comm` and what memory it has: `virtual`, resident of `anon`, `file` and \
`shmem`, and `page_tables`. oom_score_adj (oom): the task made `of_tid`, whose name is `of_comm`, more or less likely to be \
killed: its `score` (oom_score_adj in proc(5)) is this now.

Memory that interrupts take while the task runs is left out.

With --summary: for each place that memory was taken from, since the last summary, a line `call_site` with its `kind` (pages, \
faults, kmalloc), `count` and `size`; those of the largest size first, and a line `all_call_sites` for each kind. `caller` is a function of the kernel; of a page \
fault the instruction in a file of the program, with the process's name and id before it; only its address, if it is of no \
file, or if the process had ended, or executed another program, when it was first looked at: that is some 30 milliseconds after the \
fault. A fault counts as one page. With 50,000 places a summary comes before its time.

Examples:
              cc-4711    [001]   123.000456: kmalloc: size=1024 requested=640 address=0xffff88800e5d1000 caller=alloc_pipe_info+0x9f/0x230 flags=GFP_KERNEL_ACCOUNT
  124.000000: call_site: kind=kmalloc caller=alloc_pipe_info+0x9f/0x230 count=12 size=12288";
