//! Counters of processes and all that descends from them.

mod counter;
mod family;
mod kinds;
mod session;

pub use session::{CountersSession, Grouping};
