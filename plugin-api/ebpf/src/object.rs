//! A compiled object, and how it is to be loaded.

use trace_hook_api::Environment;

use crate::requirements::{Helper, is_current};

/// The two builds of a source, which differ by `bpf/older.h`. Their bytes must be aligned to 8 bytes
/// ([`include_bytes_aligned`](aya::include_bytes_aligned)).
#[derive(Debug, Clone, Copy)]
pub struct Builds<'a> {
    /// The usual one.
    pub current: &'a [u8],
    /// The helpers that it calls.
    pub helpers: &'a [Helper],
    /// For kernels before 6.1, and those that lack a helper.
    pub older: &'a [u8],
    /// Whether they have a map of tasks that is called `calls` (`TASK_MAP` of bpf/older.h).
    pub has_calls: bool,
}

/// An ELF file of eBPF programs, with the values, sizes and tracepoints that the hook gives them.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    pub(crate) elf: &'a [u8],
    pub(crate) constants: Vec<(&'a str, &'a [u8])>,
    pub(crate) map_sizes: Vec<(&'a str, u32)>,
    pub(crate) optional: Vec<Attachment<'a>>,
    pub(crate) first: Vec<Attachment<'a>>,
    pub(crate) required: Vec<Attachment<'a>>,
    /// All elements of its hash maps are allocated when they are created.
    pub(crate) is_preallocated: bool,
}

/// A program, and the tracepoint it is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attachment<'a> {
    pub program: &'a str,
    pub tracepoint: &'a str,
}

impl<'a> Object<'a> {
    /// The object in these bytes, which must be aligned to 8 bytes
    /// ([`include_bytes_aligned`](aya::include_bytes_aligned)).
    pub fn new(elf: &'a [u8]) -> Self {
        Self {
            elf,
            constants: Vec::new(),
            map_sizes: Vec::new(),
            optional: Vec::new(),
            first: Vec::new(),
            required: Vec::new(),
            is_preallocated: false,
        }
    }

    /// The build that this kernel needs.
    pub fn for_kernel(environment: &Environment, builds: &Builds<'a>) -> Self {
        match is_current(environment, builds.helpers) {
            true => Self::new(builds.current),
            false => {
                let older = Self { is_preallocated: true, ..Self::new(builds.older) };
                if builds.has_calls { older.attach("calls_ended", "sched_process_exit") } else { older }
            }
        }
    }

    /// Sets a constant, declared `const volatile` in the source, to these bytes.
    pub fn constant(mut self, name: &'a str, bytes: &'a [u8]) -> Self {
        self.constants.push((name, bytes));
        self
    }

    /// Sets the number of entries of a map, or of bytes of a ring buffer.
    pub fn map_size(mut self, name: &'a str, size: u32) -> Self {
        self.map_sizes.push((name, size));
        self
    }

    /// Attaches a program to a raw tracepoint, after those given before. They are detached in the same order: so a program
    /// that sees the end of something comes before the one that sees its beginning, which otherwise could be mistaken for
    /// something older than the session.
    pub fn attach(mut self, program: &'a str, tracepoint: &'a str) -> Self {
        self.required.push(Attachment { program, tracepoint });
        self
    }

    /// The same for a program that runs while a process that exits is still known to be traced. It is attached before those of
    /// `bpf/processes.h`, which forget the process.
    pub fn attach_before_forgetting(mut self, program: &'a str, tracepoint: &'a str) -> Self {
        self.first.push(Attachment { program, tracepoint });
        self
    }

    /// The same for a program that is left out where the kernel does not take it, and with it all optional programs after
    /// it. These are attached before all others.
    pub fn attach_optional(mut self, program: &'a str, tracepoint: &'a str) -> Self {
        self.optional.push(Attachment { program, tracepoint });
        self
    }
}
