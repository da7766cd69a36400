//! Counters of processes and their descendants.

mod counter;
mod process_counters;
mod process_name;
mod quantities;
mod session;

pub use quantities::fields;
pub use session::{CountersSession, Grouping};
