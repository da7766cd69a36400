//! The events as eBPF programs record them: complete and exact.

mod record;
mod renderer;
mod senders;

use trace_ebpf::aya::include_bytes_aligned;
use trace_ebpf::requirements::{self, Helper};
use trace_ebpf::{Builds, Object, Programs, RecordSession, kernel_stack_size, ring_buffer_size};
use trace_hook_api::{Environment, Request, Result, Session};
use trace_syscalls::Abi;

use renderer::ProcessRenderer;

const BUILDS: Builds<'_> = Builds {
    current: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/process.o")),
    helpers: &[Helper::CURRENT_TASK, Helper::TASK_STORAGE, Helper::TASK_REGISTERS, Helper::LOOP],
    older: include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/process-older.o")),
    has_calls: true,
};

/// The calls in the order of `enum call_kind` in `bpf/process.bpf.c`.
const CALLS: [&str; 2] = ["execve", "execveat"];

/// Checks that the kernel can run the programs.
///
/// # Errors
///
/// The message says what is missing.
pub fn check(environment: &Environment) -> Result<()> {
    requirements::check(environment, &[Helper::READ_KERNEL, Helper::RING_BUFFER])
}

/// Starts a session.
///
/// # Errors
///
/// The kernel refuses the programs, or no task is left to trace.
pub fn start(request: &Request) -> Result<Box<dyn Session>> {
    let (native, compat) = (numbers(Abi::Native), numbers(Abi::Compat));
    let stack_size = kernel_stack_size().to_ne_bytes();
    let object = Object::for_kernel(&request.environment, &BUILDS)
        .constant("native_numbers", &native)
        .constant("compat_numbers", &compat)
        .constant("stack_size", &stack_size)
        .map_size("records", ring_buffer_size(request)?)
        .attach_before_forgetting("exiting", "sched_process_exit")
        .attach("began", "task_newtask")
        .attach("executed", "sched_process_exec")
        .attach("generated", "signal_generate")
        .attach("delivered", "signal_deliver")
        .attach("returned", "sys_exit")
        .attach("entered", "sys_enter");
    let programs = Programs::start(request, &object)?;
    Ok(Box::new(RecordSession::start(programs, request, ProcessRenderer::default())?))
}

/// The numbers of the calls; -1 for one that the interface does not have.
fn numbers(abi: Abi) -> Vec<u8> {
    CALLS.map(|call| abi.number(call).unwrap_or(-1).to_ne_bytes()).concat()
}
