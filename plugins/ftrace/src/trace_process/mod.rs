//! `trace_process`: forks, execs, exits and signals of the traced tasks.

mod description;
mod ebpf;
mod events;
mod trace_events;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Request, Result, Selection, Session, log};
use tracefs_session::JOINING;

/// The hook.
pub struct TraceProcess;

impl Hook for TraceProcess {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_process",
            "Forks, execs and exits of the traced tasks, and the signals that they send and receive",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .details(format!("{DETAILS}\n\n{WITHOUT_EBPF}\n\n{JOINING}\n\n{EXAMPLE}"))
        .example("--format json", "every event, as JSON")
        .example("--where 'event == exit && killed'", "tasks that a signal has ended");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        ebpf::check(environment).or_else(|_| trace_events::check(environment))
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        if let Err(lack) = ebpf::check(&request.environment) {
            log::info!("{LESS}: {lack}");
            return trace_events::start(request);
        }
        // A security module or a limit can make the kernel refuse the programs.
        ebpf::start(request).or_else(|refusal| {
            let session = trace_events::start(request).map_err(|_| refusal.clone())?;
            log::warn!("{LESS}: {refusal}");
            Ok(session)
        })
    }
}

const LESS: &str = "trace_process reports less than with eBPF";

const DETAILS: &str = "\
exec: `argv` is what the new program gets, as in /proc/PID/cmdline, read before it runs; so that of a script begins with its \
interpreter. It is cut after 4,096 bytes, which `argv_cut` marks; `argc` counts all arguments. `file` is the file that runs, as \
/proc/PID/exe shows it, without links: of a script its interpreter. `argv_unreadable`: their memory was not present.

exec_failed: the path is as the program gave it, read when the call begins. `unreadable` marks one whose address is invalid.

exit: `status`, `signal` and `core_dumped` are what wait4(2) returns for the process if the line has `group_dead`, and those of the \
thread otherwise. `lifetime` and `cpu_time` are those of the process if the line has `group_dead`, and those of the thread otherwise. \
`cpu_time` is as of the last time that the scheduler looked at the thread, at most one clock tick ago (1 to 10 ms). `by_exec`: \
another thread of the process has executed a program, which ends all others.

signal_generate: the line is that of the sender, traced or not. Each signal that a traced task sends or receives has one, but \
the SIGCHLD of a process that ends only if its parent is traced. For a signal that the kernel sends in an interrupt (`interrupt`), the task is \
the interrupted one. With eBPF on x86-64, an interrupt of user mode is recognised if a timer has sent the signal.

signal_deliver: of a signal that ends a process without core dump the kernel delivers SIGKILL; the line has the signal that was \
sent. When exit_group(2) or execve(2) ends the other threads of a process, each gets SIGKILL. `sender_pid` and `sender_comm` are missing \
for signals of real time, those that were sent before the session, and those that the kernel sent in an interrupt.";

const WITHOUT_EBPF: &str = "\
These lines need what eBPF hooks need: type information of the kernel (BTF: CONFIG_DEBUG_INFO_BTF), CAP_BPF and CAP_PERFMON, and \
Linux 5.8. Without them, or if the kernel refuses the programs, its trace events are recorded, which need tracefs. There is no exec_failed then, and these fields \
are missing: `child_pid`, `ppid`, `argc`, `argv`, `file`, `interpreter`, `core_dumped`, `by_exec`, `lifetime`, `cpu_time`, `to_pid`, \
`sender_pid`, `sender_comm`. An exec is not reported if its path has more than some 4,050 bytes: the kernel drops what is larger than a \
page, uncounted. An exit without `status` and `killed` is one whose cause the kernel did not report, or whose record was lost; `signal` \
is the last one that was sent to the process; causes are remembered for the last 16,384 tasks. What is said below about cgroups applies to these sessions only.";

const EXAMPLE: &str = "\
Example:
              ls-4712    [001]   123.000456: exec: path=\"/bin/ls\" old_tid=4712 ppid=4711 argc=2 argv=[\"ls\",\"-l\"] file=\"/usr/bin/ls\"";
