//! `trace_syscalls`: the system calls of the traced tasks.

mod call;
mod decoded;

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session,
};
use tracefs::Instance;
use tracefs_session::{AsRecorded, EventStream, Renderer, TracefsSession, find, usable_tracefs};

use crate::syscall_events;
use decoded::Decoded;

/// The hook.
pub struct TraceSyscalls;

impl Hook for TraceSyscalls {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_syscalls",
            "The system calls of the traced tasks, a line each, as the kernel writes them",
        )
        .formats([Format::Text, Format::Json])
        .selects([Selection::Exact, Selection::Parents])
        .param(
            Param::text(
                "syscall",
                "NAME",
                "only these calls, such as openat or sys_enter_openat; default: all",
            )
            .short('s')
            .comma_separated(),
        )
        .param(Param::flag("exit", "a line for each return as well, with its value"))
        .param(Param::flag(
            "decode",
            "a line for each call when it returns: arguments by name, result, duration",
        ))
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        let Some(tracefs) = usable_tracefs(environment)? else { return Ok(()) };
        match tracefs.has_event(syscall_events::SYSTEM, &syscall_events::enter_event("openat")) {
            true => Ok(()),
            false => Err(HookError::new("the kernel has no system-call events (CONFIG_FTRACE_SYSCALLS)")),
        }
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let tracefs = find(&request.environment)?;
        let names = request.arguments.texts("syscall")?;
        let calls =
            names.iter().map(|name| syscall_events::named(&tracefs, name)).collect::<Result<Vec<_>>>()?;
        let (decode, with_exit) = (request.arguments.flag("decode")?, request.arguments.flag("exit")?);
        let enable = |instance: &Instance| enable(instance, &calls, with_exit || decode);
        let view = |stream: &mut EventStream| -> Result<Box<dyn Renderer>> {
            match decode {
                false => Ok(Box::<AsRecorded>::default()),
                true if calls.is_empty() => {
                    Ok(Box::new(Decoded::new(stream, &syscall_events::all(&tracefs)?)?))
                }
                true => Ok(Box::new(Decoded::new(stream, &calls)?)),
            }
        };
        Ok(Box::new(TracefsSession::start(request, enable, view)?))
    }
}

/// No names mean all calls.
fn enable(instance: &Instance, calls: &[String], with_exit: bool) -> Result<()> {
    if calls.is_empty() && with_exit {
        return Ok(instance.enable_system(syscall_events::SYSTEM)?);
    }
    let all = if calls.is_empty() { syscall_events::all(instance.tracefs())? } else { Vec::new() };
    for call in calls.iter().chain(&all) {
        instance.enable_event(syscall_events::SYSTEM, &syscall_events::enter_event(call))?;
        if with_exit {
            instance.enable_event(syscall_events::SYSTEM, &syscall_events::exit_event(call))?;
        }
    }
    Ok(())
}

const DETAILS: &str = "\
A line names the task and its id, the CPU, five letters of the kernel's about interrupts and preemption, the time since boot \
in seconds, the call and its arguments: what the kernel itself writes, but that control characters, and bytes that are no \
UTF-8, are shown as `?`. The kernel has no such events of 32-bit programs on a 64-bit machine: their calls are not told. With --exit a line `sys_CALL -> RESULT` for each return, too. In JSON `event` is sys_enter_CALL or sys_exit_CALL, and \
`fields` has the arguments by the kernel's names for them, or `ret`.

With --decode a line is a call that has returned; its time is when it began. `event` is the call, then there are its arguments by name, \
`result`, with the name of the `error`, and `duration`. In JSON the arguments are an object, `arguments`. `resumed` marks the \
return of a call that was not seen to begin, as at the beginning of the session, `unfinished` a call whose return was not seen, as at the \
end of the session; both come after lost events as well, where no return is taken for that of a call before. Of exit, exit_group and rt_sigreturn there is no result. Texts that arguments point to are there where the kernel records them (Linux 6.19 and later); elsewhere their address is. Constants without a name here are \
numbers.

Examples:
             cat-4711    [001] .....   123.000456: sys_openat(dfd: 0xffffff9c, filename: 0x7ffd0a10, flags: 0x80000, mode: 0)
With --decode:
             cat-4711    [001]   123.000456: openat: dfd=AT_FDCWD filename=0x7ffd0a10 flags=O_RDONLY|O_CLOEXEC mode=0000 \
result=-2 error=ENOENT duration=1.234us";
