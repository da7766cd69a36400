//! The one reader of ELF files (elf(5)).

mod content;
mod debug_sections;
mod error;
mod file;
mod limits;
mod mini_debug_info;
mod names;
#[cfg(test)]
pub(crate) mod synthetic;
mod table;
mod unwind_index;

pub use content::Content;
pub(crate) use debug_sections::DebugLink;
pub use error::ElfError;
pub use file::ElfFile;
pub(crate) use file::Segment;
pub(crate) use limits::MAX_NAME;
pub use table::{Function, FunctionKind};
pub(crate) use table::{FunctionSymbol, Table, name_at};
