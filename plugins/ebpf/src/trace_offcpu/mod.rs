//! `trace_offcpu`: where the traced tasks wait.

mod contention;
mod description;
mod mapped_code;
mod record;
mod renderer;
mod shortest;
mod show;
mod states;

use trace_ebpf::aya::include_bytes_aligned;
use trace_ebpf::requirements::{self, Helper};
use trace_ebpf::{Builds, Object, Programs, RecordSession, kernel_stack_size, ring_buffer_size};
use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session, Unit,
};
use trace_stacks::{Folded, FoldedUnit};
use trace_syscalls::Abi;

use contention::Contention;
use renderer::{OffcpuRenderer, Output};

/// The hook.
pub struct TraceOffcpu;

const BUILDS: Builds<'_> = Builds {
    current: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/offcpu.o")),
    helpers: &[Helper::CURRENT_TASK, Helper::TASK_REGISTERS],
    older: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/offcpu-older.o")),
    has_calls: false,
};

/// The calls whose first argument is the address of a futex. As many as `FUTEX_CALLS` in `bpf/offcpu.bpf.c`.
const FUTEX_CALLS: [&str; 3] = ["futex", "futex_time64", "futex_wait"];

/// How many tasks can wait at the same time, each with 2 KiB in the kernel.
const MOST_TASKS: u32 = 4096;
/// The same, if all of them are traced.
const MOST_OF_ALL_TASKS: u32 = 16_384;

/// A day, in seconds.
const MAX_INTERVAL: i64 = 86_400;

impl Hook for TraceOffcpu {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_offcpu",
            "Where the traced tasks wait, and who wakes them: stacks with function names",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::duration(
                "folded",
                "TIME",
                "instead of waits, a line for each different stack, at this interval and at the end",
                Unit::Seconds,
            )
            .range(1, MAX_INTERVAL),
        )
        .param(
            Param::duration(
                "summary",
                "TIME",
                "instead of waits, a line for each futex and place, at this interval and at the end",
                Unit::Seconds,
            )
            .range(1, MAX_INTERVAL),
        )
        .details(DETAILS)
        .example("--over 10ms", "only waits longer than that")
        .example("--where 'state != runnable && call == futex'", "only waits for locks")
        .example("--folded 10s", "every 10 s, the input of a flame graph");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        requirements::check(environment, &[Helper::READ_KERNEL, Helper::RING_BUFFER])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let output = output(request)?;
        let (native, compat) = (numbers(Abi::Native), numbers(Abi::Compat));
        let longer_than = request.view.condition.as_ref().map_or(0, shortest::longer_than).to_ne_bytes();
        let stack_size = kernel_stack_size().to_ne_bytes();
        let object = Object::for_kernel(&request.environment, &BUILDS)
            .constant("native_futexes", &native)
            .constant("compat_futexes", &compat)
            .constant("longer_than", &longer_than)
            .constant("stack_size", &stack_size)
            .map_size("waits", if request.tasks.all { MOST_OF_ALL_TASKS } else { MOST_TASKS })
            .map_size("records", ring_buffer_size(request)?)
            .attach("ended", "sched_process_exit")
            .attach("executed", "sched_process_exec")
            .attach("switched", "sched_switch")
            .attach("waking", "sched_waking");
        let programs = Programs::start(request, &object)?;
        let renderer = OffcpuRenderer::start(request, output)?;
        Ok(Box::new(RecordSession::start(programs, request, renderer)?))
    }
}

const DETAILS: &str = "\
A line is a wait that has ended: its time is when the task lost its CPU, `duration` is how long it had none. A task that is \
`runnable` was preempted, or gave up its CPU for a moment; in all other states it waited for something, and someone woke it: \
another task, or an interrupt. `runnable` is the part of the wait after that. A wait that began before the session is not \
reported, nor one that has not ended with it, nor those of a task that exits.

`call` is missing if the task was in no system call, as in a page fault. `stack` has the functions of the kernel, which end in \
_[k], and those of the program, as trace_profile shows them. Functions of the kernel are [unknown] where it hides its addresses: names take \
CAP_SYSLOG, and kernel.kptr_restrict below 2. The names of others come from the mappings that the process has while it \
waits: a process that ends within some milliseconds can have [unknown] functions. Stacks of programs are unwound by frame pointers, and \
end with [truncated] if they are deeper than 127 functions or kernel.perf_event_max_stack.

With --folded a line is COMM;OUTERMOST;...;INNERMOST MICROSECONDS, the input format of flamegraph.pl. The time is that of the waits \
that ended since the lines before. In JSON it is an object with comm, stack (the innermost first) and duration.

With --summary a line `contention` is about the waits of a process for one futex at one place: for locks, and also for condition \
variables, the end of threads, and whatever else a program uses futexes for. Those with the longest waits in total come first.

--over leaves waits out before anything is recorded; with --folded and --summary, they are not counted.

Example:
    work-4711    [001]   123.000456: wait: duration=50.121ms state=interruptible call=clock_nanosleep runnable=21.400us interrupt=1 \
stack=__schedule_[k];schedule_[k];do_nanosleep_[k];...;clock_nanosleep;main";

/// What the lines are about.
fn output(request: &Request) -> Result<Output> {
    let folded = request.arguments.duration("folded")?;
    let summary = request.arguments.duration("summary")?;
    match (folded, summary) {
        (Some(_), Some(_)) => Err(HookError::usage("give --folded or --summary, not both")),
        (Some(every), None) => Ok(Output::Folded(Folded::every(every, FoldedUnit::Nanoseconds))),
        (None, Some(every)) => Ok(Output::Contention(Contention::every(every))),
        (None, None) => Ok(Output::Waits),
    }
}

/// The numbers of the calls; -1 for one that the interface does not have.
fn numbers(abi: Abi) -> Vec<u8> {
    FUTEX_CALLS.map(|call| abi.number(call).unwrap_or(-1).to_ne_bytes()).concat()
}
