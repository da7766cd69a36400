//! What every hook on the kernel's tracefs has in common: a session on a tracing instance of its own.
//!
//! A hook says which events to enable ([`TracefsSession::start`]) and what is made of their records (a [`Renderer`]). Whose
//! events are recorded, how they get to lines without a loss, and that nothing is left behind, is done here.
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
//! Do not leave the [`TracefsCleanup`] out: a session that is killed cannot remove its instance, and nobody but its plugin
//! does. Without it the instance stays in the kernel, with its buffers, until the machine is booted.

#![warn(missing_docs)]

mod buffer_number;
mod cleanup;
mod clock;
mod collector;
mod losses;
mod probe;
mod renderer;
mod session;
mod stream;
mod traced_tasks;

pub use cleanup::{TracefsCleanup, find};
pub use probe::usable_tracefs;
pub use renderer::{AsRecorded, Renderer, with_origin};
pub use session::TracefsSession;
pub use stream::{EventStream, Record, StreamItem, StreamStats};
pub use traced_tasks::{TracedTasks, any_alive, choose_tasks};
