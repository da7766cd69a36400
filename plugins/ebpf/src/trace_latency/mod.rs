//! `trace_latency`: how long the system calls of the traced tasks take, as histograms.

mod counts;
mod session;

use trace_ebpf::{Object, Programs, requirements};
use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session, Unit};

use session::LatencySession;

/// The hook.
pub struct TraceLatency;

static OBJECT: &[u8] =
    trace_ebpf::aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/latency.o"));

/// A day.
const LONGEST_INTERVAL: i64 = 24 * 60 * 60;

impl Hook for TraceLatency {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_latency",
            "How long the system calls of the traced tasks take: a histogram of each call",
        )
        .formats([Format::Text, Format::Json])
        .selects([Selection::Exact, Selection::Parents])
        .param(
            Param::duration(
                "interval",
                "TIME",
                "print lines this often, and not only at the end",
                Unit::Seconds,
            )
            .short('i')
            .range(1, LONGEST_INTERVAL),
        )
        .param(Param::flag("brief", "the line of each call, without the picture below it"))
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        requirements::check(environment)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let interval = request.arguments.duration("interval")?;
        let brief = request.arguments.flag("brief")?;
        let object = Object::new(OBJECT).attach("returned", "sys_exit").attach("entered", "sys_enter");
        let programs = Programs::start(request, &object)?;
        Ok(Box::new(LatencySession::start(programs, interval, brief)?))
    }
}

const DETAILS: &str = "\
A line tells of one system call, those first that took the most time in all: how often it returned (`count`), and the mean, \
the median, the 99th percentile and the greatest of its durations. A call is counted if it began and returned during the \
session, and no seccomp filter answered it. `compat` marks those of the 32-bit interface; `call=none` is for numbers, from 0 \
on, that no call has. The picture below has a row for each power of two nanoseconds.

With --interval, a `latency` line covers the calls that returned since the lines before (`interval`); that is longer than asked \
for where the reader is slow. At the end, a `latency_total` line covers the whole session, also what came after the last of \
those lines.

The kernel counts in classes of a sixteenth of a power of two, so the percentiles are off by that at most, and so is `max` \
in a `latency` line unless it is the greatest of the session so far. For example:

    123.000456: latency: call=read interval=1000123.456us count=512 mean=1.204us p50=0.992us p99=3.904us max=20.113us";
