//! Names of addresses, and addresses of names: ELF files, the kernel, demangling.
//!
//! | | from | to |
//! |---|---|---|
//! | [`SymbolTable`] | a place in a program or library | the function there |
//! | [`DebugFileReference`] | a stripped file | the file with its symbols |
//! | [`ElfFile`] | a program or library | its functions, with their addresses and places in the file |
//! | [`GeneratedFunctions`] | an address in code that a process has generated | the function there, from its perf map or jitdump file |
//! | [`KernelSymbols`] | an address in the kernel | the function there |
//! | [`demangle`] | the symbol of a C++ or Rust function | its name in the source |
//!
//! The files belong to the traced programs, so they are hostile input. All of them together take no more memory than a
//! [`MemoryBudget`] allows, and any content leads to a result or an [`ElfError`].
//!
//! The crate blazesym (0.2.3) finds names in most of these places too, but relies on the files. It maps them into memory, so that a
//! process which truncates its file kills the reader. Nothing limits the memory or the time for tables, names and compressed sections. It
//! gives what is behind a symbol without a size the name of that symbol, uses nothing of a perf map with one malformed line, and
//! reads no jitdump files.
//!
//! ```
//! use std::fs::File;
//! use std::ops::ControlFlow;
//! use trace_symbols::{ElfFile, FunctionKind, MemoryBudget, SymbolTable, display_name};
//!
//! let program = File::open("/proc/self/exe")?;
//! let budget = MemoryBudget::new(256 << 20);
//!
//! // From a name to its place in the file …
//! let elf = ElfFile::parse(&program, &budget)?;
//! let mut main = None;
//! elf.visit_functions(|function| {
//!     if function.name != b"main" || function.kind != FunctionKind::Defined {
//!         return ControlFlow::Continue(());
//!     }
//!     main = elf.file_offset(function.address);
//!     ControlFlow::Break(())
//! })?;
//! let main = main.expect("a program has a main function");
//!
//! // … and back.
//! let symbols = SymbolTable::read(&program, &budget)?;
//! assert_eq!(symbols.function_at_offset(main).as_deref(), Some("main"));
//!
//! assert_eq!(display_name("_ZN9container6insertEi", 512), "container::insert(int)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

mod address_map;
mod debug_file;
mod demangle;
mod demangling_time;
mod elf;
mod generated;
mod kernel;
mod memory_budget;
mod spellings;
mod strings;
mod symbol_table;
mod vdso;

pub use address_map::AddressMap;
pub use debug_file::DebugFileReference;
pub use demangle::{cut, demangle, display_name, is_mangled};
pub use demangling_time::time_of_deep_symbols;
pub use elf::{Content, ElfError, ElfFile, Function, FunctionKind};
pub use generated::{GeneratedCode, GeneratedFunctions, Position, read_jit_dump, read_perf_map};
pub use kernel::{KernelFunction, KernelSymbols};
pub use memory_budget::{MemoryBudget, Reservation};
pub use spellings::{spelling, spellings};
pub use symbol_table::SymbolTable;
pub use vdso::vdso_image;
