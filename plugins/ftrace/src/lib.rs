//! Trace hooks on the kernel's ftrace.

mod cleanup;
mod session;
mod syscalls;
mod trace_syscalls;
mod view;

use trace_hook_api::export_plugin;

use cleanup::Ftrace;
use trace_syscalls::TraceSyscalls;

export_plugin!(TraceSyscalls; cleanup = Ftrace);
