//! `trace_process`: forks, execs, exits and signals of the traced tasks.

mod description;
mod endings;
mod renderer;
mod signals;
mod tasks;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::{JOINING, TracefsSession};

use crate::tracepoint::{self, Tracepoint};
use renderer::ProcessRenderer;

/// The hook.
pub struct TraceProcess;

/// The tracepoints that every kernel has.
const TRACEPOINTS: [Tracepoint; 5] =
    [tasks::FORK, tasks::EXEC, tasks::EXIT, signals::GENERATE, signals::DELIVER];

impl Hook for TraceProcess {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_process",
            "Forks, execs and exits of the traced tasks, and the signals that they send and receive",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .details(format!("{DETAILS}\n\n{JOINING}"))
        .example("--format json", "every event, as JSON");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let session =
            TracefsSession::start(request, enable, |stream| Ok(Box::new(ProcessRenderer::new(stream)?)))?;
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
exec: not reported if the path has more than some 4,050 bytes: the kernel drops what is larger than a page, uncounted.

exit: if neither `status` nor `killed` is there, the kernel did not report the cause, or its record was lost. For a signal without \
core dump the kernel reports only that a signal ended the task; `signal` is then the last one that a traced task sent to it. Causes are \
remembered for the last 16,384 tasks.

signal_generate: signals that untraced tasks send are seen only when they are delivered.

signal_deliver: a process that a signal ends without core dump gets SIGKILL, whatever the signal was.

Example:
              sh-4711    [001]   123.000456: fork: child_tid=4712 kind=process flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID";
