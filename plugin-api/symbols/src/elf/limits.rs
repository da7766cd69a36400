//! What is read of a file at most.
//!
//! The files belong to the traced programs, so they can hold anything. Memory is bounded by the
//! [`MemoryBudget`](crate::MemoryBudget) of the caller, and everything else by these limits. No real program reaches them.

/// The program headers, the section headers and the names of the sections, in bytes each.
pub const MAX_HEADERS: u64 = 1 << 20;
/// Segments that are loaded, and sections with code.
pub const MAX_PARTS: usize = 1000;
/// A symbol table, a string table, and compressed MiniDebugInfo, in bytes each.
pub const MAX_TABLE: u64 = 256 << 20;
/// Decompressed MiniDebugInfo, in bytes. It holds only the functions that are not in the dynamic symbol table.
pub const MAX_MINI_DEBUG_INFO: u64 = 128 << 20;
/// The name of a symbol, in bytes. Compilers make names of some thousand bytes.
pub const MAX_NAME: usize = 16 << 10;
/// How many bytes of names are read for each symbol, beside twice the length of all strings: names can overlap.
pub const NAME_ALLOWANCE: u64 = 64;
/// Up to this length, all strings are in memory while the names are read, in bytes; otherwise `WINDOW`.
pub const STRINGS_IN_MEMORY: u64 = 8 << 20;
/// How much of longer strings is in memory at a time, in bytes.
pub const WINDOW: u64 = 32 << 10;
