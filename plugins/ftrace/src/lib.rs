//! Trace hooks on the kernel's ftrace.

mod decode;
mod hint;
mod syscalls;
mod trace_events;
mod trace_syscalls;

use trace_hook_api::export_plugin;
use tracefs_session::TracefsCleanup;

use trace_events::TraceEvents;
use trace_syscalls::TraceSyscalls;

export_plugin!(TraceEvents, TraceSyscalls; cleanup = TracefsCleanup);
