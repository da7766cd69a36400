//! Stacks of traced tasks, with the names of their functions.
//!
//! ```text
//! Observer (a thread): reads the mappings of processes, opens each mapped file
//!    ▼
//! Modules: a thread for each file whose symbols are needed
//!    ▼
//! addresses, CodeMap of the process ──▶ Symbolizer: names ──▶ lines, or Folded
//! ```
//!
//! The names are those of crate `trace_symbols`. What the traced processes map and the files they map are hostile input: calls
//! that they can block have limits, and so has all memory.

#![warn(missing_docs)]

mod code_map;
mod demangler;
mod folded;
mod generated_code;
mod mapping;
mod modules;
mod observer;
mod symbol_loader;
mod symbolizer;

pub use code_map::{CodeMap, CodePlace};
pub use folded::{Folded, FoldedUnit};
pub use mapping::{Mapping, OwnedMapping};
pub use modules::{Module, Modules};
pub use observer::{ObserveTasks, Observer};
pub use symbolizer::{Frame, KERNEL_MARKER, Symbolizer, USER_MARKER};
