//! `trace_calls`: the system calls of the traced tasks as strace(1) shows them.

mod decode;
mod description;
mod plan;
mod record;
mod show;
mod wanted;

use trace_ebpf::aya::include_bytes_aligned;
use trace_ebpf::requirements::{self, Helper};
use trace_ebpf::{
    Builds, Object, Programs, RecordRenderer, RecordSession, TaskValues, TracedProcesses, Unfinished,
    ring_buffer_size,
};
use trace_hook_api::{
    Environment, Format, Hook, HookInfo, LineBuffer, Param, Request, Result, Selection, Session, Unit,
};

use plan::Calls;
use record::CallRecord;
use wanted::Wanted;

/// The hook.
pub struct TraceCalls;

const BUILDS: Builds<'_> = Builds {
    current: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/calls.o")),
    helpers: &[Helper::CURRENT_TASK, Helper::TASK_STORAGE, Helper::TASK_REGISTERS, Helper::LOOP],
    older: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/calls-older.o")),
    has_calls: true,
};

/// The most bytes of a string that a record has room for.
const MOST_STRING_SIZE: i64 = 4000;
/// A day.
const LONGEST: i64 = 24 * 60 * 60 * 1_000_000;

impl Hook for TraceCalls {
    fn info(&self) -> HookInfo {
        let info = HookInfo::new(
            "trace_calls",
            "The system calls of the traced tasks as strace shows them: what pointers lead to, and what descriptors are",
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
        .param(
            Param::integer("string-size", "BYTES", "how many bytes of a string or buffer are shown; paths are shown whole")
                .short('S')
                .default("32")
                .range(0, MOST_STRING_SIZE),
        )
        .param(Param::flag("failed", "only the calls that failed"))
        .param(
            Param::duration("over", "TIME", "only the calls that took longer than this", Unit::Microseconds)
                .range(0, LONGEST),
        )
        .details(DETAILS)
        .example("-s %file --failed", "the calls with paths that failed")
        .example("--over 1ms -S 200", "the slow calls, with more of their data");
        description::events().into_iter().fold(info, HookInfo::event)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        requirements::check(environment, &[Helper::READ_KERNEL, Helper::RING_BUFFER])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let arguments = &request.arguments;
        let wanted = Wanted::new(arguments.texts("syscall")?)?;
        let string_size = arguments.integer("string-size")?.unwrap_or(32) as u16;
        let buffer = ring_buffer_size(request)?;
        let failed_only = [u8::from(arguments.flag("failed")?)];
        let over = arguments.duration("over")?.map_or(0, |over| over.as_nanos() as u64 + 1);
        let over = over.to_ne_bytes();
        let object = Object::for_kernel(&request.environment, &BUILDS)
            .constant("failed_only", &failed_only)
            .constant("least_duration", &over)
            .map_size("records", buffer)
            .attach("executed", "sched_process_exec")
            .attach("returned", "sys_exit")
            .attach("entered", "sys_enter");
        let calls = Calls::all();
        let mut programs = Programs::start(request, &object)?;
        calls.enter(&mut programs.map("plans")?, |call| wanted.includes(call), string_size)?;
        let shows_unfinished = failed_only == [0] && over == [0; 8];
        let running = shows_unfinished.then(|| programs.map("calls")).transpose()?;
        let shown = Shown { calls, string_size: string_size.into(), running };
        Ok(Box::new(RecordSession::start(programs, request, shown)?))
    }
}

/// Shows all records.
struct Shown {
    calls: Calls,
    string_size: usize,
    /// The calls that have not returned, if they are to be shown.
    running: Option<TaskValues>,
}

impl RecordRenderer for Shown {
    fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
        record::lost_before(bytes)
    }

    fn unfinished(&mut self, processes: &TracedProcesses) -> Vec<Unfinished> {
        let Some(running) = &self.running else { return Vec::new() };
        let calls = processes.threads().into_iter().filter_map(|thread| running.get(thread));
        let mut calls: Vec<Unfinished> = calls.filter_map(record::unfinished).collect();
        calls.sort_by_key(|call| record::time(&call.bytes));
        calls
    }

    fn record(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool {
        let Some(record) = CallRecord::of(bytes) else { return false };
        show::show(&record, &self.calls, self.string_size, lines);
        true
    }
}

const DETAILS: &str = "\
A line is a call that has returned; its time is when it began. Arguments have the kernel's names, and constants are shown by name. \
What pointers lead to is read in the kernel: what a call is given when it begins, what it writes when it returns. What a call has \
changed is shown behind it, as `NAME_after`.

A path is shown whole, of other strings and buffers the first bytes (-S), with `...` behind what has more; in JSON there is \
`NAME_cut` then. Up to 32 strings, buffers or elements of an array are shown; `argv_count` and `envp_count` go up to 4,096. Memory that \
is not mapped when the call begins is read when it returns; what cannot be read then, either, is an address with `?` behind it. A record has room for 7,680 bytes; \
`cut` marks a call whose data need more.

A descriptor is followed, in angle brackets, by what it is when the call begins, one that is returned by what it is then: \
/etc/passwd, pipe:[123], TCP:[127.0.0.1:80->127.0.0.1:1234], UNIX-STREAM:[12->13]. In JSON, that is in `NAME_is`. Paths are \
those that the traced process sees.

`resumed` marks a call of which only the return was seen: it began before the session, or a seccomp filter answered it. \
`unfinished` marks a call that began during the session and had not returned at its end. exit and exit_group have no result. Not \
reported: a call that a filter answers with a signal. The memory that arguments lead to is read just before the kernel \
reads it; another thread could change it in between.

Shown as addresses: the data of ioctl and of bpf, getdents, io_uring, keyctl and ptrace, attributes in structures that this hook does not \
know, arrays of messages (sendmmsg, recvmmsg), and in 32-bit programs the structures that differ there, except times, buffers, \
messages, resource limits and stat64.

Example:
             cat-4711    [001]   123.000456: mkdir: pathname=\"/tmp/new\" mode=0755 result=-17 error=EEXIST duration=2.173us";
