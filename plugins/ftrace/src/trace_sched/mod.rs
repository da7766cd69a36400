//! `trace_sched`: how long the traced tasks wait for a CPU.

mod description;
mod records;
mod renderer;
mod run_lines;
mod summary;
mod waits;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session, Unit};
use tracefs::Instance;
use tracefs_session::{JOINING, TracefsSession};

use crate::tracepoint;
use records::TRACEPOINTS;
use renderer::SchedRenderer;
use run_lines::RunLines;
use summary::Summary;

/// The hook.
pub struct TraceSched;

/// The longest interval of a summary, in seconds: a day.
const LONGEST_SUMMARY: i64 = 86_400;
/// The largest value of `--over`, in microseconds: an hour.
const LONGEST_WAIT: i64 = 3_600_000_000;

impl Hook for TraceSched {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_sched",
            "How long the traced tasks wait for a CPU: a line each time one gets it, or a periodic summary",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::duration("over", "TIME", "only waits longer than this", Unit::Microseconds)
                .range(0, LONGEST_WAIT),
        )
        .param(
            Param::duration(
                "summary",
                "TIME",
                "a summary this often, instead of the single lines",
                Unit::Seconds,
            )
            .range(1, LONGEST_SUMMARY),
        )
        .details(format!("{DETAILS}\n\n{JOINING}"))
        .example("--summary 10s", "every 10 s, a summary for each thread")
        .example("--over 1ms", "only waits longer than this");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let over = request.arguments.duration("over")?.map(|over| over.as_nanos() as u64);
        let every = request.arguments.duration("summary")?;
        let session = TracefsSession::start(request, enable, |stream| match every {
            Some(every) => Ok(Box::new(SchedRenderer::new(stream, over, Summary::new(every))?)),
            None => Ok(Box::new(SchedRenderer::new(stream, over, RunLines)?)),
        })?;
        Ok(Box::new(session))
    }
}

fn enable(instance: &Instance) -> Result<()> {
    TRACEPOINTS.into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))
}

const DETAILS: &str = "\
A line `run` is printed each time a task gets a CPU. The beginning of a wait is unknown at the beginning of a session and after \
lost events.

With --over, waits of unknown length are omitted.

With --summary, each thread that got a CPU since the previous summary has a line `waits`, those that waited longest in total \
first, and all of them together have a line `all_waits` with a histogram. 4,096 threads at most have a line of their own: with more, \
the half that waited the least is counted together in a line `other_waits`, and again each time that many are reached. \
`all_waits` is always complete. Percentiles are accurate to 1/16.

In JSON, durations are in nanoseconds, with names that end in `_ns`; `buckets` has the histogram.

Examples:
            make-4711    [001]   123.000456: run: waited=12.345us since=woken prev_tid=0 prev_comm=\"swapper/1\"
            make-4711      124.000000: waits: count=812 mean=15.210us p50=6.656us p99=180.224us max=950.120us unknown=1";
