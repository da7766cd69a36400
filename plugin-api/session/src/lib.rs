//! What the sessions of all hooks share, independent of the kernel sub-system that records.
//!
//! A hook implements [`EventSource`], and [`SourceSession`] turns it into a session: it stops when the last traced task has
//! ended, reads within a budget, and counts. Most sources have a [`Collector`], a thread that moves records from the kernel's
//! buffer into a [`Spool`](spool::Spool), from which the source renders them:
//!
//! ```text
//! kernel buffer ──▶ Collector ──▶ Spool ──▶ EventSource ──▶ SourceSession ──lines──▶ host
//! ```

#![warn(missing_docs)]

mod budget;
mod collector;
mod notifier;
mod precedence;
mod request;
mod seccomp;
mod session;
mod source;
pub mod spool;

pub use collector::{Collect, Collector, Occasion, Swept};
pub use notifier::Notifier;
pub use precedence::take_precedence;
pub use request::{SPOOL_DIRECTORY, check_memory, selected_processes};
pub use seccomp::{check_not_forbidden, forbidden};
pub use session::SourceSession;
pub use source::{Counts, End, EventSource, Rendered};
