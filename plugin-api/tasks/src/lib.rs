//! The selection of traced tasks, from procfs.
//!
//! A [`SelectedProcesses`] names processes and how far each is followed, and cgroups; [`SelectedProcesses::members`] finds the
//! threads that are alive now. Ids are those of the initial pid namespace, because the kernel records these. A caller in another pid
//! namespace must use a procfs of the initial one.

#![warn(missing_docs)]

mod blocking_calls;
mod cgroup;
mod error;
mod fuse;
mod maps;
mod process_root;
mod procfs;
mod regular_file;
mod selection;
mod thread_refusal;
mod watched_task;

pub use blocking_calls::{Blocked, BlockingCalls, CallTarget};
pub use cgroup::{Cgroup, in_initial_cgroup_namespace};
pub use error::{Error, Result};
pub use fuse::FuseFileSystems;
pub use maps::{ListLength, MappedRange, mapped_ranges, visit_code};
pub use process_root::ProcessRoots;
pub use procfs::{Procfs, START_PRECISION, Status};
pub use regular_file::{Following, open_regular_file, open_regular_file_in, reopen_regular_file};
pub use selection::{Follow, Member, SelectedProcesses, is_alive};
pub use thread_refusal::thread_refusal;
pub use watched_task::WatchedTask;

/// The id of a thread, or of a process (that of its first thread).
///
/// Unsigned, as [`std::process::id`]: the kernel's `pid_t` is signed, but no id is negative.
pub type Pid = u32;
