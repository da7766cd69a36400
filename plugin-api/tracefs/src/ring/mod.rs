//! The kernel's ring buffer, read raw: binary pages off every CPU, records out of the pages, one stream in
//! time order.
//!
//! The text files of tracefs make the kernel format every event for the reader, and a busy task overruns
//! them. The raw files hand over whole sub-buffers (*pages* here), as they are. So reading is done in two
//! steps which need not happen at the same time:
//!
//! 1. [`RingBuffer::collect`] sweeps over the CPUs and hands every page to the caller, who keeps it as it is.
//!    After the sweep it tells up to which time stamp the stream is *settled*.
//! 2. [`Timeline`] takes the pages back in the same order, decodes them and merges the CPUs.
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
