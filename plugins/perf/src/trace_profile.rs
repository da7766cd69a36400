//! `trace_profile`: where the traced tasks spend their CPU time.

use trace_hook_api::{
    Environment, EventInfo, FieldInfo, Format, Hook, HookInfo, Param, Request, Result, Selection, Session,
    Unit,
};

use crate::access;
use crate::perf_event::Frames;
use crate::profile::{Output, ProfileSession, SAMPLE_RATE_LIMIT, Sampling};

/// As with `perf record -F 99`: not in lockstep with timers that fire a hundred times a second.
const DEFAULT_FREQUENCY: &str = "99";

/// A day, in seconds.
const MAX_INTERVAL: i64 = 86_400;

/// The details of `--describe`.
const DETAILS: &str = "\
A line is a sample. stack lists the functions, the innermost first; kernel functions end in _[k], those of modules and BPF \
programs in [MODULE]_[k] and [bpf]_[k]. A function is shown as \
[FILE+OFFSET], with --folded as [FILE], if neither the file nor its debug file has a symbol for it, if the file is on a FUSE file system, or \
cannot be opened at once, if its symbols are still being read, or if they would take too much memory: of all files together, 14 MiB \
for addresses, and --spool-size for names, which are on disk. A warning names the first file. Generated code, as of JIT compilers, \
has the names that its process lists in /tmp/perf-PID.map or in a jitdump file that it maps. A function is [unknown] if it \
is in neither, or is one of the kernel and its addresses are hidden: names take CAP_SYSLOG, and kernel.kptr_restrict \
below 2; a warning at the start reports it. Stacks are unwound by frame \
pointers only: programs compiled without them (-fomit-frame-pointer, the default of many compilers) have short stacks. \
A stack deeper than kernel.perf_event_max_stack ends with [truncated].

With --folded a line is COMM;OUTERMOST;...;INNERMOST COUNT, the input format of flamegraph.pl. The count covers the time \
since the lines before. In JSON it is an object with comm, stack (the innermost first) and count.

Each task is sampled by its own CPU time. A task that ends before its first sample is due has none, so short-lived \
tasks are underrepresented: raise --frequency. A warning reports if more than half of the CPU time has no samples; trace_counters \
counts all of it.

Samples are triggered by the processor's cycle counter if the machine has one, otherwise by the kernel's timer, \
then at most 10,000 times a second. \
`CPU:n [LOST m EVENTS]` reports records for which there was no room. A `throttled` line, at most one per second and CPU, \
reports that the kernel takes fewer samples than requested, because the kernel or an administrator has lowered \
kernel.perf_event_max_sample_rate. The kernel stops sampling when a task executes a set-user-ID program.

Example:
            work-4711    [001]  1234.567890: sample: stack=multiply;solve;main
With --folded 10s:
  work;main;solve;multiply 412";

/// The hook.
pub struct TraceProfile;

impl Hook for TraceProfile {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_profile",
            "Where the traced tasks spend their CPU time: sampled stacks with function names",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::integer("frequency", "HZ", "samples per second of a task's CPU time")
                .short('F')
                .range(1, i64::MAX)
                .default(DEFAULT_FREQUENCY),
        )
        .param(
            Param::duration(
                "folded",
                "TIME",
                "instead of samples, a line for each different stack, at this interval and at the end",
                Unit::Seconds,
            )
            .range(1, MAX_INTERVAL),
        )
        .param(
            Param::text(
                "frames",
                "WHICH",
                "which frames to show: user omits kernel frames; kernel shows only samples taken in the kernel",
            )
            .choices(["all", "user", "kernel"])
            .default("all"),
        )
        .event(
            EventInfo::new("sample", "a sample was taken; not with --folded")
                .field(FieldInfo::list("stack", "functions, the innermost first")),
        )
        .event(
            EventInfo::new("stack", "samples with the same stack; only with --folded")
                .field(FieldInfo::text("comm", "name of the task"))
                .field(FieldInfo::list("stack", "functions, the innermost first"))
                .field(FieldInfo::number("count", "samples since the lines before")),
        )
        .event(
            EventInfo::new("throttled", "the kernel takes fewer samples than requested, because a limit was lowered")
                .field(FieldInfo::word("limit", "the setting that is the limit").words([SAMPLE_RATE_LIMIT])),
        )
        .details(DETAILS).example("--folded 10s", "every 10 s, the input of a flame graph").example("-F 999 --frames user", "more samples, of the program only")
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        access::check(environment)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        access::check(&request.environment)?;
        let arguments = &request.arguments;
        let sampling = Sampling {
            hertz: arguments
                .integer("frequency")?
                .and_then(|hertz| hertz.try_into().ok())
                .unwrap_or_default(),
            frames: match arguments.text("frames")? {
                Some("user") => Frames::User,
                Some("kernel") => Frames::Kernel,
                _ => Frames::All,
            },
        };
        let output = arguments.duration("folded")?.map_or(Output::Samples, Output::Folded);
        let attributes = sampling.attributes(&request.environment)?;
        Ok(Box::new(ProfileSession::start(request, &attributes, output)?))
    }
}
