//! The kernel's ring buffer in binary form: the pages of each CPU, their records, and one stream in time order.
//!
//! For the text files of tracefs the kernel formats every event on reading, which is too slow for a busy task. The raw files
//! return whole sub-buffers (*pages* here). Reading has two steps, which can be separated in time:
//!
//! 1. [`RingBuffer::collect`] sweeps over the CPUs and passes every page to the caller, which stores it unchanged. The result
//!    of the sweep includes the time stamp up to which the stream is *settled*.
//! 2. [`Timeline`] takes the pages in the same order, decodes them and merges the CPUs.
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::Duration;
//! use tracefs::ring::{Item, RingBuffer, Timeline};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ring = RingBuffer::open(Path::new("/sys/kernel/tracing/instances/mine"))?;
//! let mut timeline = Timeline::new(ring.layout());
//! loop {
//!     let sweep = ring.collect(|page| timeline.push(page.cpu, page.bytes))?;
//!     timeline.settle(sweep.settled);
//!     while let Some(item) = timeline.next() {
//!         match item {
//!             Item::Record(record) => println!("{} on CPU {}", record.stamp, record.cpu),
//!             Item::Lost(gap) => println!("CPU {} lost {:?}", gap.cpu, gap.count),
//!         }
//!     }
//!     ring.wait(Duration::from_millis(20))?;
//! }
//! # }
//! ```
//!
//! Source: `kernel/trace/ring_buffer.c`, `include/linux/ring_buffer.h`,
//! `Documentation/trace/ring-buffer-design.rst`.

mod buffer;
mod error;
mod layout;
mod page;
mod timeline;

pub use buffer::{CollectedPage, RingBuffer, Sweep};
pub use error::{Damage, Error};
pub use layout::Layout;
pub use page::{Lost, Page, Record, Records};
pub use timeline::{Gap, Item, Timeline, TimelineRecord};
