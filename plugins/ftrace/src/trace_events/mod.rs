//! `trace_events`: any events that the kernel has.

mod filter;
mod selection;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session};
use tracefs::{Error, Instance, Tracefs};
use tracefs_session::{AsRecorded, TracefsSession, find, usable_tracefs};

use filter::Filter;
use selection::{EventName, Pattern};

/// The hook.
pub struct TraceEvents;

impl Hook for TraceEvents {
    fn info(&self) -> HookInfo {
        HookInfo::new("trace_events", "Any events that the kernel has, a line each, as the kernel writes them")
            .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
            .param(
                Param::text(
                    "event",
                    "SYSTEM:EVENT",
                    "record these events; both names may have * ? [...], and SYSTEM alone means all of its events",
                )
                .short('e')
                .comma_separated()
                .required(),
            )
            .param(
                Param::text(
                    "filter",
                    "[SYSTEM:EVENT ]EXPRESSION",
                    "record only what this holds for, of all events or of those named before it; in quotes",
                )
                .short('f')
                .repeated(),
            )
            .param(Param::flag("stack", "after each event the stacks of the kernel and of the program"))
            .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        usable_tracefs(environment).map(drop)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let tracefs = find(&request.environment)?;
        let events = chosen_events(&tracefs, request.arguments.texts("event")?)?;
        let filters = request.arguments.texts("filter")?.iter().map(|words| Filter::parse(words));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        filters.iter().try_for_each(|filter| filter.check_use(&events))?;
        let with_stack = request.arguments.flag("stack")?;
        let enable = |instance: &Instance| {
            // Without it the kernel prints a hash for each address, whose key never leaves it.
            instance.set_option("hash-ptr", false)?;
            if with_stack {
                instance.set_option("stacktrace", true)?;
                instance.set_option("userstacktrace", true)?;
            }
            // Filters first: an event that is on records everything until it has one.
            filters.iter().try_for_each(|filter| filter.set(instance, &events))?;
            events.iter().try_for_each(|event| enable(instance, event, events.len()))
        };
        Ok(Box::new(TracefsSession::start(request, enable, |_| Ok(Box::<AsRecorded>::default()))?))
    }
}

/// One of so many events. Of several, some may be gone by now: those of probes that somebody has removed.
fn enable(instance: &Instance, event: &EventName, count: usize) -> Result<()> {
    match instance.enable_event(&event.system, &event.name) {
        Err(Error::UnknownEvent { .. }) if count > 1 => Ok(()),
        enabled => Ok(enabled?),
    }
}

/// Each event once, in the order of the kernel's names.
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
Which events there are: directories SYSTEM/EVENT in events/ of tracefs, each with a file format that tells its fields. A filter \
compares fields with values, as in 'prev_prio < 100 && next_comm ~ \"ba*\"' (Documentation/trace/events.rst).

A line names the task that was running and its id, the CPU, five letters of the kernel's about interrupts and preemption, the \
time since boot in seconds, the event and what it says of itself: what the kernel itself writes, with the exceptions below. In JSON `fields` has the event's fields by the kernel's names for them: numbers, texts, pointers \
as addresses, and of anything else the bytes in hex.

Other than as the kernel writes it: Each byte of a control character, also of a tab of the kernel's own and of a line end in a \
marker, and each that is no part of valid UTF-8 is a `?`. Addresses (%p) are shown, and not the kernel's hash of them; one that \
only the kernel can work out is a `?`, as `page` of kmem:mm_page_alloc and its like. Events whose format takes more than their record \
are shown field by field, as `name=value`, with unsigned numbers in hex: jbd2:jbd2_checkpoint_stats and jbd2_run_stats, \
kvmmmu:kvm_mmu_get_page, kvm_mmu_sync_page, kvm_mmu_unsync_page and kvm_mmu_prepare_zap_page, ras:mc_event, \
writeback:writeback_single_inode, writeback_single_inode_start and writeback_sb_inodes_requeue on Linux 6.18, and some 70 \
more where the kernel has no BTF.

Not recorded, nor counted by the kernel: an event that is larger than a page, as sched:sched_process_exec with a path of more \
than some 4,050 bytes.

With --stack lines `<stack trace>` and `<user stack trace>` follow, and below them ` => ` and a function or an address, the \
innermost first. In JSON these are events of their own, kernel_stack and user_stack, with a list, `stack`.

Examples:
  --args \"--pid 4711 -e sched:sched_switch 'block:*' --filter 'sched:sched_switch prev_state == 1'\"
            bash-4711    [001] d....   123.000456: sched_switch: prev_comm=bash prev_pid=4711 prev_prio=120 prev_state=S ==> \
next_comm=swapper/1 next_pid=0 next_prio=120";
