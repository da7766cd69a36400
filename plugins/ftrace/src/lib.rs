//! Trace hooks on the kernel's ftrace.

mod call_result;
mod clock;
mod running_calls;
mod syscall_events;
mod trace_block;
mod trace_events;
mod trace_memory;
mod trace_net;
mod trace_process;
mod trace_sched;
mod trace_syscalls;
mod tracepoint;

use trace_hook_api::export_plugin;

use trace_block::TraceBlock;
use trace_events::TraceEvents;
use trace_memory::TraceMemory;
use trace_net::TraceNet;
use trace_process::TraceProcess;
use trace_sched::TraceSched;
use trace_syscalls::TraceSyscalls;
use tracefs_session::TracefsCleanup;

export_plugin!(TraceBlock, TraceEvents, TraceMemory, TraceNet, TraceProcess, TraceSched, TraceSyscalls; cleanup = TracefsCleanup);
