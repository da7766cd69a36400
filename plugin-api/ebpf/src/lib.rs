//! What trace hooks on eBPF share: loading and attaching programs, choosing the tasks they trace, counting what is lost,
//! and checking what the kernel must have.
//!
//! ```text
//! *.bpf.c ──clang──▶ *.o ──Programs::start──▶ kernel ──maps──▶ the hook's session
//!    │                          │
//!    └ bpf/processes.h          └ TracedProcesses, Losses
//! ```
//!
//! # How to write a hook
//!
//! 1. Write the kernel's side in C. Include `processes.h` from this crate's folder `bpf`: it declares the map of the traced
//!    processes, keeps it up to date at each fork and exit, and has `is_traced(task)`. `losses.h` counts records per CPU
//!    (`kept`, `lost`), `calls.h` has the number and the arguments of system calls on any machine, and `kernel.h` the kernel's
//!    structures. Put what the hook records or counts into maps of your own.
//! 2. Build it: `clang -g -O2 -target bpf -mcpu=v3 -I plugin-api/ebpf/bpf -c hook.bpf.c -o hook.o`. The object is part of the
//!    plugin; the loader fits it to the running kernel (CO-RE), so neither clang nor headers are needed where it runs.
//!    Kernels before 6.1 need a second build, with `-DOLDER`: `older.h` has the helpers that they lack.
//! 3. `probe` is [`requirements::check`] with the helpers that all kernels must have.
//! 4. `start` describes the object as an [`Object`], of one of its [`Builds`], and calls [`Programs::start`]. When that returns, the requested tasks are
//!    traced.
//! 5. The session takes the hook's maps by [`Programs::map`], and turns their content into lines; for records in a ring buffer, it is
//!    a [`RecordSession`]. It ends when it is asked to stop, or when [`TracedProcesses::any_left`] says that all traced processes have
//!    ended.
//! 6. `stop` is [`Programs::stop`]: when it returns no program runs any more, and the maps hold all there will be.
//! 7. The session's counts come from [`Losses`].
//!
//! ```
//! use trace_ebpf::{Object, Programs, requirements};
//! use trace_hook_api::{Request, Result};
//!
//! fn start(elf: &[u8], request: &Request) -> Result<Programs> {
//!     let object = Object::new(elf)
//!         .constant("failed_only", &[1])
//!         .map_size("records", 1 << 20)
//!         .attach("returned", "sys_exit")
//!         .attach("entered", "sys_enter");
//!     Programs::start(request, &object)
//! }
//! ```
//!
//! The programs are bound to descriptors of this process: nothing is left in the kernel when it ends, however it ends.
//! All of them are raw tracepoints (`SEC("raw_tp/…")`).

#![warn(missing_docs)]

mod cgroups;
mod directory;
mod kernel_types;
mod losses;
mod object;
mod programs;
mod record_bytes;
mod record_collector;
mod record_session;
pub mod requirements;
mod ring_buffer;
mod task_values;
mod traced_processes;

pub use directory::{Directory, Reach};
pub use losses::{Losses, RecordCounts};
pub use object::{Builds, Object};
pub use programs::Programs;
pub use record_bytes::{RecordBytes, until_nul};
pub use record_collector::Intake;
pub use record_session::{RecordRenderer, RecordSession, Unfinished};
pub use ring_buffer::{kernel_stack_size, ring_buffer_size};
pub use task_values::TaskValues;
pub use traced_processes::TracedProcesses;

/// The library that loads the programs, in the version whose maps [`Programs::map`] returns.
pub use aya;
