//! A run of a hook, from its arguments to its last line.
//!
//! [`tasks`] checks the request; [`run_directory`] holds a [`record`] of every session and its trace
//! file; [`supervisor`] watches over the worker, in which the [`recorder`] carries the lines into the [`trace_file`].

mod backlog;
mod cgroups;
mod command_end;
pub mod destination;
mod lines;
pub mod orphans;
mod pidfd;
mod process_identity;
pub mod record;
mod recorder;
pub mod run_directory;
mod summary_file;
pub mod supervisor;
mod tasks;
mod trace_file;
mod trace_pipe;
pub mod traced_command;
mod unread_bytes;
mod unread_files;
mod unread_output;

pub use command_end::CommandEnd;
