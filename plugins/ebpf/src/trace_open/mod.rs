//! `trace_open`: every file that the traced tasks open or try to open.

mod description;
mod path;
mod path_patterns;
mod record;
mod renderer;
mod show;

use trace_ebpf::aya::include_bytes_aligned;
use trace_ebpf::requirements::{self, Helper};
use trace_ebpf::{Builds, Object, Programs, RecordSession, ring_buffer_size};
use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session};
use trace_syscalls::Abi;

use path_patterns::PathPatterns;
use renderer::OpenRenderer;

/// The hook.
pub struct TraceOpen;

const BUILDS: Builds<'_> = Builds {
    current: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/open.o")),
    helpers: &[Helper::CURRENT_TASK, Helper::TASK_STORAGE, Helper::TASK_REGISTERS, Helper::LOOP],
    older: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/open-older.o")),
    has_calls: true,
};

/// The calls in the order of `enum kind` in `bpf/open.bpf.c`.
const CALLS: [&str; 4] = ["open", "creat", "openat", "openat2"];

/// The tracepoints of io_uring requests, since Linux 6.4. The end comes first: requests whose end is not seen would pile up.
const URING: [(&str, &str); 2] = [("completed", "io_uring_complete"), ("submitted", "io_uring_submit_req")];

impl Hook for TraceOpen {
    fn info(&self) -> HookInfo {
        HookInfo::new("trace_open", "Every file that the traced tasks open or try to open, with the result")
            .formats([Format::Text, Format::Json])
            .honours_view()
            .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
            .param(Param::flag("failed", "only the calls that failed"))
            .param(
                Param::text(
                    "path",
                    "GLOB",
                    "only paths that match this pattern, such as '/etc/*'; * and ? match slashes, too",
                )
                .repeated(),
            )
            .details(DETAILS)
            .example("--failed", "only what could not be opened")
            .example("--path '/etc/*' '*.conf'", "only these files")
            .event(description::open())
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        requirements::check(environment, &[Helper::READ_KERNEL, Helper::RING_BUFFER])
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let wanted = PathPatterns::new(request.arguments.texts("path")?)?;
        let buffer = ring_buffer_size(request)?;
        let native = numbers(Abi::Native);
        let compat = numbers(Abi::Compat);
        let failed_only = [u8::from(request.arguments.flag("failed")?)];
        let mut object = Object::for_kernel(&request.environment, &BUILDS)
            .constant("native_numbers", &native)
            .constant("compat_numbers", &compat)
            .constant("failed_only", &failed_only)
            .map_size("records", buffer)
            .attach("returned", "sys_exit")
            .attach("entered", "sys_enter");
        for (program, tracepoint) in URING {
            object = object.attach_optional(program, tracepoint);
        }
        let programs = Programs::start(request, &object)?;
        Ok(Box::new(RecordSession::start(programs, request, OpenRenderer::new(wanted))?))
    }
}

const DETAILS: &str = "\
A line is a call of open, creat, openat or openat2 that has returned; its time is when it began. Requests to io_uring are seen \
since Linux 6.4, unless the program suppressed their completion (IOSQE_CQE_SKIP_SUCCESS) or the kernel refused them before they \
began.

`path` is the name appended to the path of the directory that it is relative to, as the traced process sees it when the call \
begins; `..` and links are not resolved. A deleted directory is followed by `(deleted)`; `(unreachable)` or `...` stands before a \
directory whose path to the root cannot be seen, or is too long. `name`, and `dirfd` if it is not the working directory, are \
present if the name is relative. The name is read just before the kernel reads it; another thread could change it in between. \
`unreadable` marks a name whose address is invalid, or whose memory is not mapped when a seccomp filter answers the call.

`flags`, `mode` and `resolve` are as requested (io_uring adds O_LARGEFILE), and are missing if their address is invalid. \
`duration` is missing, and the time is that of the return, if only that was seen: a seccomp filter answered the call, or it began \
before the session. Not reported: a call that a filter answers with a signal, and one that began before the session and whose \
return value equals the number of its system call.

Example:
    cat-4711    [001]   123.000456: open: path=\"/etc/passwd\" name=\"passwd\" call=openat flags=O_RDONLY result=3 duration=2.173us";

/// The numbers of the calls; -1 for one that the interface does not have.
fn numbers(abi: Abi) -> Vec<u8> {
    CALLS.map(|call| abi.number(call).unwrap_or(-1).to_ne_bytes()).concat()
}
