//! Stacks, sampled.
//!
//! ```text
//! rings ──records──▶ Collector (a thread) ──▶ spool ──▶ Timeline: in order ──▶ Stacks: names ──▶ lines, or Folded
//!                        │ opens what is mapped, at once
//!                        ▼
//!                     Modules: a thread for each file whose symbols are wanted
//! ```

mod collector;
mod folded;
mod modules;
mod portrait;
mod processes;
mod recording;
mod sampling;
mod session;
mod stacks;
mod throttling;
mod timeline;
mod vdso;

pub use recording::Recording;
pub use sampling::{Sampling, check_rate};
pub use session::{ProfileSession, Shape};
