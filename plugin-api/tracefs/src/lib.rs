//! The Linux kernel's tracefs, typed: instances, events, ring buffers and formats.
//!
//! Create an [`Instance`], choose its tasks, enable events, and decode its [ring buffer](ring) with the
//! [formats](mod@format) of its events:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use trace_tasks::SelectedProcesses;
//! use tracefs::format::Formatter;
//! use tracefs::ring::{Item, RingBuffer, Timeline};
//! use tracefs::{Instance, Tracefs};
//!
//! fn main() -> tracefs::Result<()> {
//!     let tracefs = Tracefs::find(Path::new("/sys"), Path::new("/proc"))?;
//!     tracefs.sweep("example-")?; // removes the instances of dead sessions
//!
//!     let instance = Instance::create(&tracefs, "example-1")?;
//!     instance.choose_tasks(Path::new("/proc"), &SelectedProcesses::families([1234]))?;
//!     instance.enable_event("syscalls", "sys_enter_openat")?;
//!     instance.set_filter("syscalls", Some("sys_enter_openat"), "flags != 0")?;
//!
//!     let mut ring = RingBuffer::open(instance.path())?;
//!     let mut timeline = Timeline::new(ring.layout());
//!     let mut formatter = Formatter::open(tracefs.root(), instance.path())?;
//!     instance.start()?;
//!     // …
//!     instance.stop()?;
//!     ring.collect(|page| timeline.push(page.cpu, page.bytes))?;
//!     timeline.finish();
//!     let mut text = Vec::new();
//!     while let Some(item) = timeline.next() {
//!         match item {
//!             Item::Record(record) => formatter.write_record(record.cpu, record.stamp, record.data, &mut text),
//!             Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, &mut text),
//!         }
//!     }
//!     drop(ring);
//!     instance.remove()
//! }
//! ```
//!
//! The crate `tracefs-session` builds sessions on this that lose no records when the reader is slow.
//!
//! Dropping the instance removes it. If the process is killed, recording stops at once, and the next [`Tracefs::sweep`]
//! removes the instance.
//!
//! All task ids are those of the initial pid namespace, because the kernel records these. A caller in another pid namespace
//! must use a procfs of the initial one.

#![warn(missing_docs)]

mod available_events;
mod busy;
mod choice;
mod clock;
mod dir;
mod error;
mod error_log;
mod event_settings;
mod events;
pub mod format;
mod instance;
mod lock;
mod mount;
mod mountinfo;
mod open_filters;
mod own_events;
mod pid_filter;
mod probe_list;
mod probes;
mod recent_map;
mod reset;
pub mod ring;
mod settings;
mod stats;
mod sweep;
mod teardown;

pub use available_events::{CGROUP_ATTACH, EXEC, FIRST_WAKEUP, NEW_TASK, RENAME, TASK_END};
pub use clock::RecordClock;
pub use error::{Error, Result};
pub use event_settings::{ChangedEvents, EventSettings};
pub use instance::Instance;
pub use mount::Tracefs;
pub use own_events::RequestedEvents;
pub use pid_filter::PidFilter;
pub use probes::UserProbe;
pub use recent_map::RecentMap;
pub use settings::{ChangedSetting, Settings};
pub use stats::{BufferStats, CpuStats, CpuStatsFile};
