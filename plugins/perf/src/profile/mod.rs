//! Sampled stacks.
//!
//! ```text
//! rings ──records──▶ Collector (a thread) ──▶ spool ──▶ Timeline: in order ──▶ Symbolizer: names ──▶ lines, or Folded
//!                        │ Observer (a thread): reads the mappings of tasks, opens each mapped file
//!                        ▼
//!                     Modules: a thread for each file whose symbols are needed
//! ```

mod collector;
mod existing_tasks;
mod process_state;
mod recording;
mod sampled_time;
mod sampling;
mod session;
mod throttling;
mod timeline;

pub use sampling::Sampling;
pub use session::{Output, ProfileSession};
pub use throttling::LIMIT as SAMPLE_RATE_LIMIT;
