//! `trace_events`: any tracepoint events.

mod description;
mod filter;
mod selection;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session};
use tracefs::{Error, Instance, Tracefs};
use tracefs_session::{AsRecorded, JOINING, KERNEL_FUNCTIONS, TracefsSession, find, usable_tracefs};

use filter::Filter;
use selection::{EventName, Pattern};

/// The hook.
pub struct TraceEvents;

impl Hook for TraceEvents {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new("trace_events", "Any tracepoint events, a line each, as the kernel prints them")
            .formats([Format::Text, Format::Json])
        .honours_view().selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
            .param(
                Param::text(
                    "event",
                    "SYSTEM:EVENT",
                    "record these events; both names may contain * ? [...], and SYSTEM alone means all of its events",
                )
                .short('e')
                .comma_separated()
                .required(),
            )
            .param(
                Param::text(
                    "filter",
                    "[SYSTEM:EVENT ]EXPRESSION",
                    "record only events for which this is true: of all events, or of those named before it; quote it",
                )
                .short('f')
                .repeated(),
            )
            .param(Param::flag("stack", "print the stacks of the kernel and of the program after each event"))
.details(format!("{DETAILS}\n\n{KERNEL_FUNCTIONS}\n\n{JOINING}")).example("-e sched:sched_switch 'block:*' --filter 'sched:sched_switch prev_state == 1'", "requests, and switches away from a task that goes to sleep").example("-e kmem:mm_page_alloc --stack", "who allocates pages");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        usable_tracefs(environment).map(drop)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let tracefs = find(&request.environment)?;
        let events = chosen_events(&tracefs, request.arguments.texts("event")?)?;
        let filters = request.arguments.texts("filter")?.iter().map(|words| Filter::parse(words));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        filters.iter().try_for_each(|filter| filter.check_applies(&events))?;
        let with_stack = request.arguments.flag("stack")?;
        let enable = |instance: &Instance| {
            if with_stack {
                instance.set_option("stacktrace", true)?;
                instance.set_option("userstacktrace", true)?;
            }
            // Filters first: an event that is enabled without a filter records everything.
            filters.iter().try_for_each(|filter| filter.set(instance, &events))?;
            events.iter().try_for_each(|event| enable(instance, event, events.len()))
        };
        Ok(Box::new(TracefsSession::start(request, enable, |_| Ok(Box::<AsRecorded>::default()))?))
    }
}

/// Enables one of `count` events. Of several, some may have disappeared: those of probes that were removed.
fn enable(instance: &Instance, event: &EventName, count: usize) -> Result<()> {
    match instance.enable_event(&event.system, &event.name) {
        Err(Error::UnknownEvent { .. }) if count > 1 => Ok(()),
        enabled => Ok(enabled?),
    }
}

/// The events of all patterns, each once, sorted.
fn chosen_events(tracefs: &Tracefs, patterns: &[String]) -> Result<Vec<EventName>> {
    let mut events = Vec::new();
    for pattern in patterns {
        events.extend(Pattern::parse(pattern)?.events(tracefs)?);
    }
    events.sort();
    events.dedup();
    Ok(events)
}

const DETAILS: &str = "\
The events are the directories SYSTEM/EVENT in events/ of tracefs, each with its fields in the file `format`. A filter compares \
fields with values: 'prev_prio == 120 && next_comm ~ \"ba*\"' (Documentation/trace/events.rst).

A line is what the kernel prints for the event: the task that was running and its thread id, the CPU, letters about \
interrupts and preemption, the time since boot in seconds, the event and its fields. Differences from the kernel's text:

- The time is CLOCK_BOOTTIME, as in the lines of all hooks, not that of the instance's own clock.
- Control and format characters (such as those that reverse text) and bytes that are not valid UTF-8 are printed as `?`.
- Addresses (%p) are printed as they are, not hashed. One that only the kernel can compute is a `?`, such as `page` of \
kmem:mm_page_alloc.
- A string that a probe could not read is `(fault)`, in JSON, too.
- Events whose format refers to more than their record are printed field by field as `name=value`, unsigned numbers in \
hexadecimal: on Linux 6.18 jbd2:jbd2_checkpoint_stats and jbd2_run_stats, kvmmmu:kvm_mmu_get_page, kvm_mmu_sync_page, \
kvm_mmu_unsync_page and kvm_mmu_prepare_zap_page, ras:mc_event, writeback:writeback_single_inode, \
writeback_single_inode_start and writeback_sb_inodes_requeue; some 70 more if the kernel has no BTF.

The kernel drops events that are larger than a page without counting them, such as sched:sched_process_exec with a path of more \
than some 4,050 bytes.

With --stack, the stack of the kernel and that of the program follow an event: a line that names the stack, and a line ` => ` for \
each function or address, innermost first. The kernel records 8 addresses of a program's stack; `[truncated]` stands for the others. \
In JSON they are events of their own, kernel_stack and user_stack.

Example:
            bash-4711    [001] d....   123.000456: sched_switch: prev_comm=bash prev_pid=4711 prev_prio=120 prev_state=S ==> \
next_comm=swapper/1 next_pid=0 next_prio=120";
