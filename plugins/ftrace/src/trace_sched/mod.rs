//! `trace_sched`: how long the traced tasks wait for a CPU.

mod records;
mod run_lines;
mod summary;
mod view;
mod waits;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session, Unit};
use tracefs::Instance;
use tracefs_session::TracefsSession;

use crate::tracepoint;
use records::TRACEPOINTS;
use run_lines::RunLines;
use summary::Summary;
use view::SchedView;

/// The hook.
pub struct TraceSched;

/// The longest that a summary may be waited for, in seconds: a day.
const LONGEST_SUMMARY: i64 = 86_400;
/// The longest that a wait can be asked to be, in microseconds: an hour.
const LONGEST_WAIT: i64 = 3_600_000_000;

impl Hook for TraceSched {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_sched",
            "How long the traced tasks wait for a CPU: a line each time one gets it, or a summary every so often",
        )
        .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
        .param(
            Param::duration("over", "TIME", "only waits longer than this", Unit::Microseconds).range(0, LONGEST_WAIT),
        )
        .param(
            Param::duration("summary", "TIME", "a summary this often, instead of the single lines", Unit::Seconds)
                .range(1, LONGEST_SUMMARY),
        )
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let over = request.arguments.duration("over")?.map(|over| over.as_nanos() as u64);
        let every = request.arguments.duration("summary")?;
        let session = TracefsSession::start(request, enable, |stream| match every {
            Some(every) => Ok(Box::new(SchedView::new(stream, over, Summary::new(every))?)),
            None => Ok(Box::new(SchedView::new(stream, over, RunLines)?)),
        })?;
        Ok(Box::new(session))
    }
}

fn enable(instance: &Instance) -> Result<()> {
    TRACEPOINTS.into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))
}

const DETAILS: &str = "\
A line says that a task got a CPU: its name and id, the CPU, the time since boot in seconds, and `run:` with

`waited`, how long it was ready and had no CPU; `since`, from when on: `woken` (somebody began to wake it), `preempted` (it \
had to leave its CPU, and was ready all the time), `new` (it was started) or `unknown`, where the kernel did not tell, as \
at the beginning of a session and after lost events; there is no `waited` then. `prev_tid` and `prev_comm` are the id and \
the name of the task that had the CPU before; 0 is the idle task. `missed` says that the kernel did not tell when the task \
got the CPU: the line is of when it left it, and there is no `waited` either.

With --over, waits that are unknown are left out.

With --summary: for each thread that got a CPU a line `waits:` with `count`, the number of its waits, their `mean`, their \
median `p50`, `p99`, which 99 of 100 do not exceed, the longest, `max`, and `unknown`, how often it got a CPU and its \
wait is not known; who waited longest in all comes first. The line `all_waits:` is about all of them together, with a \
picture: in each row the bounds of a class in nanoseconds (1K is 1024) and how many waits lie within. Percentiles are off \
by 1/16 at most.

In JSON, times are in nanoseconds, and their names end in `_ns`; instead of the picture there are `buckets`.

Examples:
            make-4711    [001]   123.000456: run: waited=12.345us since=woken prev_tid=0 prev_comm=\"swapper/1\"
            make-4711      124.000000: waits: count=812 mean=15.210us p50=6.656us p99=180.224us max=950.120us unknown=1";
