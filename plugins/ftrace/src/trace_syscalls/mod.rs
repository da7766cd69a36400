//! `trace_syscalls`: the system calls of the traced tasks.

mod call;
mod decoded;
mod description;

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session,
};
use tracefs::Instance;
use tracefs_session::{AsRecorded, EventStream, JOINING, Renderer, TracefsSession, find, usable_tracefs};

use crate::syscall_events;
use decoded::Decoded;

/// The hook.
pub struct TraceSyscalls;

/// Fields that only the lines of --decode have. A view of them needs these lines.
const DECODED_FIELDS: [&str; 6] = ["arguments", "result", "error", "duration", "resumed", "unfinished"];

impl Hook for TraceSyscalls {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_syscalls",
            "The system calls of the traced tasks, a line each, as the kernel prints them",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::text(
                "syscall",
                "NAME",
                "only these calls, such as openat, or classes: %file, %desc, %network, %process, %memory, %signal",
            )
            .short('s')
            .comma_separated(),
        )
        .param(Param::flag("exit", "print a line for each return, too, with its result"))
        .param(Param::flag(
            "decode",
            "print one line for each call when it returns: arguments by name, result, duration",
        ))
        .details(format!("{DETAILS}\n\n{JOINING}"))
        .example("-s openat,close --exit", "two calls, with their results")
        .example("--decode", "one readable line for each call")
        .example("-s %network --failed", "the calls about sockets that failed");
        description::events().into_iter().fold(info, HookInfo::event)
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
        let calls = names.iter().map(|name| syscall_events::named(&tracefs, name));
        let mut calls = calls.collect::<Result<Vec<_>>>()?.concat();
        calls.sort_unstable();
        calls.dedup();
        let needs_decoding = DECODED_FIELDS.iter().any(|field| request.view.mentions(field));
        let decode = request.arguments.flag("decode")? || needs_decoding;
        let with_exit = request.arguments.flag("exit")?;
        let enable = |instance: &Instance| enable(instance, &calls, with_exit || decode);
        let renderer = |stream: &mut EventStream| -> Result<Box<dyn Renderer>> {
            match decode {
                false => Ok(Box::<AsRecorded>::default()),
                true if calls.is_empty() => {
                    Ok(Box::new(Decoded::new(stream, &syscall_events::all(&tracefs)?)?))
                }
                true => Ok(Box::new(Decoded::new(stream, &calls)?)),
            }
        };
        Ok(Box::new(TracefsSession::start(request, enable, renderer)?))
    }
}

/// Enables the events of these calls; of all calls if there are none.
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
A line is what the kernel prints: the task and its thread id, the CPU, letters about interrupts and preemption, the time \
since boot in seconds, the call and its arguments. Control characters and bytes that are not valid UTF-8 are printed as `?`. With \
--exit there is a line `sys_CALL -> RESULT` for each return, too. The kernel has no such events of 32-bit programs on a 64-bit \
machine: their calls are not reported.

With --decode, a line is a call that has returned; its time is when it began. `resumed` marks the return of a call whose beginning \
was not seen, `unfinished` a call whose return was not seen, as at the beginning and the end of the session. Both occur after lost \
events as well: no return is taken for that of a call before the loss. The calls of the last 32,768 threads that made one are \
followed; an older one is reported as `unfinished`. exit, exit_group and rt_sigreturn have no result. Strings that arguments \
point to are printed if the kernel records them (Linux 6.19 and later), their addresses otherwise. Constants without a known \
name are printed as numbers.

Examples:
             cat-4711    [001] .....   123.000456: sys_openat(dfd: 0xffffff9c, filename: 0x7ffd0a10, flags: 0x80000, mode: 0)
With --decode:
             cat-4711    [001]   123.000456: openat: dfd=AT_FDCWD filename=0x7ffd0a10 flags=O_RDONLY|O_CLOEXEC mode=0000 \
result=-2 error=ENOENT duration=1.234us";
