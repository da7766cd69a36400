//! Sessions of hooks on the kernel's tracefs, each with its own tracing instance.
//!
//! A hook enables its events ([`TracefsSession::start`]) and renders their records (a [`Renderer`]). This crate chooses the
//! tasks, passes all records to the renderer, and removes the instance at the end.
//!
//! ```no_run
//! use trace_hook_api::{Format, Hook, HookInfo, Request, Result, Selection, Session, export_plugin};
//! use tracefs_session::{AsRecorded, TracefsCleanup, TracefsSession};
//!
//! struct TraceForks;
//!
//! impl Hook for TraceForks {
//!     fn info(&self) -> HookInfo {
//!         HookInfo::new("trace_forks", "Every fork of the traced tasks")
//!             .selects([Selection::Exact, Selection::Parents])
//!             .formats([Format::Text, Format::Json])
//!     }
//!
//!     fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
//!         let enable = |instance: &tracefs::Instance| Ok(instance.enable_event("sched", "sched_process_fork")?);
//!         Ok(Box::new(TracefsSession::start(request, enable, |_| Ok(Box::<AsRecorded>::default()))?))
//!     }
//! }
//!
//! export_plugin!(TraceForks; cleanup = TracefsCleanup);
//! # fn main() {}
//! ```
//!
//! Do not omit the [`TracefsCleanup`]: a killed session cannot remove its instance, and only its plugin can do it later.
//! Without it the instance stays in the kernel, with its buffers, until the next boot.

#![warn(missing_docs)]

mod additions;
mod boot_time;
mod buffer_number;
mod cleanup;
mod clock_reading;
mod collector;
mod ended_tasks;
mod join_events;
mod joined;
mod kernel_functions;
mod losses;
mod new_programs;
mod probe;
mod queue;
mod renderer;
mod reused_pids;
mod session;
mod start_time;
mod stop_flag;
mod stream;
mod tampering;
mod traced_tasks;
mod unrecorded;

#[cfg(test)]
#[path = "../../tracefs/tests/kernel/mod.rs"]
mod kernel;

pub use cleanup::{TracefsCleanup, find};
pub use joined::JOINING;
pub use kernel_functions::KERNEL_FUNCTIONS;
pub use new_programs::ProgramObserver;
pub use probe::usable_tracefs;
pub use renderer::{AsRecorded, Renderer, with_origin};
pub use session::TracefsSession;
pub use stop_flag::StopFlag;
pub use stream::{EventStream, Record, StreamItem, StreamStats};
pub use traced_tasks::{TracedTasks, any_alive, choose_tasks};
