//! A run, from its arguments to its last line.
//!
//! [`arguments`] and [`tasks`] check what was asked; [`run_directory`] holds a [`record`] of every session and its trace
//! file; [`supervisor`] watches over the worker, in which the [`recorder`] carries the lines into the [`trace_file`].

pub mod arguments;
mod backlog;
mod ending;
mod follower;
mod leftover;
pub mod orphans;
mod process;
pub mod record;
mod recorder;
pub mod run_directory;
pub mod supervisor;
mod tasks;
mod trace_file;
pub mod verdict;
