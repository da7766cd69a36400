//! Plugins, from the directory entry to the hook's owner.

mod catalog;
mod directory;
mod elf;
mod file;
mod inspection;
mod rules;

pub use catalog::{Catalog, KnownHook, KnownPlugin, RunnableHook};
pub use directory::directories;
pub use file::PluginFile;
pub use inspection::Inspection;
