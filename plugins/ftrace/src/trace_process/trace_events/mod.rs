//! The events as the kernel's trace events report them, for kernels that cannot run the eBPF programs.
//!
//! They lack the arguments, the parents, the times and, in part, the causes of an end.

mod endings;
mod renderer;
mod signals;
mod tasks;

use trace_hook_api::{Environment, Request, Result, Session};
use tracefs::Instance;
use tracefs_session::TracefsSession;

use crate::tracepoint::{self, Tracepoint};
use renderer::ProcessRenderer;

/// The tracepoints that every kernel has, besides those of all tasks.
const TRACEPOINTS: [Tracepoint; 4] = [tasks::FORK, tasks::EXEC, tasks::EXIT, signals::DELIVER];

/// Checks that a session can use them.
///
/// # Errors
///
/// The message says what is missing.
pub fn check(environment: &Environment) -> Result<()> {
    tracepoint::check(environment, &TRACEPOINTS)?;
    tracepoint::check(environment, &[signals::GENERATE])
}

/// Starts a session.
///
/// # Errors
///
/// The kernel refused a step, or no task is left to trace.
pub fn start(request: &Request) -> Result<Box<dyn Session>> {
    let renderer = |stream: &mut _| Ok(Box::new(ProcessRenderer::new(stream)?) as _);
    Ok(Box::new(TracefsSession::start_with_system_wide(request, enable, enable_system_wide, renderer)?))
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
