//! `trace_counters`: what the traced tasks use of the machine.

use std::time::Duration;

use trace_hook_api::{
    Environment, EventInfo, FieldInfo, Format, Hook, HookInfo, Param, Request, Result, Selection, Session,
    Unit,
};

use crate::access;
use crate::counters::{self, CountersSession, Grouping};

/// A day, in milliseconds.
const MAX_INTERVAL: i64 = 86_400_000;

/// The details of `--describe`.
const DETAILS: &str = "\
A line has what was counted since the line before, as with perf stat -I: one line for each process given by --pid, with \
all its threads and descendants. Other given processes among its descendants have lines of their own. A line about a \
process given by --parent counts its descendants only. A cgroup has one line for all of its processes; so has the machine with --all, \
where the tracer itself is counted. The last line covers the time up to the end.

interval is the time that the line covers. It is longer than requested if the reader is slow. task_clock is CPU time; in \
a virtual machine it includes the time that the host has taken. context_switches, migrations (from one CPU to another) \
and page_faults are counted by the kernel; cycles, instructions and cache_misses by the processor. Counters that this \
machine does not have are omitted, and the first line (`uncounted`) lists them. If the processor's counters were \
multiplexed, counted is the share of the time in which they were counting, and the numbers are scaled to all of it.

In JSON, times are in nanoseconds: interval_ns, task_clock_ns. The kernel stops counting when a task executes a \
set-user-ID program.

Example:
            work-4711     1234.567890: counters: interval=1000120.001us task_clock=995000.123us context_switches=12 \
migrations=1 page_faults=340 cycles=2985000123 instructions=5970000456 cache_misses=1234";

/// The hook.
pub struct TraceCounters;

impl Hook for TraceCounters {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_counters",
            "CPU time, context switches, page faults, cycles and similar counts of the traced processes, at intervals",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::duration("interval", "TIME", "time between two lines about a process", Unit::Milliseconds)
                .short('i')
                .range(1, MAX_INTERVAL)
                .default("1s"),
        )
        .param(Param::flag("total", "one line for all processes together"))
        .event(
            EventInfo::new("uncounted", "these quantities cannot be counted on this machine or without a privilege")
                .field(FieldInfo::list("counters", "names of the fields that are missing"))
                .field(FieldInfo::text("reason", "why they cannot be counted")),
        )
        .event(
            EventInfo::new("counters", "what was counted since the line before")
                .field(FieldInfo::duration("interval", "time that the line covers"))
                .field(FieldInfo::text("cgroup", "directory of the cgroup that the line is about").optional())
                .fields(counters::fields())
                .field(
                    FieldInfo::fraction(
                        "counted",
                        "share of the time in which the processor's counters were counting, if less than 1; the counts are \
                         scaled to all of it",
                    )
                    .optional(),
                ),
        )
        .details(DETAILS).example("-i 10s", "a line every 10 s")
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        access::check(environment)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        access::check(&request.environment)?;
        let interval = request.arguments.duration("interval")?.unwrap_or(Duration::from_secs(1));
        let grouping = if request.arguments.flag("total")? { Grouping::Total } else { Grouping::Process };
        let session = CountersSession::start(request, interval, grouping)?;
        Ok(Box::new(session))
    }
}
