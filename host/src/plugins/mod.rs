//! Plugins, from the directory entry to the hook's owner.

mod catalog;
mod directory;
mod elf;
mod file;
mod hook_name;
mod inspection;
pub mod rules;
mod trust;

pub use catalog::{Catalog, KnownHook, KnownPlugin, RunnableHook};
pub use directory::directories;
pub use file::PluginFile;
pub use inspection::Inspection;
pub use trust::{Trust, open as open_trusted};
