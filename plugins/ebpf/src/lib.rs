//! Trace hooks on the kernel's eBPF.
//!
//! ```text
//! bpf/*.bpf.c ──cargo xtask bpf──▶ bpf/*.o ──aya──▶ kernel ──maps──▶ Session
//! ```
//!
//! The programs in the kernel are small: they follow the traced processes (`processes`), and record or count. All that
//! they need is bound to descriptors of this process, so nothing is left when it ends, however it ends.

mod losses;
mod processes;
mod programs;
mod requirements;
mod trace_latency;
mod trace_open;

use trace_hook_api::export_plugin;

use trace_latency::TraceLatency;
use trace_open::TraceOpen;

export_plugin!(TraceLatency, TraceOpen);
