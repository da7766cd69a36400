//! `trace_memory`: memory allocation, page faults, resident sizes, reclaim and OOM kills of the traced tasks.

mod allocation_flags;
mod call_sites;
mod description;
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
use tracefs_session::{EventStream, JOINING, KERNEL_FUNCTIONS, Renderer, TracefsSession, find};

use crate::tracepoint;
use events::EventLines;
use kinds::{KINDS, Kind};
use summary::MemorySummary;

/// The hook.
pub struct TraceMemory;

/// The longest interval of a summary, in seconds: a day.
const LONGEST_SUMMARY: i64 = 86_400;

impl Hook for TraceMemory {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_memory",
            "Memory of the traced tasks: pages, page faults, kmalloc, resident sizes, reclaim and OOM kills",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::text("kind", "KIND", "only events of these kinds; default: all that the kernel has")
                .short('k')
                .comma_separated()
                .choices(KINDS.map(|(name, _)| name)),
        )
        .param(
            Param::duration(
                "summary",
                "TIME",
                "at this interval, how much each place in the code allocated, instead of single events",
                Unit::Seconds,
            )
            .range(1, LONGEST_SUMMARY),
        )
        .details(format!("{DETAILS}\n\n{KERNEL_FUNCTIONS}\n\n{JOINING}"))
        .example("--summary 10s", "every 10 s, which code allocated how much")
        .example("-k rss,oom", "resident sizes and OOM kills");
        description::events().into_iter().fold(info, HookInfo::event)
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
    let renderer = |stream: &mut EventStream| {
        let events = kinds.iter().map(|kind| kind.events(stream)).collect::<Result<_>>()?;
        Ok(Box::new(EventLines(events)) as Box<dyn Renderer>)
    };
    Ok(Box::new(match kinds.contains(&Kind::Oom) {
        true => TracefsSession::start_with_system_wide(request, enable, oom::enable_system_wide, renderer)?,
        false => TracefsSession::start(request, enable, renderer)?,
    }))
}

fn record_summaries(request: &Request, kinds: &[Kind], every: Duration) -> Result<Box<dyn Session>> {
    let enable = |instance: &Instance| kinds.iter().try_for_each(|kind| kind.enable_call_sites(instance));
    let renderer = |stream: &mut EventStream| {
        let events = kinds.iter().map(|kind| kind.events(stream)).collect::<Result<_>>()?;
        Ok(Box::new(MemorySummary::new(every, events, &request.environment, stream)?) as Box<dyn Renderer>)
    };
    Ok(Box::new(TracefsSession::start(request, enable, renderer)?))
}

/// The kinds that a summary can have.
fn with_call_sites(kinds: Vec<Kind>, named: &[String]) -> Result<Vec<Kind>> {
    let (with, without): (Vec<Kind>, Vec<Kind>) = kinds.into_iter().partition(|kind| kind.has_call_sites());
    if !named.is_empty() && !without.is_empty() {
        let names = KINDS.iter().filter(|(_, kind)| without.contains(kind)).map(|(name, _)| *name);
        return Err(HookError::usage(format!(
            "--summary cannot report {}: only pages, faults and kmalloc have call sites",
            names.collect::<Vec<_>>().join(" and ")
        )));
    }
    Ok(with)
}

const DETAILS: &str = "\
All sizes are in bytes. Pages are freed by the task that uses them last, which may be much later. Kernels for aarch64 do not \
report page faults. Memory that interrupts allocate while the task runs is omitted.

rss: a task that exits without having had a line about its own address space has `other_space`. `change` is missing after lost \
events, and if more than 32,768 sizes of other address spaces were reported since.

oom_kill: the line is that of the task that needed memory. It is printed if this task or the killed one is traced.

With --summary, for each place in the code that allocated memory since the previous summary there is a line `call_site`, the \
largest first, and for each kind a line `all_call_sites`. The address of a page fault in a program is printed without its file if \
the memory belongs to no file, or if the process ended, or executed another program, before its mappings were read: some 30 \
milliseconds after the fault.

20,000 call sites at most are counted one by one, so the memory of the session is bounded. With more, the smaller half is counted \
together in a line `other_call_sites` for each kind, and again each time that many are reached. A call site that is seen again \
after that has a line with what it allocated since. The counts of `all_call_sites` are always complete.

Examples:
              cc-4711    [001]   123.000456: kmalloc: size=1024 requested=640 address=0xffff88800e5d1000 caller=alloc_pipe_info+0x9f/0x230 flags=GFP_KERNEL_ACCOUNT
  124.000000: call_site: kind=kmalloc caller=alloc_pipe_info+0x9f/0x230 count=12 size=12288";
