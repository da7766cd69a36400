//! `trace_profile`: where the traced tasks spend their CPU time.

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session, Unit,
};

use crate::access;
use crate::perf_event::Frames;
use crate::profile::{Output, ProfileSession, Recording, Sampling, check_rate};

/// As many as `perf record` is often asked for: not in step with what happens a hundred times a second.
const HERTZ: &str = "99";

/// A day.
const LONGEST: i64 = 86_400;

/// The hook.
pub struct TraceProfile;

impl Hook for TraceProfile {
    fn info(&self) -> HookInfo {
        HookInfo::new("trace_profile", "Where the traced tasks spend their CPU time: sampled stacks with names")
            .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
            .param(
                Param::integer("frequency", "HZ", "samples a second of a task's CPU time")
                    .short('F')
                    .range(1, i64::MAX)
                    .default(HERTZ),
            )
            .param(
                Param::duration("folded", "TIME", "instead of samples a line for each different stack, this often and at the end", Unit::Seconds)
                    .range(1, LONGEST),
            )
            .param(
                Param::text("frames", "WHOSE", "whose frames to show: user leaves the kernel's out; kernel shows nothing but samples taken there")
                    .choices(["all", "user", "kernel"])
                    .default("all"),
            )
            .details(
                "A line is a sample: the functions that were running, the innermost first, those of the kernel marked \
                 by _[k]. A function without a symbol, or of a huge file whose symbols are still being read, or too \
                 many (there are 256 MiB for those of all files), is [FILE+OFFSET], with --folded just [FILE], and [unknown] where there is no file. Symbolizer are followed by \
                 frame pointers only: programs built without them (-fomit-frame-pointer, the default of many compilers) \
                 show short stacks. No stack is deeper than kernel.perf_event_max_stack says.\n\n\
                 With --folded a line is COMM;OUTERMOST;...;INNERMOST COUNT, as flamegraph.pl takes it; a count is of \
                 the time since the lines before. In JSON it is an object with comm, stack (the innermost first) and \
                 count.\n\n\
                 Each task's CPU time is measured out by itself. One that ends before its first sample is due has \
                 none, so of many short-lived tasks less is seen than they used, or nothing: raise --frequency. \
                 trace_counters tells their CPU time.\n\n\
                 The clock is the processor's cycle counter where the machine has one, else the kernel's timer. \
                 `CPU:n [LOST m EVENTS]` tells of records that came too fast to be kept. A `throttled` line, at most one a \
                 second and CPU, tells that the kernel takes fewer samples than were asked for: somebody, or the kernel itself, \
                 has lowered kernel.perf_event_max_sample_rate meanwhile. The kernel stops sampling where a task \
                 executes a set-user-ID program.\n\n\
                 Example:\n\
                 \x20           work-4711    [001]  1234.567890: sample: stack=multiply;solve;main\n\
                 With --folded 10:\n\
                 \x20 work;main;solve;multiply 412",
            )
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
        let shape = arguments.duration("folded")?.map_or(Output::Samples, Output::Folded);
        check_rate(sampling.hertz, &request.environment.procfs)?;
        let attributes =
            sampling.attributes().map_err(|error| access::refused(&error, &request.environment))?;
        let (recording, source) = Recording::start(request, &attributes)?;
        if source.rings.is_empty() {
            return Err(HookError::new("no CPU has perf events"));
        }
        Ok(Box::new(ProfileSession::start(request, recording, source, shape)?))
    }
}
