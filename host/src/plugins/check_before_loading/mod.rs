//! The checks of a plugin file before any of its code runs: which users can change it, and what it contains.

mod c_library;
mod elf;
mod trust;

pub use elf::check as check_elf;
pub use trust::{Trust, open as open_trusted};
