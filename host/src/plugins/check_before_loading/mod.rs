//! The checks of a plugin file before any of its code runs: which users can change it, and what it contains. The same
//! holds for the libraries that it brings along.

mod c_library;
mod elf;
mod trust;

pub use elf::{check as check_plugin, check_library};
pub use trust::{Trust, check_directory, open as open_trusted};
