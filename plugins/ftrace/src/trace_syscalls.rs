//! `trace_syscalls`: the system calls of the traced tasks.

use trace_hook_api::{Environment, Hook, HookError, HookInfo, Param, Request, Result, Session};
use tracefs::Instance;

use crate::syscalls;
use tracefs_session::{AsRecorded, TracefsSession, find};

/// The hook.
pub struct TraceSyscalls;

impl Hook for TraceSyscalls {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_syscalls",
            "The system calls of the traced tasks, a line each, as the kernel writes them",
        )
        .json()
        .param(
            Param::text(
                "syscall",
                "NAME",
                "only these calls, such as openat or sys_enter_openat; default: all",
            )
            .short('s')
            .repeated(),
        )
        .param(Param::flag("exit", "a line for each return as well, with its value"))
        .details(
            "A line names the task and its id, the CPU, the time since boot in seconds, the call and its \
                 arguments. `CPU:n [LOST m EVENTS]` tells of events that came too fast to be kept.",
        )
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        let tracefs = find(environment)?;
        tracefs.check_usable()?;
        match tracefs.has_event(syscalls::SYSTEM, &syscalls::enter_event("openat")) {
            true => Ok(()),
            false => Err(HookError::new("the kernel has no system-call events (CONFIG_FTRACE_SYSCALLS)")),
        }
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let tracefs = find(&request.environment)?;
        let names = request.arguments.texts("syscall");
        let calls = names.iter().map(|name| syscalls::named(&tracefs, name)).collect::<Result<Vec<_>>>()?;
        let with_exit = request.arguments.flag("exit");
        let session = TracefsSession::start(
            request,
            |instance| enable(instance, calls, with_exit),
            |_| Ok(Box::<AsRecorded>::default()),
        )?;
        Ok(Box::new(session))
    }
}

/// No names mean all calls.
fn enable(instance: &Instance, calls: Vec<String>, with_exit: bool) -> Result<()> {
    if calls.is_empty() && with_exit {
        return Ok(instance.enable_system(syscalls::SYSTEM)?);
    }
    let calls = if calls.is_empty() { syscalls::all(instance.tracefs())? } else { calls };
    for call in &calls {
        instance.enable_event(syscalls::SYSTEM, &syscalls::enter_event(call))?;
        if with_exit {
            instance.enable_event(syscalls::SYSTEM, &syscalls::exit_event(call))?;
        }
    }
    Ok(())
}
