//! What the groups measure with.

pub mod bare_instance;
pub mod bpftrace;
pub mod children_time;
pub mod fifo_writer;
pub mod perf;
pub mod plugin_loader;
pub mod process;
pub mod reader;
pub mod ring_counts;
pub mod samples;
pub mod session;
pub mod synthetic;
pub mod table;
pub mod traced_task;
