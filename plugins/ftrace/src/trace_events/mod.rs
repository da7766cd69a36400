//! `trace_events`: any events that the kernel has.

mod filter;
mod selection;

use trace_hook_api::{Environment, Hook, HookInfo, Param, Request, Result, Session};
use tracefs::{Instance, Tracefs};
use tracefs_session::{AsRecorded, TracefsSession, find, usable_tracefs};

use filter::Filter;
use selection::{EventName, Pattern};

/// The hook.
pub struct TraceEvents;

impl Hook for TraceEvents {
    fn info(&self) -> HookInfo {
        HookInfo::new("trace_events", "Any events that the kernel has, a line each, as the kernel writes them")
            .json()
            .param(
                Param::text(
                    "event",
                    "SYSTEM:EVENT",
                    "record these events; both names may have * ? [...], and SYSTEM alone means all of its events",
                )
                .short('e')
                .repeated()
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
            .details(
                "Which events there are: directories SYSTEM/EVENT in events/ of tracefs, with their fields in a file \
                 format. A filter compares fields with values, as in 'prev_prio < 100 && next_comm ~ \"ba*\"' \
                 (Documentation/trace/events.rst). Example:\n  \
                 --args \"--pid 4711 -e sched:sched_switch 'block:*' --filter 'sched:sched_switch prev_state == 1'\"\n\
                 A line names the task and its id, the CPU, the time since boot in seconds, the event and what it \
                 says of itself. In JSON, fields has the event's fields by the kernel's names for them.",
            )
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        usable_tracefs(environment).map(drop)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let tracefs = find(&request.environment)?;
        let events = chosen_events(&tracefs, request.arguments.texts("event"))?;
        let filters = request.arguments.texts("filter").iter().map(|words| Filter::parse(words));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        filters.iter().try_for_each(|filter| filter.check_use(&events))?;
        let with_stack = request.arguments.flag("stack");
        let enable = |instance: &Instance| {
            // Without it the kernel prints a hash for each address, whose key never leaves it.
            instance.set_option("hash-ptr", false)?;
            if with_stack {
                instance.set_option("stacktrace", true)?;
                instance.set_option("userstacktrace", true)?;
            }
            // Filters first: an event that is on records everything until it has one.
            filters.iter().try_for_each(|filter| filter.set(instance, &events))?;
            events.iter().try_for_each(|event| Ok(instance.enable_event(&event.system, &event.name)?))
        };
        Ok(Box::new(TracefsSession::start(request, enable, |_| Ok(Box::<AsRecorded>::default()))?))
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
