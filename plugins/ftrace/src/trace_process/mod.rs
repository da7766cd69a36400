//! `trace_process`: forks, execs, exits and signals of the traced tasks.

mod endings;
mod signals;
mod tasks;
mod view;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::TracefsSession;

use crate::tracepoint::{self, Tracepoint};
use view::ProcessView;

/// The hook.
pub struct TraceProcess;

/// The tracepoints that every kernel has.
const TRACEPOINTS: [Tracepoint; 5] =
    [tasks::FORK, tasks::EXEC, tasks::EXIT, signals::GENERATE, signals::DELIVER];

impl Hook for TraceProcess {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_process",
            "Forks, execs and exits of the traced tasks, and the signals that they send and get",
        )
        .formats([Format::Text, Format::Json])
        .selects([Selection::Exact, Selection::Parents])
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let session =
            TracefsSession::start(request, enable, |stream| Ok(Box::new(ProcessView::new(stream)?)))?;
        Ok(Box::new(session))
    }
}

fn enable(instance: &Instance) -> Result<()> {
    TRACEPOINTS.into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))?;
    // Only these have the exit status. A kernel without CONFIG_FTRACE_SYSCALLS lacks them.
    let has_it = |tracepoint: &Tracepoint| tracepoint.is_in(instance.tracefs());
    endings::TRACEPOINTS.into_iter().filter(has_it).try_for_each(|tracepoint| tracepoint.enable(instance))
}

const DETAILS: &str = "\
A line names the task that did it and its id, the CPU, the time since boot in seconds, and one of these events:

fork: the task started `child_tid`. `kind` is `process` or `thread`, `flags` are those of clone(2).

exec: the task runs another program. `path` is the file as the kernel was given it. `old_tid` is the id that the task \
had before; another than now if a thread that was not the first of its process called. It is not told where the path has more \
than some 4,050 bytes: the kernel drops what is larger than a page, uncounted.

exit: the task has ended. `status` is what it, or its process, gave to exit(2). `killed` says that it was a signal, and \
`signal` which, where that can be known: of a signal that makes no core dump the kernel tells only that it was one, so \
`signal` is then the one that a traced task sent right before. If neither is there, the kernel did not tell, or what it told was lost. `group_dead` says that this was the last thread, and the process has \
ended; not every kernel tells.

signal_generate: the task sent `signal` to the task `to_tid`, whose name is `to_comm`; with `group`, to the whole process. \
`code` says why, as `si_code` of sigaction(2). `outcome` is `delivered` (that is, it is pending now), `ignored`, \
`already_pending`, `overflow_fail` (no memory, not sent) or `lose_info` (no memory, sent without its details). With \
`interrupt` it was the kernel, by a timer, say, that sent it while the task ran. Signals that untraced tasks send are \
seen when they are delivered.

signal_deliver: the task takes notice of `signal`. `action` is `default`, `ignore` or `handler`, and `handler` and `flags` \
are the address and the flags of sigaction(2). A process that a signal ends without a core dump sees SIGKILL, whatever \
the signal was.

Example:
              sh-4711    [001]   123.000456: fork: child_tid=4712 kind=process flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID";
