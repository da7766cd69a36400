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
const TRACEPOINTS: [Tracepoint; 4] = [tasks::FORK, tasks::EXEC, tasks::EXIT, signals::DELIVER];

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
        tracepoint::check(environment, &TRACEPOINTS)?;
        tracepoint::check(environment, &[signals::GENERATE])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let renderer = |stream: &mut _| Ok(Box::new(ProcessRenderer::new(stream)?) as _);
        Ok(Box::new(TracefsSession::start_with_system_wide(request, enable, enable_system_wide, renderer)?))
    }
}

fn enable(instance: &Instance) -> Result<()> {
    TRACEPOINTS.into_iter().try_for_each(|tracepoint| tracepoint.enable(instance))?;
    // Only these have the exit status. A kernel without CONFIG_FTRACE_SYSCALLS lacks them.
    let has_it = |tracepoint: &Tracepoint| tracepoint.is_in(instance.tracefs());
    endings::TRACEPOINTS.into_iter().filter(has_it).try_for_each(|tracepoint| tracepoint.enable(instance))
}

/// Enables the event of signals, which happens in the sender, traced or not.
fn enable_system_wide(instance: &Instance) -> Result<()> {
    signals::GENERATE.enable(instance)
}

const DETAILS: &str = "\
exec: not reported if the path has more than some 4,050 bytes: the kernel drops what is larger than a page, uncounted.

exit: if neither `status` nor `killed` is there, the kernel did not report the cause, or its record was lost. For a signal without \
core dump the kernel reports only that a signal ended the task; `signal` is then the last one that was sent to it. Causes are \
remembered for the last 16,384 tasks.

signal_generate: the line is that of the sender, traced or not. All signals of the machine are recorded to find those of the \
traced tasks; each costs well under a microsecond.

signal_deliver: of a signal that ends a process without core dump the kernel delivers SIGKILL; the line has the signal that was \
sent.

Example:
              sh-4711    [001]   123.000456: fork: child_tid=4712 kind=process flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID";
