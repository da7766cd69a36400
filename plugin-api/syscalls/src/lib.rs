//! Linux system calls: their numbers and names, the constants they take, and their arguments and results as strace(1)
//! prints them.
//!
//! The numbers are those of the machine this is built for: not all architectures have the same.
//!
//! ```text
//! parameters/*  tables: which constants a parameter of a call takes
//!     │
//!     ▼
//! signature     the type of a parameter: from the tables, else from its name and C type
//!     │
//!     ▼
//! value         a number of that type as text
//! ```
//!
//! ```
//! use trace_syscalls::{argument_type, Value};
//!
//! let resource = argument_type("getrlimit", "resource", "unsigned int");
//! assert_eq!(resource.value(7, &[7]), Value::Name("RLIMIT_NOFILE".into()));
//! ```

#![warn(missing_docs)]

mod abi;
mod argument_type;
mod classes;
mod clone_flags;
mod constants;
mod errors;
pub mod layouts;
mod open_flags;
mod parameters;
pub mod pointees;
mod prototypes;
mod signal_codes;
mod signals;
mod signature;
mod sockets;
mod value;

pub use abi::Abi;
pub use argument_type::{ArgumentType, is_32_bit};
pub use classes::{CLASSES, Class, class};
pub use clone_flags::CLONE_FLAGS;
pub use constants::{Constants, constant_name, flag_names};
pub use errors::{error_name, error_of};
pub use open_flags::{OPEN_FLAGS, file_type, open_flags, resolve_flags, takes_mode};
pub use prototypes::{Parameter, Prototype, prototype};
pub use signal_codes::signal_code;
pub use signals::{SIGNAL_ACTION_FLAGS, signal_name};
pub use signature::{CALLS_THAT_RETURN_ADDRESSES, argument_type, never_returns, returns_address};
pub use sockets::{ADDRESS_FAMILIES, MESSAGE_FLAGS, NETLINK_PROTOCOLS, PROTOCOLS};
pub use value::Value;
