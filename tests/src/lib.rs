//! What the system tests share.
//!
//! ```no_run
//! use system_tests::{Manager, Plugins, Workload};
//!
//! let manager = Manager::with(Plugins::of(["ftrace"]));
//! let workload = Workload::start();
//! let session = manager.run("trace_syscalls", format!("--pid {} -s getppid", workload.id())).start();
//! workload.calls(3);
//! assert_eq!(session.stop().succeeded().len(), 3);
//! ```
//!
//! - [`Manager`] is an installation of the manager, [`Call`] a call of it, [`Answer`] the result of a call
//! - [`Session`] is a session as container-tracer uses it, [`Reader`] reads a trace as container-tracer does
//! - [`Workload`] is a traced process that takes commands, [`Program`] one whose functions are traced, [`Script`] a traced
//!   shell script
//! - [`Hostile`] is a hostile traced process, [`SyntheticLibrary`] a library that it may map
//! - [`Opener`] is a process that opens files on command, [`Cgroup`] a cgroup to put processes into,
//!   [`Container`] a container of runc
//! - [`LoopDevice`] is a block device
//! - [`Kernel`] is the kernel's tracefs, [`Event`] a line of a trace, [`Loss`] a line that reports lost events
//! - [`Watch`] records every system call of a manager, and injects a failure or a death
//! - Every JSON line of a [`Session`] is checked against its hook's description of its lines (`json_lines.rs`)
//! - [`Terminal`] is a terminal with a manager in its foreground
//! - [`Summary`] is the manager's own count of the events
//!
//! Everything that is created here is removed when it is dropped, also when a test fails. A [`Manager`] that is dropped
//! checks that its sessions have left nothing.

mod answer;
mod artifacts;
mod c_program;
mod call;
mod cgroup;
mod container;
mod cpu;
mod event;
mod fuse;
mod hostile;
mod json_lines;
mod kernel;
mod leak_check;
mod loop_device;
mod loss;
mod manager;
mod opener;
mod plugins;
mod process;
mod program;
mod random;
mod reader;
mod script;
mod session;
mod summary;
mod sweep_lock;
mod synthetic_library;
mod system_calls;
mod terminal;
mod wait;
mod workload;

pub use answer::Answer;
use artifacts::build_directory;
pub use artifacts::built;
pub use c_program::{compile_c, strip};
pub use call::Call;
pub use cgroup::{Cgroup, Hierarchy};
pub use container::Container;
pub use cpu::{OfflineCpu, cpus};
pub use event::Event;
pub use fuse::Fuse;
pub use hostile::Hostile;
pub use kernel::{Instance, Kernel, OwnInstance, OwnProbe, TopLevel, is_root, skip};
pub use loop_device::LoopDevice;
pub use loss::Loss;
pub use manager::Manager;
pub use opener::Opener;
pub use plugins::Plugins;
pub use process::{Process, children_of};
pub use program::{Build, Program};
pub use random::Random;
pub use reader::Reader;
pub use script::Script;
pub use session::{Ended, Session};
pub use summary::{Log, Summary};
pub use sweep_lock::lock_out_sweeps;
pub use synthetic_library::SyntheticLibrary;
pub use system_calls::{Fate, Seen, SystemCall, Watch};
pub use terminal::Terminal;
pub use wait::{OnPanic, PATIENCE, eventually, wait_until};
pub use workload::{Task, Workload};

/// The examples of the guide for authors of plugins.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-authors.md")]
struct PluginAuthorsGuide;
