//! Formats records of the ring buffer as text, byte for byte as the kernel's `trace_pipe` prints them.
//!
//! Each event has a description of its fields and a *print format*: a C format string with C
//! expressions for its arguments ([`EventFormat`]). The [`Formatter`] reads the descriptions of the events
//! that occur and compiles each print format once. It then appends lines to a buffer without an allocation per
//! line.
//!
//! ```no_run
//! use std::path::Path;
//! use tracefs::format::Formatter;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (cpu, stamp, record) = (0, 0, [0]);
//! let tracefs = Path::new("/sys/kernel/tracing");
//! let mut formatter = Formatter::open(tracefs, &tracefs.join("instances/mine"))?;
//! let mut lines = Vec::new();
//! formatter.write_record(cpu, stamp, &record, &mut lines);
//!
//! // Fields by name, for example for a filter.
//! let id = formatter.load("task", "task_newtask")?;
//! let flags = formatter.event(id).and_then(|event| event.field("clone_flags")).cloned();
//! let flags = flags.and_then(|field| field.number(&record));
//! # Ok(())
//! # }
//! ```
//!
//! # What is identical to the kernel's output
//! - Task, thread group, CPU, flags and time, according to the instance's `options` and `trace_clock`
//!   (`trace_print_context`).
//! - System calls, in the form that this kernel uses: `sys_openat(dfd: ffffff9c, …` before Linux 6.18,
//!   `sys_openat(dfd: 0xffffff9c, …` since. Since 6.19, they have the strings and bytes that arguments point to, and the names of
//!   openat's flags.
//! - Probes, markers (`trace_marker`, `trace_marker_raw`), `trace_printk`, kernel and user stack traces,
//!   which the kernel prints with separate functions.
//! - All other events, by their print format: the conversions of `lib/vsprintf.c` that do not read kernel
//!   memory, the helpers (`__print_flags`, `__get_str` …) of `include/trace/stages/`, and C's
//!   integer arithmetic.
//!
//! # What differs, and why
//! - **Task names.** The kernel prints the name that a task has when the line is *read*. This crate prints the
//!   name that it had when the event happened, if events report it (`sched_switch`, `task_rename` …), otherwise
//!   its name in procfs, otherwise the one in `saved_cmdlines`. So a name may be known where the kernel prints
//!   `<...>`.
//! - **Newlines** in a task's name or in a string that an event recorded are printed as `?`. The kernel prints
//!   them unchanged, which splits the line and lets a task forge lines. Every other byte is printed unchanged,
//!   including blanks, `%` and control characters. Markers keep their newlines: a process that may write
//!   markers may write lines anyway.
//! - **Addresses** (`%p`) are printed in full, as with `options/hash-ptr` off. With it on, the default, the
//!   kernel prints a hash with a secret key. Turn it off in the instance to get identical output. An address
//!   that the kernel always hides (`%pK`), or that it computes from one of its variables, such as the `page=` of
//!   `kmem/mm_page_alloc`, is printed as `?`.
//! - **Strings in kernel memory** (`%s` of a `const char *` field) are printed if `printk_formats` lists them,
//!   otherwise as an address.
//! - **Names of enum values** that the kernel did not replace by their numbers in a print format are looked up in
//!   its BTF (`/sys/kernel/btf/vmlinux`).
//! - **Long lines** are printed whole; the kernel truncates them at a page or two (`[LINE TOO BIG]`).
//! - The options `latency-format`, `raw`, `hex`, `bin`, `fields` and `sym-userobj` are ignored.
//! - **Events whose print format cannot be evaluated** are printed field by field as
//!   `event: name=value name=value`: signed numbers in decimal, unsigned numbers in hex with `0x`, text unchanged,
//!   arrays as `{0x1,0x2}`. [`Formatter::all_unprintable`] lists those of the running kernel with the reasons. On
//!   one Linux 6.18 with 2,323 events these are the following ten:
//!
//! | events | what is available only in the kernel |
//! |---|---|
//! | `jbd2/jbd2_checkpoint_stats`, `jbd2/jbd2_run_stats` | the function `jiffies_to_msecs` |
//! | `writeback/writeback_single_inode` and `…_start`, `writeback_sb_inodes_requeue` | the time of printing |
//! | `kvmmmu/kvm_mmu_get_page`, `…_prepare_zap_page`, `…_sync_page`, `…_unsync_page` | a whole program |
//! | `ras/mc_event` | the function `mc_event_error_type` |
//!
//! Without BTF there are about 70 more, among them `tcp/tcp_retransmit_skb` and `timer/hrtimer_start`.
//!
//! Sources: `kernel/trace/trace_output.c`, `kernel/trace/trace_syscalls.c`, `lib/vsprintf.c`.

mod bprint;
mod btf;
mod builtin;
mod catalog;
mod comm;
mod context;
mod conversion;
mod environment;
mod error;
mod event;
mod expr;
mod field;
mod formatter;
mod lexer;
mod names;
mod open_flags;
mod options;
mod parser;
mod pointer;
mod probe;
mod probe_program;
mod program;
mod symbols;
mod syscall;
mod text;
mod types;
mod write;

pub use comm::Comm;
pub use error::{BadFormat, Error, Unprintable};
pub use event::EventFormat;
pub use field::{Field, Shape};
pub use formatter::Formatter;
