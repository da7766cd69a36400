//! Plugins, from the directory entry to the hook's owner.

mod catalog;
mod check_before_loading;
mod directory;
mod event_rules;
mod file;
mod hook_name;
mod inspection;
mod libraries;
mod protected_file;
pub mod rules;

pub use catalog::{Catalog, KnownHook, KnownPlugin, RunnableHook};
pub use check_before_loading::{Trust, open_trusted};
pub use directory::{directories, plugin_paths};
pub use file::PluginFile;
pub use hook_name::without_prefix;
