//! The Linux kernel's tracefs, typed.
//!
//! A session makes an [`Instance`] of its own, says whose events it wants ([`Targets`]), then which
//! events, and reads them as text ([`EventStream`]):
//!
//! ```no_run
//! use std::path::Path;
//! use std::thread;
//! use std::time::Duration;
//!
//! use tracefs::{EventStream, Instance, Targets, TaskFilter, Tracefs};
//!
//! fn main() -> tracefs::Result<()> {
//!     let tracefs = Tracefs::find(Path::new("/sys"), Path::new("/proc"))?;
//!     tracefs.sweep("example-")?; // what dead sessions of ours left behind
//!
//!     let instance = Instance::create(&tracefs, "example-1")?;
//!     let targets = Targets::families([1234]);
//!     let (tasks, mut filter) = instance.choose_tasks(Path::new("/proc"), &targets)?;
//!     instance.enable_event("syscalls", "sys_enter_openat")?;
//!     instance.set_filter("syscalls", Some("sys_enter_openat"), "flags != 0")?;
//!
//!     instance.start()?;
//!     filter.iter_mut().for_each(TaskFilter::rescan);
//!     // What no reader has taken yet waits here: up to 256 MiB, the most of them in a nameless file in /var/tmp.
//!     let spool = Path::new("/var/tmp");
//!     let mut stream = EventStream::open(&instance, Path::new("/proc"), filter, spool, 256 << 20)?;
//!     let mut lines = Vec::new();
//!     while tasks.any_alive(stream.filter())? {
//!         if !stream.write_lines(&mut lines, 1 << 20)? {
//!             thread::sleep(Duration::from_millis(10));
//!         }
//!     }
//!
//!     instance.stop()?;
//!     stream.end()?;
//!     while stream.write_lines(&mut lines, 1 << 20)? {}
//!     println!("{:?}", stream.tally([&instance])?);
//!     drop(stream);
//!     instance.remove()
//! }
//! ```
//!
//! Nothing of a session stays behind: dropping the instance removes it, and if its process is
//! killed, recording stops at once, and the next [`Tracefs::sweep`] removes the rest.
//!
//! Ids of tasks are those of the initial pid namespace throughout, for those are what the kernel
//! records; where the caller lives in another one, give a procfs of the initial one.

#![warn(missing_docs)]

mod collector;
mod dir;
mod error;
mod events;
pub mod format;
mod instance;
mod lane;
mod lock;
mod losses;
mod maps;
mod mount;
mod mountinfo;
mod probes;
mod procfs;
mod recent_map;
mod reset;
pub mod ring;
pub mod spool;
mod stats;
mod stream;
mod sweep;
mod targets;
mod task_filter;
mod tasks;
mod teardown;

pub use error::{Error, Result};
pub use instance::Instance;
pub use maps::{MappedRange, mapped_ranges};
pub use mount::Tracefs;
pub use probes::UserProbe;
pub use procfs::Procfs;
pub use recent_map::RecentMap;
pub use stream::{EventStream, Record, StreamItem, Tally};
pub use targets::{Follow, Member, Targets, is_alive};
pub use task_filter::TaskFilter;
pub use tasks::TaskSet;

/// The id of a thread, or of a process (that of its first thread).
pub type Pid = i32;
