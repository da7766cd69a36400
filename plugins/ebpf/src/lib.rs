//! Trace hooks on the kernel's eBPF.
//!
//! Each hook is a C program in `bpf/`, built by `cargo xtask bpf`, and a session that turns its maps into lines.
//! Loading, and choosing the traced tasks, are in crate `trace_ebpf`.

mod trace_calls;
mod trace_latency;
mod trace_offcpu;
mod trace_open;

use trace_hook_api::export_plugin;

use trace_calls::TraceCalls;
use trace_latency::TraceLatency;
use trace_offcpu::TraceOffcpu;
use trace_open::TraceOpen;

export_plugin!(TraceCalls, TraceLatency, TraceOffcpu, TraceOpen);
