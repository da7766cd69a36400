//! Records of the ring buffer made text, byte for byte as the kernel's `trace_pipe` would print them.
//!
//! Each event comes with a description of its fields and a *print format*: a C format string with C
//! expressions for its arguments ([`EventFormat`]). The [`Formatter`] reads the descriptions of the events
//! that occur, compiles each print format once, and then appends lines to a buffer without allocating
//! anything per line.
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
//! // Fields by name, for filters and the like.
//! let id = formatter.load("task", "task_newtask")?;
//! let flags = formatter.event(id).and_then(|event| event.field("clone_flags")).cloned();
//! let flags = flags.and_then(|field| field.number(&record));
//! # Ok(())
//! # }
//! ```
//!
//! # What is printed as the kernel prints it
//! - Task, thread group, CPU, flags and time, as the instance's `options` and `trace_clock` say
//!   (`trace_print_context`).
//! - System calls in the form of this kernel: `sys_openat(dfd: ffffff9c, …` before Linux 6.18,
//!   `sys_openat(dfd: 0xffffff9c, …` since, and with the texts that arguments point to since 6.19.
//! - Probes, markers (`trace_marker`, `trace_marker_raw`), `trace_printk`, kernel and user stack traces,
//!   which have functions of their own in the kernel.
//! - All other events by their print format: the conversions of `lib/vsprintf.c` as far as they need no
//!   memory of the kernel, the helpers (`__print_flags`, `__get_str` …) of `include/trace/stages/`, and C's
//!   integer arithmetic.
//!
//! # What is not, and why
//! - **Task names.** The kernel prints the name a task has when the line is *read*; here it is the one it had
//!   when the event happened, if events report it (`sched_switch`, `task_rename` …), else the one the kernel
//!   remembers (`saved_cmdlines`), else the one procfs has. So a name may be known where the kernel prints
//!   `<...>`.
//! - **Line ends** in a task's name or in a text that an event recorded are printed as `?`. The kernel prints
//!   them as they are, which cuts the line in two and lets a task forge lines. Every other byte is printed as
//!   it is, blanks, `%` and control characters included. Markers keep their line ends: a process that may write
//!   markers may write lines anyway.
//! - **Addresses** (`%p`) are printed in full, as with `options/hash-ptr` off. With it on, the default, the
//!   kernel prints a hash whose key never leaves it. Turn it off in the instance for texts that agree. An
//!   address that the kernel always hides (`%pK`), or that it computes from a variable of its own, such as the
//!   `page=` of `kmem/mm_page_alloc`, is printed as `?`.
//! - **Texts in the kernel's memory** (`%s` of a `const char *` field) are known where `printk_formats` lists
//!   them, and printed as an address elsewhere.
//! - **Names of enum values** that the kernel left in a print format are looked up in its BTF
//!   (`/sys/kernel/btf/vmlinux`).
//! - **Long lines** come whole; the kernel cuts at a page or two (`[LINE TOO BIG]`).
//! - The options `latency-format`, `raw`, `hex`, `bin`, `fields` and `sym-userobj` are not heeded.
//! - **Events beyond evaluation** are printed field by field as `event: name=value name=value`: signed
//!   numbers in decimal, unsigned ones in hex with `0x`, text as it is, arrays as `{0x1,0x2}`.
//!   [`Formatter::all_unprintable`] lists those of the running kernel with the reasons. Of the 2,323 of one
//!   Linux 6.18 they are these ten:
//!
//! | events | what only the kernel knows |
//! |---|---|
//! | `jbd2/jbd2_checkpoint_stats`, `jbd2/jbd2_run_stats` | the function `jiffies_to_msecs` |
//! | `writeback/writeback_single_inode` and `…_start`, `writeback_sb_inodes_requeue` | the time of printing |
//! | `kvmmmu/kvm_mmu_get_page`, `…_prepare_zap_page`, `…_sync_page`, `…_unsync_page` | a whole program |
//! | `ras/mc_event` | the function `mc_event_error_type` |
//!
//! Without BTF there are some 70 more, among them `tcp/tcp_retransmit_skb` and `timer/hrtimer_start`.
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
