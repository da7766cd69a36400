//! The constants that only hooks of ftrace show.

mod clone;
mod signal_codes;
mod signals;
mod sockets;

pub use clone::CLONE_FLAGS;
pub use kernel_constants::{Names, error_name, error_of, flags, names, one, open_flags};
pub use signal_codes::signal_code;
pub use signals::{SIGNAL_ACTION_FLAGS, signal};
pub use sockets::{ADDRESS_FAMILIES, MESSAGE_FLAGS, PROTOCOLS, TCP_STATES};
