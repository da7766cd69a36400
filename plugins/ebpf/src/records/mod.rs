//! Records that eBPF programs put into a ring buffer, on their way to lines.

mod buffer_size;
mod collector;
mod fields;
mod session;

pub use buffer_size::buffer_size;
pub use collector::LostBefore;
pub use fields::{half_word, number, take, until_nul, word};
pub use session::{RecordSession, ShowRecord, Unfinished};
