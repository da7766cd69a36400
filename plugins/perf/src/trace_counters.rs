//! `trace_counters`: what the traced tasks take of the machine.

use std::time::Duration;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session, Unit};

use crate::access;
use crate::counters::{CountersSession, Grouping};

/// A day, in milliseconds.
const LONGEST: i64 = 86_400_000;

/// The hook.
pub struct TraceCounters;

impl Hook for TraceCounters {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_counters",
            "CPU time, context switches, page faults, cycles and the like of the traced processes, every so often",
        )
        .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
        .param(
            Param::duration("interval", "TIME", "time between two lines about a process", Unit::Milliseconds)
                .short('i')
                .range(1, LONGEST)
                .default("1000"),
        )
        .param(Param::flag("total", "one line for all processes together"))
        .details(
            "A line tells how much there was of each quantity since the line before, for a process that was given with \
             all its threads and all that descends from it, but for other processes that were given, which have \
             lines of their own: what perf stat -I tells. The last line is of the time up to \
             the end. A line about a process given by --parent tells of its descendants only.\n\n\
             interval is what the line covers: more than was asked for, if the reader is slow. task_clock is CPU time, \
             in a virtual machine with what the host took of it; context_switches, migrations (from one CPU to another) \
             and page_faults are counted by the kernel; cycles, instructions and cache_misses by the processor. What \
             this machine cannot count is left out, and the first line (`uncounted`) says so. Where tasks had to share \
             the processor's counters, counted is the share of the time in which they counted, and the numbers are \
             estimates for all of it.\n\n\
             In JSON, times are numbers of nanoseconds: interval_ns, task_clock_ns. The kernel stops counting where a \
             task executes a set-user-ID program.\n\n\
             Example:\n\
             \x20           work-4711     1234.567890: counters: interval=1000120.001us task_clock=995000.123us \
             context_switches=12 migrations=1 page_faults=340 cycles=2985000123 instructions=5970000456 \
             cache_misses=1234",
        )
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        access::check(environment)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        access::check(&request.environment)?;
        let every = request.arguments.duration("interval")?.unwrap_or(Duration::from_secs(1));
        let grouping = if request.arguments.flag("total")? { Grouping::Total } else { Grouping::Process };
        let session = CountersSession::start(request, every, grouping)?;
        Ok(Box::new(session))
    }
}
