//! What the sessions of all hooks share, whichever sub-system of the kernel they record with.

#![warn(missing_docs)]

mod notifier;
mod precedence;
mod request;
pub mod spool;

pub use notifier::Notifier;
pub use precedence::take_precedence;
pub use request::{SPOOL_DIRECTORY, check_memory, task_selection};
