//! The constants of the kernel's interface to programs, by name, for hooks that show them.
//!
//! Their numbers are the C library's for this machine: not all architectures have the same.

#![warn(missing_docs)]

mod errors;
mod names;
mod open;

pub use errors::{error_name, error_of};
pub use names::{Names, flags, one};
pub use open::{OPEN_FLAGS, open_flags};

#[doc(hidden)]
pub use nix::libc;
