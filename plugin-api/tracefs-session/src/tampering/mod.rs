//! Other processes that change the tracing instance of a session.
//!
//! Each file of an instance can be written by any privileged process. The kernel does not report it, so what the session has set
//! is compared with what is set, once a second. What can be undone is undone, so that the session goes on.

mod consumption;
mod filter_trust;
mod instance_watch;
mod notices;
mod pid_watch;
mod switch;
mod wall_clock;
mod watcher;

pub(crate) use consumption::{Consumption, Corrections};
pub(crate) use filter_trust::FilterTrust;
pub(crate) use notices::Notices;
pub(crate) use pid_watch::{PidWatch, WatchedTasks};
pub(crate) use switch::Switch;
pub(crate) use watcher::TamperWatcher;
