//! Trace hooks on the kernel's ftrace.

mod syscalls;
mod trace_syscalls;

use trace_hook_api::export_plugin;
use tracefs_session::TracefsCleanup;

use trace_syscalls::TraceSyscalls;

export_plugin!(TraceSyscalls; cleanup = TracefsCleanup);
