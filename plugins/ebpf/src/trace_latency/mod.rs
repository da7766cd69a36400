//! `trace_latency`: histograms of the duration of the system calls of the traced tasks.

mod counts;
mod description;
mod session;

use trace_ebpf::aya::include_bytes_aligned;
use trace_ebpf::requirements::{self, Helper};
use trace_ebpf::{Builds, Object, Programs};
use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session, Unit};

use session::LatencySession;

/// The hook.
pub struct TraceLatency;

const BUILDS: Builds<'_> = Builds {
    current: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/latency.o")),
    helpers: &[Helper::CURRENT_TASK, Helper::TASK_STORAGE],
    older: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/latency-older.o")),
    has_calls: true,
};

/// A day.
const LONGEST_INTERVAL: i64 = 24 * 60 * 60;

impl Hook for TraceLatency {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_latency",
            "How long the system calls of the traced tasks take: a histogram for each call",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::duration(
                "interval",
                "TIME",
                "print lines at this interval, and not only at the end",
                Unit::Seconds,
            )
            .short('i')
            .range(1, LONGEST_INTERVAL),
        )
        .param(
            Param::flag("brief", "only the line of each call, without the histogram below it")
                .table(["total", "count", "errors", "mean", "max", "call"]),
        )
        .details(DETAILS)
        .example("--interval 10s --brief", "every 10 s, a line for each system call")
        .example("--brief", "with `run`, a table as that of strace -c, with the largest total first");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        requirements::check(environment, &[Helper::READ_KERNEL])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let interval = request.arguments.duration("interval")?;
        let brief = request.arguments.flag("brief")?;
        let object = Object::for_kernel(&request.environment, &BUILDS)
            .attach("returned", "sys_exit")
            .attach("entered", "sys_enter");
        let programs = Programs::start(request, &object)?;
        Ok(Box::new(LatencySession::start(programs, interval, brief)?))
    }
}

const DETAILS: &str = "\
A line is about one system call; the call that took the most time in total comes first. A call is counted if it began and \
returned during the session and no seccomp filter answered it.

With --interval, a line `latency` covers the calls that returned since the previous lines; that is longer than requested if the \
reader is slow. At the end, a line `latency_total` covers the whole session.

The eBPF programs count in buckets of a sixteenth of a power of two. Percentiles are accurate to that, and so is `max` of a line \
`latency`, unless it is the maximum of the session so far.

Example:
    123.000456: latency: call=read interval=1000123.456us total=616.448us errors=0 count=512 mean=1.204us p50=0.992us p99=3.904us max=20.113us";
